"""The grammar of `knn`, and which of its numbers are refused."""

import json
from typing import Any

import pytest

from rerank_proxy.search.retrievers.knn import KnnRetriever
from tests.support.retrievers import chain, read, refusal, rescorer, rewrite_refusal, rrf, texts
from tests.support.searches import KNN


def test_every_key() -> None:
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


def test_missing_keys() -> None:
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


def test_an_error_of_the_constructor_is_inside_the_field_that_completes_it() -> None:
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


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"k": 0, "num_candidates": 0}, "[k] must be greater than 0"),
        ({"k": 7}, "[num_candidates] cannot be less than [k]"),
        ({"num_candidates": 10_001}, "[num_candidates] cannot exceed [10000]"),
        ({"visit_percentage": -1}, "[visit_percentage] must be between 0 and 100"),
        ({"visit_percentage": 101}, "[visit_percentage] must be between 0 and 100"),
    ],
)
def test_numbers(options: dict[str, Any], reason: str) -> None:
    assert rewrite_refusal(rescorer({"knn": {**KNN["knn"], **options}})) == reason


def test_too_many_candidates_by_default() -> None:
    leg = {"knn": {"field": "v", "query_vector": [1], "k": 20_000}}
    assert rewrite_refusal(rrf(leg)) == "[num_candidates] cannot be less than [k]"
