"""The tree of retrievers: its order, the `min_score` in effect, and which trees can be rewritten."""

from typing import Any

import pytest

from rerank_proxy.search.ranks.scores import MIN_VALUE
from rerank_proxy.search.retrievers.types import COMPOUND_TYPES, RETRIEVER_TYPES
from tests.support.retrievers import (
    check_rewrite,
    diversify,
    linear,
    pinned,
    read,
    rescorer,
    rewrite_refusal,
    rrf,
)
from tests.support.searches import KNN, STANDARD, reranking

SCORED = {"standard": {"min_score": 3}}


def knn(**options: Any) -> dict[str, Any]:
    return {"knn": {**KNN["knn"], **options}}


def test_types() -> None:
    assert {"standard", "knn", *COMPOUND_TYPES} == RETRIEVER_TYPES
    assert len(COMPOUND_TYPES) == 7


def test_parents_come_first_and_in_order() -> None:
    tree = read(rrf(rescorer(KNN), linear(STANDARD, diversify())))
    assert [each.TYPE for each in tree.walk()] == [
        "rrf", "rescorer", "knn", "linear", "standard", "diversify", "standard",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("tree", "expected"),
    [
        (STANDARD, None),
        (SCORED, 3.0),
        (reranking(min_score=-1)["retriever"], -1.0),
        (reranking(SCORED, min_score=0)["retriever"], 0.0),
        (reranking(SCORED)["retriever"], MIN_VALUE),
        (reranking({"standard": {"min_score": 0}})["retriever"], MIN_VALUE),
        (rrf(STANDARD, KNN), None),
        (rrf(STANDARD, KNN, min_score=2), None),
        (rrf(STANDARD, SCORED, min_score=2), MIN_VALUE),
        (linear(STANDARD, min_score=2), 2.0),
        (rescorer(rescorer(SCORED)), MIN_VALUE),
        (rescorer(rescorer(min_score=2), min_score=2), None),
        (diversify(linear(STANDARD, min_score=0)), MIN_VALUE),
        (pinned(STANDARD, min_score=1), None),
    ],
)
def test_the_min_score_in_effect(tree: Any, expected: float | None) -> None:
    assert read(tree).effective_min_score == expected


@pytest.mark.parametrize(
    "tree",
    [
        reranking()["retriever"],
        rescorer({"standard": {"terminate_after": 0}}),
        rrf(rescorer(), linear(diversify(KNN), min_score=0)),
        rrf(KNN, knn(visit_percentage=100, k=10_000, num_candidates=10_000)),
        {"rrf": {"query": "a", "fields": ["a^0", "b"]}},
    ],
)
def test_trees_that_can_be_rewritten(tree: Any) -> None:
    check_rewrite(tree)


def test_the_first_child_comes_first_and_children_before_parents() -> None:
    bad = {"standard": {"search_after": [1]}}
    assert rewrite_refusal(rrf(rescorer(knn(k=0)), bad)).startswith("[k]")
    assert rewrite_refusal(linear(bad, knn(k=0), min_score=-1)).startswith("[search_after]")
    assert rewrite_refusal(rrf(linear(STANDARD, min_score=-1), bad)).startswith("[min_score]")
