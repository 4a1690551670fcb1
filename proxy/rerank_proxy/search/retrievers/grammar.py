"""The common parts of the grammars of retrievers: keys that all have, and children at any depth."""

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
"""The greatest depth of a tree of retrievers (``RetrieverBuilder#MAX_NESTED_DEPTH``)."""

_C = TypeVar("_C")
_R = TypeVar("_R")

Parser = Callable[[Node, "Nesting"], Any]
"""Parses a retriever of one type, at a given level of the tree."""


class Nesting:
    """A level of a tree that is parsed.

    Attributes:
        level: 1 for the topmost retriever, 2 for its children …
        parsers: The parser of each type of retriever.
    """

    def __init__(self, parsers: Mapping[str, Parser], level: int = 1) -> None:
        self.parsers: Final = parsers
        self.level: Final = level

    @cached_property
    def below(self) -> "Nesting":
        """The level of the children: always the same object, so that tables of keys can be cached by it."""
        return Nesting(self.parsers, self.level + 1)

    @cached_property
    def child(self) -> Field:
        """The key `retriever`, whose value is a retriever on this level."""
        return Field(frozenset({OBJECT}), self._child, required=True)

    def _child(self, node: Node) -> Any:
        next(node.entries(), None)  # a fault in the text up to there comes first
        self.check()
        return parse_named(node, "retriever", self.member)

    def member(self, node: Node, name: str) -> Any:
        """Parse the retriever that is the value of a key of `node`."""
        self.check()
        if name not in self.parsers:
            raise unknown_name(node, node.keys[name], name)
        inner = node.get(name)
        assert inner is not None  # the name was read there
        return self.parsers[name](inner, self)

    def check(self) -> None:
        """Refuse a level that is too deep.

        ``RetrieverBuilder#parseTopLevelRetrieverBuilder`` does so before it reads the name of the retriever,
        and with an error that nothing wraps.
        """
        if self.level > MAX_NESTED_DEPTH:
            reason = (
                "The nested depth of the [retriever] exceeds the maximum nested depth of "
                f"[{MAX_NESTED_DEPTH}] for retrievers"
            )
            raise error(400, "retriever_nesting_depth_exceeded_exception", reason)


def in_parsing_error(parse: Callable[[_C, Node, Nesting], _R]) -> Callable[[_C, Node, Nesting], _R]:
    """Wrap a parser of retrievers so that its faults are repeated in another error, with line and column.

    Some retrievers do that in ``fromXContent``.
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
"""Caches a table of keys for each level, as it refers to the level of its child retrievers."""


def base(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments that all classes of retrievers share; without `min_score`, which many ignore."""
    return {"filters": values.get("filter", ()), "name": values.get("_name")}


BASE_FIELDS: Final[Mapping[str, Field]] = {
    "filter": replace(objects(to_query), argument=False),
    "min_score": replace(FLOAT, argument=False),
    "_name": replace(STR, argument=False),
}
"""``RetrieverBuilder#declareBaseParserFields``."""
