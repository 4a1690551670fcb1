"""Judgments made of clicks, with a correction for where a document stood.

Users see the first hits more often than those below, so that a click further down says more. With inverse
propensity weighting each click counts 1/p(k), where p(k) is the chance that position k was looked at. It is
taken to fall as a power of the position, p(k) = (1/k)^eta: eta 1 is a common value, 0 corrects nothing.
(Joachims, Swaminathan, Schnabel, "Unbiased Learning-to-Rank with Biased Feedback", WSDM 2017.)

What clicks cannot tell: whether a document that was never shown is good, whether a click was regretted, and
whether the true chances are those of this formula.
"""

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from rerank_proxy.relevance.judgments import Query


@dataclass(frozen=True, slots=True)
class Click:
    """What users did with a document that a query showed them.

    Attributes:
        query: Its text.
        position: Where the document stood, from 1.
        impressions: How often it was shown there; None if that was not counted.
        clicks: How often it was clicked of those times.
    """

    query: str
    document: str
    position: int
    impressions: int | None
    clicks: int


@dataclass(frozen=True, slots=True)
class Clicked:
    """Judgments that were made of clicks.

    Attributes:
        queries: By their ids, which are numbers from 1, in the order in which they are first met.
        judgments: Of all documents that were shown.
        clicks: How many clicks they are made of.
        dropped: How many pairs of query and document have clicks, but too few to tell.
        shown: Whether it is known how often documents were shown.
    """

    queries: dict[str, Query]
    judgments: dict[str, dict[str, int]]
    clicks: int
    dropped: int
    shown: bool = True


@dataclass(frozen=True, slots=True)
class ClickModel:
    """How clicks become grades.

    Attributes:
        eta: The power by which attention falls with the position; 0 corrects nothing.
        max_weight: The most that one click counts, so that a chance click far down does not outweigh all.
        min_clicks: A pair with fewer clicks has the grade 0.
        grades: The grade of the best document of a query; others have what part of it they are worth.
    """

    eta: float = 1.0
    max_weight: float = 10.0
    min_clicks: int = 1
    grades: int = 3

    def weight(self, position: int) -> float:
        """Return what a click at a position counts."""
        return min(math.pow(position, self.eta), self.max_weight)


def judgments_of(clicks: Iterable[Click], model: ClickModel) -> Clicked:
    """Make judgments: a document is worth its weighted clicks for each time that it was shown.

    The best document of a query gets the highest grade, and others the share of it that they are worth,
    rounded up. What was shown and not clicked has the grade 0.

    Where nothing was shown without a click, or it was not counted, the clicks are all that was recorded. The
    documents of a query are then taken to have been shown equally often, since a click for each time would
    make every document equally good, and the position alone would give the grade.
    """
    given = list(clicks)
    known = all(each.impressions is not None for each in given) and any(
        each.impressions != each.clicks for each in given
    )
    queries: dict[str, str] = {}
    shown: dict[tuple[str, str], list[float]] = defaultdict(lambda: [0, 0, 0.0])
    for each in given:
        query = queries.setdefault(each.query, str(len(queries) + 1))
        sums = shown[query, each.document]
        sums[0] += each.impressions or 0
        sums[1] += each.clicks
        sums[2] += each.clicks * model.weight(each.position)
    worth: dict[str, dict[str, float]] = defaultdict(dict)
    dropped = 0
    for (query, document), (impressions, count, weighted) in shown.items():
        enough = count >= model.min_clicks
        dropped += not enough and count > 0
        worth[query][document] = weighted / (impressions if known else 1) if enough else 0.0
    graded = {query: _graded(values, model.grades) for query, values in worth.items()}
    made = {name: Query(name, text) for text, name in queries.items()}
    return Clicked(made, graded, int(sum(sums[1] for sums in shown.values())), dropped, known)


def _graded(worth: Mapping[str, float], highest: int) -> dict[str, int]:
    best = max(worth.values())
    if best <= 0:
        return dict.fromkeys(worth, 0)
    return {name: _grade(value * highest / best) for name, value in worth.items()}


def _grade(value: float) -> int:
    """Round up, but not what is above a whole number by rounding alone."""
    return max(1, math.ceil(round(value, 9))) if value > 0 else 0
