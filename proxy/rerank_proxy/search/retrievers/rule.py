"""`rule`: query rules around what a child finds (``QueryRuleRetrieverBuilder``)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Self

from rerank_proxy.errors import illegal_argument
from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.search.retrievers.clauses import sort_criteria, sorted_by
from rerank_proxy.search.retrievers.compound import DEFAULT_RANK_WINDOW_SIZE, WrappingRetriever
from rerank_proxy.search.retrievers.explanations import Detail
from rerank_proxy.search.retrievers.grammar import BASE_FIELDS, Nesting, base, each_level, in_parsing_error
from rerank_proxy.search.retrievers.queries import disjunction, query
from rerank_proxy.search.retrievers.retriever import Explained, Found, Key
from rerank_proxy.xcontent.object_parser import INT, RAW_OBJECT, STRS, Field, parse_object
from rerank_proxy.xcontent.source import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleRetriever(WrappingRetriever):
    """Applies upstream's query rules around what `child` finds."""

    TYPE: ClassVar = "rule"
    SEES_WINDOWS_BELOW: ClassVar = False

    ruleset_ids: bytes
    match_criteria: bytes

    @classmethod
    @in_parsing_error
    def parse(cls, node: Node, nesting: Nesting) -> Self:
        values = parse_object(node, cls.TYPE, _fields(nesting.below))
        return cls(
            child=values["retriever"],
            ruleset_ids=node.members["ruleset_ids"].raw,
            match_criteria=values["match_criteria"],
            rank_window_size=values.get("rank_window_size", DEFAULT_RANK_WINDOW_SIZE),
            **base(values),
        )

    def check_after_children(self, filters: tuple[bytes, ...]) -> None:
        """Refuse what ``#checkValidSort`` refuses, which reads the first criterion only."""
        criteria = [*sort_criteria(self.child.sort)]
        if criteria and sorted_by(criteria[0]) != "_score":
            shown = b", ".join(criteria).decode(errors="replace")
            raise illegal_argument(f"[rule] retriever only supports sort by score, got: [{shown}]")

    def altered(self, clauses: Mapping[str, bytes]) -> Mapping[str, bytes]:
        return {**clauses, "query": self._around(clauses["query"])}

    def _around(self, organic: bytes) -> bytes:
        """Return upstream's `rule` query around another (``RuleQueryBuilder``)."""
        clauses = {
            "organic": organic,
            "ruleset_ids": self.ruleset_ids,
            "match_criteria": self.match_criteria,
        }
        return query("rule", clauses)

    def searched_again(self, found: Sequence[RankDoc], taken: Sequence[RankDoc]) -> Sequence[RankDoc] | None:
        return found

    def matches(self, found: Found, below: Sequence[bytes]) -> list[bytes]:
        return [self._around(disjunction(below))]

    def explain(self, told: Explained, key: Key, boost: float) -> Detail | None:
        return told.rank_doc(key, boost)


@each_level
def _fields(children: Nesting) -> Mapping[str, Field]:
    return {
        "ruleset_ids": replace(STRS, required=True),
        "match_criteria": replace(RAW_OBJECT, required=True),
        "retriever": children.child,
        "rank_window_size": INT,
        **BASE_FIELDS,
    }
