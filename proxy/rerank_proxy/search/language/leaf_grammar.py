"""The retrievers without children, and the keys that all retrievers have."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from rerank_proxy.search.language.clauses import (
    COLLAPSE,
    QUERY,
    RAW_VECTOR,
    RESCORE_VECTOR,
    SEARCH_AFTER,
    SORT,
    VECTOR_BUILDER,
    to_query,
)
from rerank_proxy.search.language.retrievers import KnnRetriever, StandardRetriever
from rerank_proxy.xcontent.object_parser import FLOAT, INT, STR, Field, objects, parse_object
from rerank_proxy.xcontent.source import Node

MAX_NUM_CANDIDATES: Final = 10_000


def parse_standard(node: Node) -> StandardRetriever:
    values = parse_object(node, "standard", _STANDARD_FIELDS)
    return StandardRetriever(
        query=values.get("query"),
        sort=values.get("sort"),
        collapse=values.get("collapse"),
        search_after=values.get("search_after"),
        terminate_after=values.get("terminate_after", 0),
        min_score=values.get("min_score"),
        **base(values),
    )


def parse_knn(node: Node) -> KnnRetriever:
    values = parse_object(node, "knn", _KNN_FIELDS, _check_knn)
    k = values["k"]
    return KnnRetriever(
        section={name: member.raw for name, member in node.members.items() if name not in BASE_FIELDS},
        k=k,
        num_candidates=values.get("num_candidates", min(MAX_NUM_CANDIDATES, (3 * k + 1) // 2)),
        visit_percentage=values.get("visit_percentage"),
        min_score=values.get("min_score"),
        **base(values),
    )


def _check_knn(values: Mapping[str, Any]) -> str | None:
    given = [key for key in ("query_vector", "query_vector_builder") if key in values]
    if not given:
        return "either [query_vector] or [query_vector_builder] must be provided"
    if len(given) == 2:
        return "only one of [query_vector] and [query_vector_builder] must be provided"
    return None


def base(values: Mapping[str, Any]) -> dict[str, Any]:
    """What every retriever has, as arguments of its dataclass. Not `min_score`, which many lose."""
    return {"filters": values.get("filter", ()), "name": values.get("_name")}


BASE_FIELDS: Final[Mapping[str, Field]] = {
    "filter": replace(objects(to_query), argument=False),
    "min_score": replace(FLOAT, argument=False),
    "_name": replace(STR, argument=False),
}
"""``RetrieverBuilder#declareBaseParserFields``."""

_STANDARD_FIELDS: Final[Mapping[str, Field]] = {
    "query": QUERY,
    "search_after": SEARCH_AFTER,
    "terminate_after": INT,
    "sort": SORT,
    "collapse": COLLAPSE,
    **BASE_FIELDS,
}

_KNN_FIELDS: Final[Mapping[str, Field]] = {
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
