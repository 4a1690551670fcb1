"""What the grammars of all retrievers share: keys that each has, and children at any depth."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cached_property, lru_cache, wraps
from typing import Any, Final, TypeVar

from rerank_proxy.errors import error
from rerank_proxy.search.retrievers.clauses import to_query
from rerank_proxy.xcontent.faults import ParseError
from rerank_proxy.xcontent.object_parser import (
    FLOAT,
    STR,
    Field,
    objects,
    parse_named,
    parsing_error,
    unknown_name,
)
from rerank_proxy.xcontent.source import OBJECT, Node

MAX_NESTED_DEPTH: Final = 16
"""Retrievers inside one another (``RetrieverBuilder#MAX_NESTED_DEPTH``)."""

_C = TypeVar("_C")
_R = TypeVar("_R")

Parser = Callable[[Node, "Nesting"], Any]
"""Reads a retriever of one type, at some level of the tree."""


class Nesting:
    """A level of the tree that is being read.

    Attributes:
        level: 1 for the topmost retriever, 2 for its children …
        parsers: By the type of the retriever.
    """

    def __init__(self, parsers: Mapping[str, Parser], level: int = 1) -> None:
        self.parsers: Final = parsers
        self.level: Final = level

    @cached_property
    def below(self) -> "Nesting":
        """Return the level of the children: always the same object, so that tables of keys can be kept by
        it.
        """
        return Nesting(self.parsers, self.level + 1)

    @cached_property
    def child(self) -> Field:
        """Return the key `retriever`, whose value is a retriever on this level."""
        return Field(frozenset({OBJECT}), self._child, required=True)

    def _child(self, node: Node) -> Any:
        next(node.entries(), None)  # a fault of the text up to there comes first
        self.check()
        return parse_named(node, "retriever", self.member)

    def member(self, node: Node, name: str) -> Any:
        """Return the retriever that is the value of a key of `node`."""
        self.check()
        if name not in self.parsers:
            raise unknown_name(node, node.keys[name], name)
        inner = node.get(name)
        assert inner is not None  # the name was read there
        return self.parsers[name](inner, self)

    def check(self) -> None:
        """Refuse a level that is too deep.

        ``RetrieverBuilder#parseTopLevelRetrieverBuilder`` counts before it reads the name, and lets nothing
        that encloses the retriever wrap this.
        """
        if self.level > MAX_NESTED_DEPTH:
            reason = (
                "The nested depth of the [retriever] exceeds the maximum nested depth of "
                f"[{MAX_NESTED_DEPTH}] for retrievers"
            )
            raise error(400, "retriever_nesting_depth_exceeded_exception", reason)


def in_parsing_error(parse: Callable[[_C, Node, Nesting], _R]) -> Callable[[_C, Node, Nesting], _R]:
    """Word faults as the retrievers do whose ``fromXContent`` repeats, with line and column, what went wrong
    inside.
    """

    @wraps(parse)
    def wrapped(cls: _C, node: Node, nesting: Nesting) -> _R:
        try:
            return parse(cls, node, nesting)
        except ParseError as failure:
            at = node.start if failure.offset is None else failure.offset
            raise parsing_error(node, at, failure.cause.reason, failure.cause) from None

    return wrapped


each_level: Final = lru_cache(maxsize=MAX_NESTED_DEPTH + 1)
"""Keeps tables of keys, each of which is made for the level of the retrievers in it."""


def base(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return what every retriever keeps, as arguments of its class. Not `min_score`, which many forget."""
    return {"filters": values.get("filter", ()), "name": values.get("_name")}


BASE_FIELDS: Final[Mapping[str, Field]] = {
    "filter": replace(objects(to_query), argument=False),
    "min_score": replace(FLOAT, argument=False),
    "_name": replace(STR, argument=False),
}
"""``RetrieverBuilder#declareBaseParserFields``."""
