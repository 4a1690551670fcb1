"""`standard`: a query, and what narrows or orders it (``StandardRetrieverBuilder``)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Final, Self

from rerank_proxy.errors import illegal_argument
from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.search.retrievers.clauses import COLLAPSE, QUERY, SEARCH_AFTER, SORT
from rerank_proxy.search.retrievers.explanations import Detail
from rerank_proxy.search.retrievers.grammar import BASE_FIELDS, Nesting, base
from rerank_proxy.search.retrievers.queries import MATCH_ALL, array, boolean, to_float, unnamed
from rerank_proxy.search.retrievers.retriever import Explained, Found, Key, LeafRetriever
from rerank_proxy.xcontent.object_parser import INT, Field, parse_object
from rerank_proxy.xcontent.source import Node


@dataclass(frozen=True, slots=True, kw_only=True)
class StandardRetriever(LeafRetriever):
    """A query, and what narrows or orders it."""

    TYPE: ClassVar = "standard"

    query: bytes | None = None
    sort: bytes | None = None
    collapse: bytes | None = None
    search_after: bytes | None = None
    terminate_after: int = 0

    @classmethod
    def parse(cls, node: Node, nesting: Nesting) -> Self:
        values = parse_object(node, cls.TYPE, _FIELDS)
        return cls(
            query=values.get("query"),
            sort=values.get("sort"),
            collapse=values.get("collapse"),
            search_after=values.get("search_after"),
            terminate_after=values.get("terminate_after", 0),
            min_score=values.get("min_score"),
            **base(values),
        )

    def check_rewrite(self, inherited: tuple[bytes, ...] = ()) -> None:
        """Refuse what ``#extractToSearchSourceBuilder`` refuses below a compound retriever."""
        for option in ("search_after", "terminate_after"):
            if getattr(self, option):
                raise illegal_argument(f"[{option}] cannot be used in children of compound retrievers")

    @property
    def collapses(self) -> bool:
        return self.collapse is not None

    def has_query(self, filters: tuple[bytes, ...]) -> bool:
        return bool(self.query is not None or self.filters or filters)

    def clauses_size(self, inherited: int = 0) -> int:
        return self._own_size(inherited) + len(self.query or b"")

    @property
    def stands_for_its_results(self) -> bool:
        return False

    def clauses(self) -> dict[str, bytes]:
        values = {
            "query": self.narrowed_query(),
            "sort": self.sort,
            "collapse": self.collapse,
            "min_score": None if self.min_score is None else to_float(self.min_score),
        }
        return {name: value for name, value in values.items() if value is not None}

    def narrowed_query(self) -> bytes:
        """Return the query, narrowed by the filters (``#extractToSearchSourceBuilder``)."""
        if not self.filters:
            return self.query or MATCH_ALL
        clauses = {} if self.query is None else {"must": array([self.query])}
        return boolean({**clauses, "filter": array(self.filters)})

    def one_search_clauses(self) -> Sequence[bytes] | None:
        if self.sort is not None or self.collapse is not None:
            return None
        return [*self.filters, self.query or b""]

    def matches(self, found: Found, below: Sequence[bytes]) -> list[bytes]:
        return [self.matching_query()]

    def matching_query(self) -> bytes:
        """Return a query for the same documents, with names and with native's own scores: filters make the
        whole query one (``#topDocsQuery``).
        """
        if not self.filters:
            # The retriever's name, or none, becomes that of the query itself.
            own = unnamed(self.query or MATCH_ALL)
            return own if self.name is None else boolean({"must": array([own])}, self.name)
        clauses = [] if self.query is None else [self.query]
        return boolean({"filter": array([*clauses, *self.filters])}, self.name)

    def explainable(self, docs: Sequence[RankDoc]) -> bytes | None:
        return self.matching_query()

    def explain(self, told: Explained, key: Key, boost: float) -> Detail | None:
        """Return what upstream says of its query."""
        return told.hits[key]["_explanation"] if key in told.hits else None


_FIELDS: Final[Mapping[str, Field]] = {
    "query": QUERY,
    "search_after": SEARCH_AFTER,
    "terminate_after": INT,
    "sort": SORT,
    "collapse": COLLAPSE,
    **BASE_FIELDS,
}
