"""`rescorer`: the search body's `rescore` over what a child finds (``RescorerRetrieverBuilder``)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Self

from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.search.retrievers.clauses import RESCORE
from rerank_proxy.search.retrievers.compound import WrappingRetriever
from rerank_proxy.search.retrievers.explanations import Detail
from rerank_proxy.search.retrievers.grammar import BASE_FIELDS, Nesting, base, each_level, in_parsing_error
from rerank_proxy.search.retrievers.queries import array
from rerank_proxy.search.retrievers.retriever import Explained, Found, Key
from rerank_proxy.xcontent.object_parser import Field, parse_object
from rerank_proxy.xcontent.source import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class RescorerRetriever(WrappingRetriever):
    """Runs the search body's `rescore` over what `child` finds; the window is the smallest of its own."""

    TYPE: ClassVar = "rescorer"
    WINDOW_KEY: ClassVar = "window_size"

    rescore: tuple[bytes, ...]

    @classmethod
    @in_parsing_error
    def parse(cls, node: Node, nesting: Nesting) -> Self:
        values = parse_object(node, cls.TYPE, _fields(nesting.below), _check)
        return cls(
            child=values["retriever"],
            rescore=tuple(rescorer for rescorer, _ in values["rescore"]),
            rank_window_size=min(window for _, window in values["rescore"]),
            **base(values),
        )

    def check_after_children(self, filters: tuple[bytes, ...]) -> None:
        """Refuse nothing."""

    def altered(self, clauses: Mapping[str, bytes]) -> Mapping[str, bytes]:
        return {**clauses, "rescore": array(self.rescore)}

    def searched_again(self, found: Sequence[RankDoc], taken: Sequence[RankDoc]) -> Sequence[RankDoc] | None:
        """Return all of them: a shard may rescore documents into the window."""
        return found if taken else None

    def matches(self, found: Found, below: Sequence[bytes]) -> list[bytes]:
        return [*below]

    def explain(self, told: Explained, key: Key, boost: float) -> Detail | None:
        return told.rank_doc(key, boost)


def _check(values: Mapping[str, Any]) -> str | None:
    return None if values["rescore"] else "Missing rescore definition"


@each_level
def _fields(children: Nesting) -> Mapping[str, Field]:
    return {"retriever": children.child, "rescore": RESCORE, **BASE_FIELDS}
