"""Whether a difference between two systems is more than chance.

Both systems answer the same queries, so what is tested is the difference for each query. The tests assume
nothing of how differences are distributed. They are deterministic: the same differences give the same
numbers, with the same seed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

SEED: Final = 20_010_917
ROUNDS: Final = 10_000
CONFIDENCE: Final = 0.95
FEWEST: Final = 6
"""Differences that an interval takes. The whole span of 5 holds the middle of all in 94 of 100 cases, and of
fewer less often; nor can a test tell so few from chance, since even 5 that agree have p 0.06."""
_EXACT: Final = 13
"""Up to so many differences that are not 0, all changes of signs are tried in place of random ones."""
_BLOCK: Final = 1 << 22
"""The most random numbers that are drawn at once."""


@dataclass(frozen=True, slots=True)
class Comparison:
    """A system beside the baseline, over the queries that both have answered.

    Attributes:
        queries: How many.
        difference: The mean of the system's values minus that of the baseline's.
        low, high: The interval that holds the true mean difference with a confidence of 95 %; NaN for fewer
            than `FEWEST` queries.
        p: The chance of a mean difference as large as this or larger, in either direction, if the systems
            were alike.
        adjusted: p after the correction for the number of systems compared.
        wins, losses, ties: The number of queries for which the system is better, worse, or equal.
    """

    queries: int
    difference: float
    low: float
    high: float
    p: float
    adjusted: float
    wins: int
    losses: int
    ties: int

    @property
    def significant(self) -> bool:
        """True if chance alone would seldom give such a difference: in fewer than 5 of 100 evaluations."""
        return self.adjusted < 1 - CONFIDENCE


def compare(
    pairs: Sequence[Sequence[tuple[float, float]]], *, seed: int = SEED, rounds: int = ROUNDS
) -> list[Comparison]:
    """Compare systems with a baseline, and correct for their number.

    Args:
        pairs: For each system the values of its queries: the baseline's, and its own.
    """
    differences = [np.array([own - base for base, own in each], dtype=np.float64) for each in pairs]
    ps = [randomisation_p(each, seed=seed, rounds=rounds) for each in differences]
    return [
        _comparison(each, p, adjusted, bootstrap_interval(each, seed=seed, rounds=rounds))
        for each, p, adjusted in zip(differences, ps, holm(ps), strict=True)
    ]


def _comparison(
    differences: np.ndarray, p: float, adjusted: float, interval: tuple[float, float]
) -> Comparison:
    clean = _without_noise(differences)
    return Comparison(
        queries=len(clean),
        difference=float(clean.mean()) if len(clean) else float("nan"),
        low=interval[0],
        high=interval[1],
        p=p,
        adjusted=adjusted,
        wins=int((clean > 0).sum()),
        losses=int((clean < 0).sum()),
        ties=int((clean == 0).sum()),
    )


def randomisation_p(
    differences: Sequence[float] | np.ndarray, *, seed: int = SEED, rounds: int = ROUNDS
) -> float:
    """Return the p-value of the paired randomisation test (Fisher's), in both directions.

    If the systems were alike, each difference could as well have the other sign. Few differences are tried
    with all signs; for more, random signs are drawn, and the observed ones count among them.
    """
    moved = _without_noise(np.asarray(differences, dtype=np.float64))
    moved = moved[moved != 0]
    if not len(moved):
        return 1.0
    observed = abs(moved.sum()) * (1 - 1e-12)
    if len(moved) <= _EXACT:
        choices = (np.arange(2 ** len(moved))[:, None] >> np.arange(len(moved))) & 1
        return float(np.mean(np.abs((choices * 2.0 - 1) @ moved) >= observed))
    generator = np.random.default_rng(seed)
    as_large, left = 0, rounds
    while left > 0:
        block = min(left, max(1, _BLOCK // len(moved)))
        signs = generator.integers(0, 2, size=(block, len(moved)), dtype=np.int8) * 2.0 - 1
        as_large += int((np.abs(signs @ moved) >= observed).sum())
        left -= block
    return (1 + as_large) / (1 + rounds)


def bootstrap_interval(
    differences: Sequence[float] | np.ndarray,
    *,
    confidence: float = CONFIDENCE,
    seed: int = SEED,
    rounds: int = ROUNDS,
) -> tuple[float, float]:
    """Return the percentile bootstrap interval of the mean: NaN for fewer than `FEWEST` differences."""
    found = np.asarray(differences, dtype=np.float64)
    if len(found) < FEWEST:
        return float("nan"), float("nan")
    generator = np.random.default_rng(seed)
    means = np.empty(rounds)
    block = max(1, _BLOCK // len(found))
    for start in range(0, rounds, block):
        size = min(block, rounds - start)
        means[start : start + size] = found[generator.integers(0, len(found), (size, len(found)))].mean(
            axis=1
        )
    tail = (1 - confidence) / 2
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def holm(ps: Sequence[float]) -> list[float]:
    """Return p-values corrected for their number (Holm 1979): the chance of even one false alarm stays."""
    adjusted = [0.0] * len(ps)
    highest = 0.0
    for place, at in enumerate(sorted(range(len(ps)), key=lambda at: ps[at])):
        highest = max(highest, min(1.0, ps[at] * (len(ps) - place)))
        adjusted[at] = highest
    return adjusted


def _without_noise(differences: np.ndarray) -> np.ndarray:
    """Return differences with 0 for those that are only rounding."""
    return np.where(np.abs(differences) < 1e-9, 0.0, differences)
