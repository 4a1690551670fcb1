"""One grade for each document, from what several judges said of it.

What was decided between judges comes first, then persons, then endpoints. Where persons differ and nothing
was decided, the chosen rule says what becomes of the document; without one it stays unjudged, which is not
grade 0: measures count unjudged documents as not relevant, and can also leave them out.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal

from rerank_proxy.relevance.judging.workspace import RESOLVED

Pair = tuple[str, str]
Rule = Literal["leave-out", "lower", "higher"]

RULES: Final[tuple[Rule, ...]] = ("leave-out", "lower", "higher")


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
    for pair in sorted(_pairs(persons.values()) | resolved.keys()):
        if pair in resolved:
            decided = resolved[pair]
            if decided is None:
                unsure += 1
            else:
                grades[pair], sources[pair] = decided, RESOLVED
            continue
        given = {name: grade for name, graded in persons.items() if (grade := graded.get(pair)) is not None}
        values = {*given.values()}
        if len(values) > 1:
            left += 1
        if not values:
            unsure += 1
        elif len(values) == 1 or rule != "leave-out":
            grades[pair] = min(values) if rule == "lower" else max(values)
            sources[pair] = "+".join(name for name, grade in given.items() if grade == grades[pair])
    seen = _pairs(persons.values()) | resolved.keys()
    for name, graded in endpoints.items():
        for pair, grade in graded.items():
            if pair not in seen and pair not in grades:
                grades[pair], sources[pair] = grade, f"endpoint:{name}"
    return Settled(grades, sources, left, unsure)


def _pairs(graded: Iterable[Mapping[Pair, object]]) -> set[Pair]:
    return {pair for each in graded for pair in each}
