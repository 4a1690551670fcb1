"""Quality over the size of the window: where more of it stops to help, and what it costs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from rerank_proxy.relevance.evaluation.results import Result, Results

SHARE: Final = 0.9
"""The part of the largest gain that the cheapest window has to give."""


@dataclass(frozen=True, slots=True)
class Curve:
    """The systems that differ in the window alone, from the smallest to the largest.

    Attributes:
        group: Their name without the window.
        cheapest: The one with the smallest window that gives 90 % of the largest gain; None if none of them
            is better than the baseline.
        best: The one with the largest mean.
    """

    group: str
    points: Sequence[Result]
    cheapest: Result | None
    best: Result


def curves_of(results: Results) -> list[Curve]:
    """Return a curve for each group that has several windows."""
    groups: dict[str, list[Result]] = {}
    for each in results.all if results.baseline.has_figures else ():
        if each.has_figures and each.system.window is not None:
            groups.setdefault(each.system.group, []).append(each)
    return [_curve(name, found, results) for name, found in groups.items() if len(found) > 1]


def _curve(group: str, found: list[Result], results: Results) -> Curve:
    points = sorted(found, key=lambda each: each.system.window or 0)
    measure = results.first
    base = results.baseline.means.get(measure, math.nan)
    gains = [each.means[measure] - base for each in points]
    largest = max(gains)
    cheapest = None
    if largest > 0:
        cheapest = next(
            each for each, gain in zip(points, gains, strict=True) if gain >= SHARE * largest - 1e-12
        )
    return Curve(group, points, cheapest, points[gains.index(largest)])
