"""One grade for each document, from what several judges said of it.

What was decided between judges comes first, then persons, then endpoints. Where persons differ and nothing
was decided, the chosen rule says what becomes of the document; without one it stays unjudged, which is not
grade 0: measures count unjudged documents as not relevant, and can also leave them out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from rerank_proxy.relevance.judging.acts import Pair
from rerank_proxy.relevance.judging.workspace import ENDPOINT, RESOLVED

Rule = Literal["leave-out", "lower", "higher"]


@dataclass(frozen=True, slots=True)
class Settled:
    """What the judgments come to.

    Attributes:
        grades: By the ids of query and document.
        sources: Whose grade each is: the name of a person, `resolved`, several names with `+` between them,
            or an endpoint's with `endpoint:` before it.
        open: How many documents persons grade differently, without a decision.
        unsure: How many have no grade because those who read them were not sure.
    """

    grades: Mapping[Pair, int]
    sources: Mapping[Pair, str]
    open: int
    unsure: int


def settle(
    persons: Mapping[str, Mapping[Pair, int | None]],
    resolved: Mapping[Pair, int | None],
    endpoints: Mapping[str, Mapping[Pair, int]],
    rule: Rule = "leave-out",
) -> Settled:
    """Bring judgments together.

    Args:
        persons: Grades by the judges' names; None where they were not sure.
        resolved: What was decided; None where those who decided were not sure either.
        endpoints: By their names; the first that has a grade counts.
    """
    grades: dict[Pair, int] = {}
    sources: dict[Pair, str] = {}
    left = unsure = 0
    read = _pairs(persons.values()) | resolved.keys()
    for pair in sorted(read):
        given = {RESOLVED: resolved} if pair in resolved else persons
        sure = {name: grade for name, graded in given.items() if (grade := graded.get(pair)) is not None}
        differ = len({*sure.values()}) > 1
        unsure += not sure
        left += differ
        if sure and (rule != "leave-out" or not differ):
            grade = min(sure.values()) if rule == "lower" else max(sure.values())
            grades[pair] = grade
            sources[pair] = "+".join(name for name, each in sure.items() if each == grade)
    for name, graded in endpoints.items():
        for pair, grade in graded.items():
            if pair not in read and pair not in grades:
                grades[pair], sources[pair] = grade, f"{ENDPOINT}{name}"
    return Settled(grades, sources, left, unsure)


def _pairs(graded: Iterable[Mapping[Pair, object]]) -> set[Pair]:
    return {pair for each in graded for pair in each}
