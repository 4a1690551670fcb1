"""`rrf`: reciprocal rank fusion (``RRFRetrieverBuilder``)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Final, Self

from rerank_proxy.search.ranks.fusion import fuse_rrf
from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.search.retrievers.explanations import Detail, rrf
from rerank_proxy.search.retrievers.fusing import (
    DEFAULT_WEIGHT,
    NO_NORMALIZER,
    Component,
    FusingRetriever,
    fusing_values,
)
from rerank_proxy.search.retrievers.grammar import BASE_FIELDS, Nesting, each_level
from rerank_proxy.search.retrievers.retriever import Explained, Key, Retriever
from rerank_proxy.xcontent.faults import ParseError
from rerank_proxy.xcontent.object_parser import (
    INT,
    STR,
    STRS,
    Field,
    illegal_argument,
    java_float,
    numeric,
    objects,
    parse_object,
    parsing_error,
    to_float,
    unknown_name,
)
from rerank_proxy.xcontent.source import OBJECT, Node

DEFAULT_RANK_CONSTANT: Final = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class RrfRetriever(FusingRetriever):
    """Adds up the reciprocal ranks of each document."""

    TYPE: ClassVar = "rrf"

    rank_constant: int = DEFAULT_RANK_CONSTANT

    @classmethod
    def parse(cls, node: Node, nesting: Nesting) -> Self:
        values = parse_object(node, cls.TYPE, _fields(nesting.below))
        return cls(
            components=values.get("retrievers", ()),
            rank_constant=values.get("rank_constant", DEFAULT_RANK_CONSTANT),
            **fusing_values(values),
        )

    @property
    def default_normalizer(self) -> str:
        return NO_NORMALIZER

    def check_after_children(self, filters: tuple[bytes, ...]) -> None:
        """Refuse nothing."""

    def combine(self, lists: Sequence[Sequence[RankDoc]]) -> Sequence[RankDoc]:
        return fuse_rrf(lists, self.weights, self.rank_constant, self.rank_window_size)

    def explain(self, told: Explained, key: Key, boost: float) -> Detail | None:
        doc = told.doc(key)
        if doc is None:
            return None
        ranks = [child.rank(key, self.rank_window_size) for child in told.children]
        return rrf(doc.score, self.rank_constant, ranks, told.sources(key, boost))


def _parse_component(node: Node, nesting: Nesting) -> Component:
    """Read a retriever, or an object with a `retriever` and its `weight` (``RRFRetrieverComponent``)."""
    if node.kind != OBJECT:
        raise parsing_error(node, node.start, f"expected object but found [{node.kind}]")
    first, _ = next(node.entries(), ("retriever", None))
    if first not in ("retriever", "weight"):
        return Component(retriever=_parse_only_member(node, nesting))
    retriever, weight = None, DEFAULT_WEIGHT
    for name, member in node.entries():
        if name == "retriever":
            retriever = _parse_retriever(member, nesting)
        elif name == "weight":
            weight = _parse_weight(member)
        else:
            reason = f"unknown field [{name}], expected [retriever] or [weight]"
            raise parsing_error(node, node.keys[name], reason)
    if retriever is None:
        raise parsing_error(node, node.last_token(), "retriever component must contain a retriever")
    if weight < 0:
        raise illegal_argument(
            f"[weight] must be non-negative, found [{java_float(weight)}]", node.last_token()
        )
    return Component(retriever=retriever, weight=weight)


def _parse_retriever(node: Node, nesting: Nesting) -> Retriever:
    if node.kind != OBJECT:
        raise parsing_error(node, node.start, "retriever must be an object")
    if next(node.entries(), None) is None:
        nesting.check()
        raise unknown_name(node, node.last_token(), "retriever")
    return _parse_only_member(node, nesting)


def _parse_only_member(node: Node, nesting: Nesting) -> Retriever:
    entries = node.entries()
    name, child = next(entries)
    try:
        retriever: Retriever = nesting.member(node, name)
    except ParseError as failure:
        at = child.start if failure.offset is None else failure.offset
        raise ParseError(failure.cause, at) from None
    for other, _ in entries:
        reason = f"unknown field [{other}] after retriever"
        raise parsing_error(node, node.keys[other], reason)
    return retriever


def _parse_weight(node: Node) -> float:
    try:
        return to_float(numeric(node))
    except ParseError as failure:
        raise ParseError(failure.cause, node.start) from None


@each_level
def _fields(children: Nesting) -> Mapping[str, Field]:
    return {
        "retrievers": objects(partial(_parse_component, nesting=children)),
        "fields": STRS,
        "query": STR,
        "rank_window_size": INT,
        "rank_constant": INT,
        **BASE_FIELDS,
    }
