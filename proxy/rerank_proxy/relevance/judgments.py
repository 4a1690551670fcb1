"""What is compared: queries, judgments, and the hits of a system."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple

Judgments = Mapping[str, Mapping[str, int]]
"""Grades, by the id of the query and the id of the document. A grade above 0 is a document that answers the
query, the better the higher; 0 and below is one that does not. What is not judged counts as 0."""

MAX_GRADE: Final = 1000
"""The highest grade; its negative is the lowest. Programs for measures make tables of that length."""


@dataclass(frozen=True, slots=True)
class Query:
    """A query, by its id among the queries of an evaluation."""

    id: str
    text: str


class Hit(NamedTuple):
    """A document that was found, and the score that it was ranked by."""

    id: str
    score: float


Ranked = Sequence[Hit]
"""Hits, best first. The order counts, not the scores: those may be equal."""
Run = Mapping[str, Ranked]
"""What a system found, by the id of the query."""


@dataclass(frozen=True, slots=True)
class Paired:
    """Queries and judgments that belong together, and what had to be left out.

    Attributes:
        queries: Those with at least one document graded above 0, in the order of their file.
        judgments: Theirs.
        unjudged: Ids of queries without judgments.
        without_query: Ids in the judgments that no query has.
        without_relevant: Ids of queries whose judgments are all 0 or less: every system gets 0 for them.
    """

    queries: Mapping[str, Query]
    judgments: Judgments
    unjudged: Sequence[str]
    without_query: Sequence[str]
    without_relevant: Sequence[str]


def paired(queries: Mapping[str, Query], judgments: Judgments) -> Paired:
    """Put queries and their judgments together."""
    relevant = {name for name, grades in judgments.items() if any(grade > 0 for grade in grades.values())}
    kept = {name: query for name, query in queries.items() if name in relevant}
    return Paired(
        kept,
        {name: judgments[name] for name in kept},
        [name for name in queries if name not in judgments],
        [name for name in judgments if name not in queries],
        [name for name in queries if name in judgments and name not in relevant],
    )


def judged_documents(judgments: Judgments) -> set[str]:
    """Return the ids of all documents that have a judgment."""
    return {document for grades in judgments.values() for document in grades}


def count_of(judgments: Judgments) -> int:
    """Return the number of pairs of query and document that are judged."""
    return sum(map(len, judgments.values()))


def ranked(ids: Iterable[str]) -> list[Hit]:
    """Return hits in the order of their ids, with scores that fall by one."""
    names = list(ids)
    return [Hit(name, float(len(names) - place)) for place, name in enumerate(names)]
