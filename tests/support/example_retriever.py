"""`reversed`: the window of a child, the last document first."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.search.retrievers.compound import DEFAULT_RANK_WINDOW_SIZE, WrappingRetriever
from rerank_proxy.search.retrievers.explanations import Detail
from rerank_proxy.search.retrievers.grammar import BASE_FIELDS, Nesting, base, each_level
from rerank_proxy.search.retrievers.retriever import Explained, Found, Key
from rerank_proxy.xcontent.object_parser import INT, Field, parse_object
from rerank_proxy.xcontent.source import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class ReversedRetriever(WrappingRetriever):
    """Turns the window of `child` around; the scores stay where they were."""

    TYPE: ClassVar = "reversed"

    @classmethod
    def parse(cls, node: Node, nesting: Nesting) -> Self:
        values = parse_object(node, cls.TYPE, _fields(nesting.below))
        window = values.get("rank_window_size", DEFAULT_RANK_WINDOW_SIZE)
        return cls(child=values["retriever"], rank_window_size=window, **base(values))

    def check_after_children(self, filters: tuple[bytes, ...]) -> None:
        """Refuse nothing."""

    def combine(self, lists: Sequence[Sequence[RankDoc]]) -> Sequence[RankDoc]:
        (docs,) = lists
        window = docs[: self.rank_window_size]
        return [doc.scored(other.score) for doc, other in zip(reversed(window), window, strict=True)]

    def matches(self, found: Found, below: Sequence[bytes]) -> list[bytes]:
        return [*below]

    def explain(self, told: Explained, key: Key, boost: float) -> Detail | None:
        return told.rank_doc(key, boost)


@each_level
def _fields(children: Nesting) -> Mapping[str, Field]:
    return {"retriever": children.child, "rank_window_size": INT, **BASE_FIELDS}
