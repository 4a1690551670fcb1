"""The arithmetic of `rrf` and `linear`, which fuse several ranked lists into one.

All of it is float32, and sums run in the order of the children: in another order or in double precision the
last digits of a score differ, and with them the order of documents that tie natively.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Final

import numpy as np

from rerank_proxy.search.ranks.ranking import RankDoc, native_order
from rerank_proxy.search.ranks.scores import MIN_VALUE, Float32s

Ranked = Sequence[RankDoc]
Normalizer = Callable[[Float32s], Float32s]

_java_floats = np.errstate(all="ignore")
"""Allows infinity as a result: the squares of the scores of pinned documents are already beyond float32."""

_EPSILON: Final = np.float32(1e-6)
_MAX_VALUE: Final = np.finfo(np.float32).max


def fuse_rrf(
    lists: Sequence[Ranked], weights: Sequence[float], rank_constant: int, window: int
) -> list[RankDoc]:
    """Fuse lists by their reciprocal ranks (``RRFRetrieverBuilder``).

    The score of a document is the sum of ``weight * (1 / (rank_constant + rank))`` over the lists.

    Args:
        lists: One for each child, by descending score; only the first `window` documents of each count.
        weights: One for each child.
        window: The `rank_window_size` of the retriever itself.

    Returns:
        At most `window` documents by descending sum, then shard, then doc; `place` is the rank in this list.
    """
    windows = [docs[:window] for docs in lists]
    return _fused(windows, weights, [_reciprocals(len(docs), rank_constant) for docs in windows], window)


def fuse_linear(
    lists: Sequence[Ranked],
    weights: Sequence[float],
    normalizers: Sequence[str],
    window: int,
    min_score: float | None = None,
) -> list[RankDoc]:
    """Fuse lists by their normalised scores (``LinearRetrieverBuilder``).

    The score of a document is the sum of ``weight * normalised score`` over the lists.

    Args:
        lists, weights, window: As for `fuse_rrf`.
        normalizers: One of `NORMALIZERS` for each child.
        min_score: The least sum of the documents that are kept. It is applied to the window, so that no
            document beyond that moves up.

    Returns:
        The same as `fuse_rrf`.
    """
    windows = [docs[:window] for docs in lists]
    normalized = [normalize_list(docs, name) for docs, name in zip(windows, normalizers, strict=True)]
    scores = [np.where(np.isnan(scores), np.float32(0), scores) for scores in normalized]
    fused = _fused(windows, weights, scores, window)
    if min_score is None:
        return fused
    least = float(np.float32(min_score))
    return [doc for doc in fused if doc.score >= least]


def normalize_list(docs: Ranked, normalizer: str) -> Float32s:
    """Return the normalised scores of a child's whole list, in its order."""
    return NORMALIZERS[normalizer](np.array([doc.score for doc in docs], dtype=np.float32))


@_java_floats
def minmax(scores: Float32s) -> Float32s:
    """Scale scores to 0 for the lowest and 1 for the highest, or 1 for all if these are equal.

    (``MinMaxScoreNormalizer``.) The highest score counts as at least the smallest positive float.
    """
    if np.isnan(scores).all():
        return scores
    lowest = np.fmin.reduce(scores, initial=_MAX_VALUE)
    highest = np.fmax.reduce(scores, initial=np.float32(MIN_VALUE))
    span = highest - lowest
    if span < _EPSILON:
        return np.ones_like(scores)
    normalized: Float32s = (scores - lowest) / span
    return normalized


@_java_floats
def l2_norm(scores: Float32s) -> Float32s:
    """Divide each score by the square root of the sum of squares, unless that is almost zero.

    (``L2ScoreNormalizer``.) Squares are in single precision, their sum and the quotient in double precision.
    """
    present = scores[~np.isnan(scores)]
    # cumsum adds from left to right, as a loop does; sum() adds in pairs.
    norm = np.sqrt(np.cumsum(present * present, dtype=np.float64)[-1:])
    if not norm.size or norm[0] < _EPSILON:
        return scores
    normalized: Float32s = (scores.astype(np.float64) / norm[0]).astype(np.float32)
    return normalized


def _identity(scores: Float32s) -> Float32s:
    return scores


NORMALIZERS: Final[Mapping[str, Normalizer]] = MappingProxyType(
    {"none": _identity, "minmax": minmax, "l2_norm": l2_norm}
)


@_java_floats
def _reciprocals(count: int, rank_constant: int) -> Float32s:
    """Return ``1 / (rank_constant + rank)`` for each rank: infinite or negative for unusual constants, which
    native accepts.
    """
    ranks = np.arange(1, count + 1, dtype=np.int32) + np.int32(rank_constant)
    worths: Float32s = np.float32(1) / ranks.astype(np.float32)
    return worths


@_java_floats
def _fused(
    lists: Sequence[Ranked], weights: Sequence[float], scores: Sequence[Float32s], window: int
) -> list[RankDoc]:
    rows: dict[tuple[str, str, int | None], int] = {}
    docs: list[RankDoc] = []
    places: list[list[int]] = []
    for ranked in lists:
        own = []
        for doc in ranked:
            row = rows.setdefault((doc.index, doc.id, doc.shard_doc), len(docs))
            if row == len(docs):
                docs.append(doc)
            own.append(row)
        places.append(own)
    sums = np.zeros(len(docs), dtype=np.float32)
    for own, weight, worths in zip(places, weights, scores, strict=True):
        np.add.at(sums, own, np.float32(weight) * worths)
    return top((doc.scored(score) for doc, score in zip(docs, sums.tolist(), strict=True)), window)


def top(docs: Iterable[RankDoc], window: int) -> list[RankDoc]:
    """Return the first `window` documents by descending score, then shard, then doc (``RankDoc#compareTo``).

    The `place` of each becomes its rank there.
    """
    return [
        RankDoc(doc.index, doc.id, place, doc.shard_doc, doc.first_score, doc.text, doc.score)
        for place, doc in enumerate(sorted(docs, key=native_order)[:window])
    ]
