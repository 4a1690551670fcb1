"""How far two judges agree about documents that both have graded.

Cohen's kappa tells how much of the agreement is more than chance: 1 where they always agree, 0 where they
agree as often as two who grade blindly with the same habits. The weighted forms count a difference of one
grade for less than one of three: in proportion to it (linear), or to its square (quadratic). Cohen, "A
coefficient of agreement for nominal scales" (1960), and "Weighted kappa" (1968).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from rerank_proxy.relevance.judging.acts import Pair

Grades = Mapping[Pair, int]


@dataclass(frozen=True, slots=True)
class Agreement:
    """How two judges have graded the same documents.

    Attributes:
        documents: How many both have graded.
        equal: The share of those with equal grades, from 0 to 1; None without documents.
        kappa, linear, quadratic: Cohen's kappa without weights and with both kinds; None where it is not
            defined: without documents, or if both judges only ever gave one and the same grade.
        relevant: Kappa of grade 0 against all others.
        table: How often the first gave the grade of the row while the second gave that of the column.
    """

    documents: int
    equal: float | None
    kappa: float | None
    linear: float | None
    quadratic: float | None
    relevant: float | None
    table: Sequence[Sequence[int]]


def agreement(first: Grades, second: Grades, highest: int) -> Agreement:
    """Compare two judges by what both have graded.

    Args:
        highest: The highest grade of the scale, whose lowest is 0.
    """
    both = first.keys() & second.keys()
    table = [[0] * (highest + 1) for _ in range(highest + 1)]
    for pair in both:
        table[first[pair]][second[pair]] += 1
    equal = sum(table[grade][grade] for grade in range(highest + 1))
    return Agreement(
        documents=len(both),
        equal=equal / len(both) if both else None,
        kappa=_kappa(table, lambda one, other: float(one != other)),
        linear=_kappa(table, lambda one, other: abs(one - other)),
        quadratic=_kappa(table, lambda one, other: (one - other) ** 2),
        relevant=_kappa(table, lambda one, other: float((one > 0) != (other > 0))),
        table=table,
    )


def _kappa(table: Sequence[Sequence[int]], weight: Callable[[int, int], float]) -> float | None:
    """Return 1 less the ratio of the disagreement that is seen to the one that chance would give."""
    rows = [sum(row) for row in table]
    columns = [sum(column) for column in zip(*table, strict=True)]
    total = sum(rows)
    grades = range(len(table))
    seen = sum(weight(one, other) * table[one][other] for one in grades for other in grades)
    by_chance = sum(weight(one, other) * rows[one] * columns[other] for one in grades for other in grades)
    return 1 - total * seen / by_chance if by_chance else None


def agreements(judged: Mapping[str, Mapping[Pair, int | None]], highest: int) -> list[dict[str, Any]]:
    """Return the agreement of each two judges who have graded the same documents."""
    sure = {
        name: {pair: grade for pair, grade in grades.items() if grade is not None}
        for name, grades in judged.items()
    }
    found = []
    for one, other in combinations(sorted(sure), 2):
        compared = agreement(sure[one], sure[other], highest)
        if compared.documents:
            found.append(
                {
                    "between": [one, other],
                    "documents": compared.documents,
                    "equal": compared.equal,
                    "kappa": compared.kappa,
                    "linear": compared.linear,
                    "quadratic": compared.quadratic,
                    "relevant": compared.relevant,
                    "table": [[*row] for row in compared.table],
                }
            )
    return found


@dataclass(frozen=True, slots=True)
class Conflict:
    """A document that two or more judges see differently.

    Attributes:
        grades: By the judges' names; None from one who was not sure.
    """

    query: str
    document: str
    grades: Mapping[str, int | None]


def conflicts(judged: Mapping[str, Mapping[Pair, int | None]]) -> list[Conflict]:
    """Return the documents with different grades, and those about which a judge was not sure, in the order of
    their ids. What one judge alone has graded is left out.

    Args:
        judged: By the names of the judges: grades, with None where they were not sure.
    """
    found = []
    for query, document in sorted({pair for grades in judged.values() for pair in grades}):
        given = {
            name: grades[query, document] for name, grades in judged.items() if (query, document) in grades
        }
        if len(set(given.values())) > 1 or None in given.values():
            found.append(Conflict(query, document, given))
    return found
