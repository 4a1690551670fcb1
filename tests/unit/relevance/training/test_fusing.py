"""Fusion here is that of the `linear` retriever, and its weight is the one that ranks best."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.relevance.judgments import Hit
from rerank_proxy.relevance.templates import bm25
from rerank_proxy.relevance.training.fusing import GRID, fit, fused, minmax, native, template_of
from rerank_proxy.search.ranks import fusion, scores
from tests.support.examples import examples
from tests.support.trainings import material, teacher_of

SCORES = st.lists(st.floats(-8, 8, width=32), min_size=1, max_size=12)


@given(SCORES)
@examples(1)
def test_scores_are_scaled_as_natively(raw: list[float]) -> None:
    np.testing.assert_allclose(native(raw), scores.normalize(raw), rtol=1e-5)
    own, theirs = minmax(native(raw)), fusion.minmax(scores.normalize(raw))
    np.testing.assert_allclose(own, theirs, atol=1e-3)


def test_a_weight_of_all_or_nothing_is_one_order_alone() -> None:
    first = [Hit("a", 3.0), Hit("b", 2.0), Hit("c", 1.0)]
    model = {"a": -1.0, "b": 0.5, "c": 2.0}
    assert [hit.id for hit in fused(first, model, 1.0)] == ["a", "b", "c"]
    assert [hit.id for hit in fused(first, model, 0.0)] == ["c", "b", "a"]
    assert [hit.id for hit in fused(first, {"b": 0.0}, 0.5)] == ["b"], "without a text there is no score"


def test_the_weight_follows_who_is_right() -> None:
    made = material(24)
    queries = list(made.queries)
    right = teacher_of(made)
    wrong = {query: {name: -score for name, score in of.items()} for query, of in right.items()}
    assert fit(made, queries, right) < 0.5
    assert fit(made, queries, wrong) > 0.5
    assert fit(made, queries, right) in GRID


def test_the_search_that_it_becomes() -> None:
    made = template_of(bm25("plot"), endpoint="mine", field="plot", window=50, weight=0.3)
    (first, reranked) = made["retriever"]["linear"]["retrievers"]
    assert (first["weight"], reranked["weight"]) == (0.3, 0.7)
    assert first["normalizer"] == reranked["normalizer"] == "minmax"
    assert reranked["retriever"]["text_similarity_reranker"]["rank_window_size"] == 50
    alone = template_of(bm25("plot"), endpoint="mine", field="plot", window=50, weight=0)
    assert [*alone["retriever"]] == ["text_similarity_reranker"]
