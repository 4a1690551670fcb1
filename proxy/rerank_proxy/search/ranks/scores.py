"""Normalise raw scores, and score hits that keep their order."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

Float32s = npt.NDArray[np.float32]

MIN_VALUE: Final = float(np.float32(1e-45))
"""Java's ``Float.MIN_VALUE``, to which Elasticsearch raises a ranked document's score of zero."""


def normalize(raw: Sequence[float]) -> Float32s:
    """Return ``max(x, 0) + min(exp(x), 1)`` in float32: no score is negative, and the order is kept.

    (``TextSimilarityRankFeaturePhaseRankCoordinatorContext``.) The exponential is computed in double
    precision and cast, and may underflow to zero.
    """
    x = np.asarray(raw, dtype=np.float32)
    exponential = np.exp(np.minimum(x, np.float32(0)).astype(np.float64)).astype(np.float32)
    scores: Float32s = np.maximum(x, np.float32(0)) + np.minimum(exponential, np.float32(1))
    return scores


def reciprocal_ranks(count: int) -> Float32s:
    """Return 1, 1/2, 1/3 … in float32: the scores of hits that keep their order because reranking failed."""
    ranks: Float32s = np.float32(1) / np.arange(1, count + 1, dtype=np.float32)
    return ranks
