"""Compare the scores of two ways to run a model: how much do their orders of texts differ?"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from rerank_proxy.engine.backends.protocol import Backend
from rerank_proxy.engine.encoding.encode import gathered
from rerank_proxy.engine.encoding.scorers import Scorer
from rerank_proxy.engine.loading.choosing.probes import QUERIES, TEXTS
from rerank_proxy.engine.rows import Batch, Output, Row

MIN_SPEARMAN: Final = 0.99
MIN_OVERLAP: Final = 0.95
_BEST: Final = 10
_BATCH_TOKENS: Final = 2048

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Parity:
    """How far two orders agree, as means over the queries."""

    spearman: float
    """Correlation of the ranks of all texts: 1 for the same order."""
    overlap: float
    """The part of the best ten texts that is among the other's best ten."""

    @property
    def is_enough(self) -> bool:
        """Return whether one may stand in for the other."""
        return self.spearman >= MIN_SPEARMAN and self.overlap >= MIN_OVERLAP

    def __str__(self) -> str:
        return f"Spearman {self.spearman:.4f}, top-10 overlap {self.overlap:.3f}"


def probe_rows(scorer: Scorer) -> list[list[Row]]:
    """Return the rows of each query with all texts."""
    return [gathered(scorer.encode(query, TEXTS, range(scorer.texts_at + len(TEXTS)))) for query in QUERIES]


def probe_scores(scorer: Scorer, backend: Backend, rows: Sequence[Sequence[Row]]) -> list[Floats]:
    """Return the scores of each query."""
    return [np.array(scorer.scores([Output(each, False) for each in run(backend, some)])) for some in rows]


def run(backend: Backend, rows: Sequence[Row]) -> list[NDArray[np.float32]]:
    """Run rows in batches of similar length, and return their outputs in the order of the rows."""
    order = sorted(range(len(rows)), key=lambda at: len(rows[at]))
    outputs = [backend.score(Batch.of([rows[at] for at in some])) for some in _batches(order, rows)]
    values = (row for output in outputs for row in output)
    return [row for _, row in sorted(zip(order, values, strict=True), key=lambda placed: placed[0])]


def compare(expected: Sequence[Floats], actual: Sequence[Floats]) -> Parity:
    """Compare the scores of each query, shape (texts,)."""
    pairs = list(zip(expected, actual, strict=True))
    return Parity(
        float(np.mean([spearman(*pair) for pair in pairs])),
        float(np.mean([overlap(*pair) for pair in pairs])),
    )


def spearman(expected: Floats, actual: Floats) -> float:
    """Return the correlation of two lists' ranks; -1 where one has numbers that are not finite.

    Equal numbers share a rank. Lists of one number each are of the same order.
    """
    if not np.isfinite(expected).all() or not np.isfinite(actual).all():
        return -1.0
    first, second = _ranks(expected), _ranks(actual)
    first, second = first - first.mean(), second - second.mean()
    norm = float(np.sqrt((first**2).sum() * (second**2).sum()))
    if norm == 0:
        return float(np.array_equal(first, second))
    return float((first * second).sum() / norm)


def overlap(expected: Floats, actual: Floats) -> float:
    """Return the part of the highest ten that both have in common."""
    best = [set(np.argsort(-values, kind="stable")[:_BEST].tolist()) for values in (expected, actual)]
    return len(best[0] & best[1]) / len(best[0])


def _ranks(values: Floats) -> Floats:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks: Floats = (np.cumsum(counts) - (counts - 1) / 2)[inverse]
    return ranks


def _batches(order: Sequence[int], rows: Sequence[Row]) -> Iterator[list[int]]:
    batch: list[int] = []
    for at in order:
        if batch and (len(batch) + 1) * len(rows[at]) > _BATCH_TOKENS:
            yield batch
            batch = []
        batch.append(at)
    if batch:
        yield batch
