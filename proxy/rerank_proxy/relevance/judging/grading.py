"""From the scores of an endpoint to grades.

A reranker's scores have no scale of their own: what 3.1 means depends on the model. Two ways are offered. By
thresholds, which are stated: a text gets the highest grade whose threshold its score reaches. By shares of
all scored texts: "the best 5 % get 3". Those need no knowledge of the model, and say nothing about how many
documents are relevant: that was put in.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from rerank_proxy.relevance.judging.acts import Pair

Way = Literal["thresholds", "quantiles"]


class InvalidGradingError(ValueError):
    """Thresholds or quantiles that cannot be used. The message says why."""


class Grading(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How scores become grades.

    Attributes:
        way: What the numbers of `bounds` are.
        bounds: One for each grade from 1 up, ascending: the least score that gets it, or the share of all
            scored texts that are below it, from 0 to 1.
    """

    way: Way
    bounds: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.bounds:
            raise InvalidGradingError("there are no bounds: give one for each grade from 1 up")
        if not all(map(math.isfinite, self.bounds)):
            raise InvalidGradingError("a bound is not a finite number")
        if any(low >= high for low, high in zip(self.bounds, self.bounds[1:], strict=False)):
            raise InvalidGradingError(f"the bounds {_shown(self.bounds)} do not ascend")
        if self.way == "quantiles" and not all(0 <= bound <= 1 for bound in self.bounds):
            raise InvalidGradingError(f"the quantiles {_shown(self.bounds)} are not all between 0 and 1")

    def grades(self, scores: Mapping[Pair, float]) -> dict[Pair, int]:
        """Return a grade for each score."""
        bounds = self.bounds if self.way == "thresholds" else quantiles([*scores.values()], self.bounds)
        return {pair: sum(score >= bound for bound in bounds) for pair, score in scores.items()}


def chat_thresholds(highest: int) -> tuple[float, ...]:
    """Return the thresholds for an endpoint that answers with the grade itself: the nearest one counts."""
    return tuple(grade + 0.5 for grade in range(highest))


def quantiles(scores: Sequence[float], shares: Sequence[float]) -> list[float]:
    """Return for each share the least of the scores that has at least that share of all others below it or
    equal to it in order: with 100 scores, 0.95 gives the 96th smallest. Above all scores: infinity.
    """
    ordered = sorted(scores)
    places = [math.ceil(round(share * len(ordered), 9)) for share in shares]
    return [ordered[place] if place < len(ordered) else math.inf for place in places]


def _shown(bounds: Sequence[float]) -> str:
    return ", ".join(f"{bound:g}" for bound in bounds)
