"""What judges do: the lines of a judge's file, in the order of judging. The last line about a document
counts.
"""

from collections.abc import Iterable
from datetime import UTC, datetime

import msgspec

Pair = tuple[str, str]
"""The ids of a query and of a document."""


class Act(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """What a judge has said of a document.

    Attributes:
        grade: Of a person; None if the person was not sure, or has taken the grade back.
        unsure: The person has read it and cannot tell.
        score: Of an endpoint; it becomes a grade when it is read.
        by: Who has decided between others' grades; None in a judge's own file.
        at: When, in UTC (ISO 8601).
    """

    query: str
    document: str
    grade: int | None = None
    unsure: bool = False
    score: float | None = None
    by: str | None = None
    at: str = ""

    @property
    def pair(self) -> Pair:
        return self.query, self.document


def now() -> str:
    """Return the time as acts have it."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def grades_of(acts: Iterable[Act]) -> dict[Pair, int | None]:
    """Return what counts in the end, with None where the judge was not sure. What has been taken back is left
    out, and so are scores.
    """
    grades: dict[Pair, int | None] = {}
    for act in acts:
        record(act, grades)
    return grades


def record(act: Act, grades: dict[Pair, int | None]) -> None:
    """Change grades by what a judge says now."""
    if act.grade is None and not act.unsure:
        grades.pop(act.pair, None)
    else:
        grades[act.pair] = None if act.unsure else act.grade


def scored(acts: Iterable[Act]) -> dict[Pair, float]:
    """Return the last score of each document."""
    return {act.pair: act.score for act in acts if act.score is not None}
