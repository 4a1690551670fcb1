"""The retrievers without children."""

import json
from typing import Any

import pytest

from rerank_proxy.search.retrievers.knn import KnnRetriever
from rerank_proxy.search.retrievers.standard import StandardRetriever
from tests.support.retrievers import chain, read, refusal, texts
from tests.support.searches import KNN


def standard(**options: Any) -> StandardRetriever:
    retriever = read({"standard": options})
    assert isinstance(retriever, StandardRetriever)
    return retriever


def knn(**options: Any) -> KnnRetriever:
    retriever = read({"knn": {**KNN["knn"], **options}})
    assert isinstance(retriever, KnnRetriever)
    return retriever


def test_standard_without_anything() -> None:
    assert standard() == StandardRetriever()


def test_every_key_of_standard() -> None:
    retriever = standard(
        query={"match_all": {}},
        search_after=[1, None, "a"],
        terminate_after=3,
        sort=[{"n": "asc"}, "_score"],
        collapse={"field": "n"},
        min_score=1,
        filter={"term": {"a": 1}},
        _name="child",
    )
    assert retriever == StandardRetriever(
        query=b'{"match_all": {}}',
        search_after=b'[1, null, "a"]',
        terminate_after=3,
        sort=b'[{"n": "asc"}, "_score"]',
        collapse=b'{"field": "n"}',
        min_score=1.0,
        filters=(b'{"term": {"a": 1}}',),
        name="child",
    )


def test_every_key_of_knn() -> None:
    section = {
        "field": "v",
        "k": "4",
        "num_candidates": 6,
        "query_vector": [0.1] * 20,
        "visit_percentage": 0.5,
        "similarity": 0.2,
        "rescore_vector": {"oversample": 2},
    }
    retriever = read({"knn": {**section, "filter": [{"term": {"a": 1}}], "min_score": 0.5, "_name": "leg"}})
    assert isinstance(retriever, KnnRetriever)
    assert {name: json.loads(raw) for name, raw in retriever.section.items()} == section
    assert (retriever.k, retriever.num_candidates, retriever.visit_percentage) == (4, 6, 0.5)
    assert (retriever.filters, retriever.min_score, retriever.name) == ((b'{"term": {"a": 1}}',), 0.5, "leg")


@pytest.mark.parametrize(("k", "candidates"), [(1, 2), (3, 5), (4, 6), (9000, 10_000)])
def test_candidates_by_default(k: int, candidates: int) -> None:
    retriever = read({"knn": {"field": "v", "query_vector": [1], "k": k}})
    assert isinstance(retriever, KnnRetriever)
    assert retriever.num_candidates == candidates
    assert "num_candidates" not in retriever.section


def test_missing_keys_of_knn() -> None:
    assert chain(refusal({"knn": {}})) == [("illegal_argument_exception", "Required [field, k]")]


@pytest.mark.parametrize(
    ("vectors", "reason"),
    [
        ({}, "either [query_vector] or [query_vector_builder] must be provided"),
        (
            {"query_vector": [1], "query_vector_builder": {"a": {}}},
            "only one of [query_vector] and [query_vector_builder] must be provided",
        ),
    ],
)
def test_just_one_vector(vectors: dict[str, Any], reason: str) -> None:
    assert chain(refusal({"knn": {"field": "v", "k": 1, **vectors}})) == [
        ("x_content_parse_exception", "Failed to build [knn] after last required field arrived"),
        ("illegal_argument_exception", reason),
    ]


def test_a_constructor_complains_inside_the_field_that_completes_it() -> None:
    complete = {
        **KNN["knn"],
        "visit_percentage": 1,
        "similarity": 1,
        "rescore_vector": {"oversample": 2},
        "query_vector_builder": {"a": {}},
    }
    assert texts(refusal({"knn": complete})) == [
        "[knn] failed to parse field [query_vector_builder]",
        "Failed to build [knn] after last required field arrived",
        "only one of [query_vector] and [query_vector_builder] must be provided",
    ]


def test_a_string_is_no_sort() -> None:
    assert texts(refusal({"standard": {"sort": "n"}})) == [
        "[standard] sort doesn't support values of type: VALUE_STRING"
    ]
