"""The similarity of weights is that of the vectors which they stand for."""

from collections.abc import Sequence
from typing import Any, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.concurrency.steps import run_at_once
from rerank_proxy.engine.encoding import sparse
from rerank_proxy.engine.encoding.scorers import Similarity
from rerank_proxy.engine.encoding.windows import stacked
from rerank_proxy.engine.rows import Output
from tests.support.examples import examples

TERMS = 12

Weights = dict[int, float]

weights = st.dictionaries(st.integers(0, TERMS - 1), st.floats(0.125, 4, width=32), max_size=TERMS)


def pairs(given: Weights) -> Any:
    return np.array([*given.items()], np.float32).reshape(-1, 2)


def vector(given: Weights) -> Any:
    return np.array([given.get(term, 0.0) for term in range(TERMS)])


def expected(similarity: Similarity, query: Any, text: Any) -> float:
    match similarity:
        case "dot":
            return float(query @ text)
        case "cosine":
            lengths = np.linalg.norm(query) * np.linalg.norm(text)
            return float(query @ text / lengths) if lengths else 0.0
        case "euclidean":
            return -float(np.linalg.norm(query - text))
        case "manhattan":
            return -float(np.abs(query - text).sum())


def scorer(similarity: Similarity) -> sparse.SparseEncoder:
    inputs: Any = None  # Encodes; that is not done here.
    return sparse.SparseEncoder(inputs, similarity, "mean")


def scores(similarity: Similarity, query: Weights, texts: Sequence[Any]) -> list[float]:
    made = scorer(similarity).scores([Output(values, False) for values in (pairs(query), *texts)])
    return made if isinstance(made, list) else run_at_once(made)


@pytest.mark.parametrize("similarity", get_args(Similarity))
@examples(1)
@given(query=weights, texts=st.lists(weights, max_size=4))
def test_every_similarity(similarity: Similarity, query: Weights, texts: list[Weights]) -> None:
    of_texts = [expected(similarity, vector(query), vector(text)) for text in texts]
    np.testing.assert_allclose(
        scores(similarity, query, [pairs(text) for text in texts]), of_texts, rtol=1e-6, atol=1e-6
    )


@pytest.mark.parametrize("similarity", get_args(Similarity))
@examples(1)
@given(query=weights, windows=st.lists(weights, min_size=1, max_size=4))
def test_windows_of_different_lengths(similarity: Similarity, query: Weights, windows: list[Weights]) -> None:
    each = [expected(similarity, vector(query), vector(window)) for window in windows]
    (whole,) = scores(similarity, query, [stacked([pairs(window) for window in windows])])
    assert whole == pytest.approx(np.mean(each), rel=1e-5, abs=1e-5)


@examples(1)
@given(query=weights, texts=st.lists(weights, min_size=1, max_size=8))
def test_what_takes_long_is_done_in_steps(query: Weights, texts: list[Weights]) -> None:
    at_once = scores("dot", query, [pairs(text) for text in texts])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sparse, "_TERMS_OF_A_STEP", 2)
        assert scores("dot", query, [pairs(text) for text in texts]) == at_once
