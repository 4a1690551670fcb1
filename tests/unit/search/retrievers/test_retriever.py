"""Laws of the tree itself."""

from typing import Any

import pytest

from rerank_proxy.search.ranks.scores import MIN_VALUE
from rerank_proxy.search.retrievers.types import COMPOUND_TYPES, RETRIEVER_TYPES
from tests.support.retrievers import diversify, linear, pinned, read, rescorer, rrf
from tests.support.searches import KNN, STANDARD, reranking

SCORED = {"standard": {"min_score": 3}}


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
