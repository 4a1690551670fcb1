"""`knn`: a vector search (``KnnRetrieverBuilder``)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Final, Self

import numpy as np

from rerank_proxy.errors import illegal_argument
from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.search.retrievers.clauses import RAW_VECTOR, RESCORE_VECTOR, VECTOR_BUILDER
from rerank_proxy.search.retrievers.explanations import SUM, Detail, Explanation
from rerank_proxy.search.retrievers.grammar import BASE_FIELDS, Nesting, base
from rerank_proxy.search.retrievers.queries import (
    any_of,
    array,
    boolean,
    query,
    rank_docs,
    to_json,
    to_object,
)
from rerank_proxy.search.retrievers.retriever import Explained, Found, Key, LeafRetriever
from rerank_proxy.xcontent.java_numbers import print_float
from rerank_proxy.xcontent.object_parser import FLOAT, INT, STR, Field, parse_object
from rerank_proxy.xcontent.source import Node
from rerank_proxy.xcontent.splicing import elements, members, text

MAX_NUM_CANDIDATES: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class KnnRetriever(LeafRetriever):
    """A vector search.

    Attributes:
        section: The keys of the search body's `knn` section but `filter`, as written.
        k, num_candidates, visit_percentage: The same again as numbers; the second has a default.
    """

    TYPE: ClassVar = "knn"

    section: Mapping[str, bytes]
    k: int
    num_candidates: int
    visit_percentage: float | None = None

    @classmethod
    def parse(cls, node: Node, nesting: Nesting) -> Self:
        values = parse_object(node, cls.TYPE, _FIELDS, _check)
        k = values["k"]
        return cls(
            section={name: member.raw for name, member in node.members.items() if name not in BASE_FIELDS},
            k=k,
            num_candidates=values.get("num_candidates", min(MAX_NUM_CANDIDATES, (3 * k + 1) // 2)),
            visit_percentage=values.get("visit_percentage"),
            min_score=values.get("min_score"),
            **base(values),
        )

    def check_rewrite(self, inherited: tuple[bytes, ...] = ()) -> None:
        """Refuse what the constructor of ``KnnSearchBuilder`` refuses."""
        if self.k < 1:
            raise illegal_argument("[k] must be greater than 0")
        if self.num_candidates < self.k:
            raise illegal_argument("[num_candidates] cannot be less than [k]")
        if self.num_candidates > MAX_NUM_CANDIDATES:
            raise illegal_argument(f"[num_candidates] cannot exceed [{MAX_NUM_CANDIDATES}]")
        if self.visit_percentage is not None and not 0 <= self.visit_percentage <= 100:
            raise illegal_argument("[visit_percentage] must be between 0 and 100")

    def has_query(self, filters: tuple[bytes, ...]) -> bool:
        """Tell that its search has none, but a `knn` section."""
        return False

    def clauses_size(self, inherited: int = 0) -> int:
        return self._own_size(inherited) + sum(map(len, self.section.values()))

    @property
    def stands_for_its_results(self) -> bool:
        return True

    def clauses(self) -> dict[str, bytes]:
        section = dict(self.section)
        if self.filters:
            section["filter"] = array(self.filters)
        if self.name is not None:
            section["_name"] = to_json(self.name)
        return {"knn": to_object(section)}

    def one_search_clauses(self) -> Sequence[bytes] | None:
        return [*self.filters, *self.section.values()]

    def matches(self, found: Found, below: Sequence[bytes]) -> list[bytes]:
        """Return what it returned, with its filters' names (``#topDocsQuery``)."""
        clauses = {"must": array([rank_docs(found.docs)])}
        if self.filters:
            clauses["filter"] = array(self.filters)
        return [boolean(clauses, self.name)]

    def explainable(self, docs: Sequence[RankDoc]) -> bytes | None:
        """Return its documents for what the filters say of them."""
        if not self.filters or not docs:
            return None
        found = query("constant_score", {"filter": any_of(docs)})
        return boolean({"must": array([found]), "filter": array(self.filters)})

    def explain(self, told: Explained, key: Key, boost: float) -> Detail | None:
        doc = told.doc(key)
        if doc is None:
            return None
        explanation = told.rank_doc(key, boost, details=[self._of_vector(doc, boost)])
        filters = _of_filters(told.hits[key]["_explanation"]) if key in told.hits else ()
        if explanation is None or not filters:
            return explanation
        return Explanation(doc.score, SUM, (explanation, *filters))

    def _of_vector(self, doc: RankDoc, boost: float) -> Explanation:
        """(``DenseVectorQuery``, ``VectorSimilarityQuery``.)"""
        score = doc.score if doc.first_score is None else doc.first_score
        boosted = float(np.float32(score) * np.float32(boost))
        found = Explanation(score, f"found vector with calculated similarity: {print_float(score).decode()}")
        if "similarity" not in self.section:
            return replace(found, value=boosted)
        return Explanation(boosted, "vector similarity within limit", (found,))


def _of_filters(explanation: bytes) -> Sequence[bytes]:
    """Return what upstream explains of the filters; nothing of filters that turn out to match all."""
    node = members(explanation)
    return elements(node["details"])[1:] if text(node["description"]) == SUM else ()


def _check(values: Mapping[str, Any]) -> str | None:
    given = [key for key in ("query_vector", "query_vector_builder") if key in values]
    if not given:
        return "either [query_vector] or [query_vector_builder] must be provided"
    if len(given) == 2:
        return "only one of [query_vector] and [query_vector_builder] must be provided"
    return None


_FIELDS: Final[Mapping[str, Field]] = {
    "field": replace(STR, required=True),
    "k": replace(INT, required=True),
    "num_candidates": INT,
    "visit_percentage": FLOAT,
    "query_vector": RAW_VECTOR,
    "query_vector_builder": VECTOR_BUILDER,
    "similarity": FLOAT,
    "rescore_vector": RESCORE_VECTOR,
    **BASE_FIELDS,
}
