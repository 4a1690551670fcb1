"""The weights of a fusion of two scores, the first stage's and a model's, as the `linear` retriever has it.

Natively each list is scaled to 0 … 1 within its window (`minmax`) and the two are added with their weights.
Here it is done likewise, in double precision, to find the weights; a test compares the two.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np

from rerank_proxy.relevance.judgments import Ranked
from rerank_proxy.relevance.measures import means, values
from rerank_proxy.relevance.templates import Template, reranked
from rerank_proxy.relevance.training.material import Material, reordered

MEASURE: Final = "nDCG@10"
GRID: Final = tuple(round(step * 0.05, 2) for step in range(21))
"""Weights of the first stage that are tried; the model's is what is missing to 1."""
_EPSILON: Final = 1e-6


def native(scores: Sequence[float]) -> np.ndarray:
    """Return scores as hits of a reranker have them: max(x, 0) + min(exp(x), 1)."""
    raw = np.asarray(scores, dtype=np.float64)
    return np.maximum(raw, 0) + np.exp(np.minimum(raw, 0))


def minmax(scores: np.ndarray) -> np.ndarray:
    """Scale scores to 0 … 1; all are 1 if they are equal."""
    if not len(scores):
        return scores
    span = scores.max() - scores.min()
    return np.ones_like(scores) if span < _EPSILON else (scores - scores.min()) / span


def fused(first: Ranked, model: Mapping[str, float], weight: float) -> Ranked:
    """Rank the documents of a window by both scores.

    Args:
        first: The window. Documents without a score of the model are left out, as those without a text.
        model: Raw scores.
        weight: Of the first stage, from 0 to 1.
    """
    hits = [hit for hit in first if hit.id in model]
    of_first = minmax(np.array([hit.score for hit in hits], dtype=np.float64))
    of_model = minmax(native([model[hit.id] for hit in hits]))
    scores = weight * of_first + (1 - weight) * of_model
    names = [hit.id for hit in hits]
    return reordered(names, dict(zip(names, scores.tolist(), strict=True)))


def fit(material: Material, queries: Sequence[str], model: Mapping[str, Mapping[str, float]]) -> float:
    """Return the weight of the first stage that ranks the given queries best.

    The measure is a rough function of the weight, most of whose peaks are chance. So the mean of each weight
    and its neighbours decides, and of equal ones the smallest.

    Args:
        model: Scores by query and document, of a model that was not trained with these queries.
    """
    reached = []
    for weight in GRID:
        run = {query: fused(material.first[query], model[query], weight) for query in queries}
        judgments = {query: material.judgments[query] for query in queries}
        reached.append(means(values(judgments, run, [MEASURE]))[MEASURE])
    padded = [reached[0], *reached, reached[-1]]
    smooth = [sum(padded[place : place + 3]) / 3 for place in range(len(GRID))]
    return GRID[int(np.argmax(np.round(smooth, 6)))]


def template_of(first: Template, *, endpoint: str, field: str, window: int, weight: float) -> dict[str, Any]:
    """Return the body of a search that ranks so, with `{{query}}` in it, for any query.

    A weight of 0 takes a reranker alone.
    """
    above = reranked(first, "trained", endpoint=endpoint, field=field, window=window).body
    if weight == 0:
        return {**above}
    both = ((first.body["retriever"], weight), (above["retriever"], round(1 - weight, 2)))
    parts = [{"retriever": each, "weight": share, "normalizer": "minmax"} for each, share in both]
    return {**first.body, "retriever": {"linear": {"retrievers": parts, "rank_window_size": window}}}
