"""Scores: the normaliser, and float32 numbers as Elasticsearch prints them."""

from collections.abc import Sequence
from typing import Final

import numpy as np
import numpy.typing as npt

Float32s = npt.NDArray[np.float32]

MIN_VALUE: Final = float(np.float32(1e-45))
"""Java's ``Float.MIN_VALUE``: what Elasticsearch lifts a ranked document's zero score to."""


def normalize(raw: Sequence[float]) -> Float32s:
    """``max(x, 0) + min(exp(x), 1)`` in float32, so that no score is negative and the order is kept.

    The rule of ``TextSimilarityRankFeaturePhaseRankCoordinatorContext``: the exponential is taken in double
    precision and cast. A score that underflows to zero is lifted to `MIN_VALUE`, as ``RankDocsQuery`` does.
    """
    x = np.asarray(raw, dtype=np.float32)
    exponential = np.exp(np.minimum(x, np.float32(0)).astype(np.float64)).astype(np.float32)
    scores: Float32s = np.maximum(x, np.float32(0)) + np.minimum(exponential, np.float32(1))
    return np.maximum(scores, np.float32(MIN_VALUE))


def reciprocal_ranks(count: int) -> Float32s:
    """1, 1/2, 1/3 … in float32: the scores of hits that keep their order because reranking failed."""
    ranks: Float32s = np.float32(1) / np.arange(1, count + 1, dtype=np.float32)
    return ranks


def print_float(value: float) -> bytes:
    """A float32 as Java's ``Float.toString`` gives it, which is how `_score` looks: `1.0`, `0.13353139`,
    `1.7014122E38`.
    """
    number = np.float32(value)
    if 1e-3 <= value < 1e5:
        return str(number).encode()  # NumPy's spelling is Java's here, and quick
    mantissa, exponent = _shortest(number)
    negative = mantissa.startswith("-")
    digits = mantissa.lstrip("-").replace(".", "")
    if value == 0:
        text = "0.0"
    elif -3 <= exponent < 7:
        text = _plain(digits, exponent)
    else:
        text = f"{digits[0]}.{digits[1:] or '0'}E{exponent}"
    return ("-" + text if negative else text).encode()


def _shortest(value: np.float32) -> tuple[str, int]:
    """Fewest digits that read back as the same float32; of one digit, Java prefers two that are nearer."""
    mantissa, exponent = np.format_float_scientific(value, unique=True, trim="-").split("e")
    if len(mantissa.lstrip("-")) == 1:
        nearer = f"{float(value):.1e}"
        if np.float32(nearer) == value:
            mantissa, exponent = nearer.split("e")
            mantissa = mantissa.removesuffix(".0")
    return mantissa, int(exponent)


def _plain(digits: str, exponent: int) -> str:
    if exponent < 0:
        return "0." + "0" * (-exponent - 1) + digits
    whole = digits[: exponent + 1].ljust(exponent + 1, "0")
    return f"{whole}.{digits[exponent + 1 :] or '0'}"
