"""The queries whose results a system changed most, with the hits before and after."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import zip_longest
from typing import Final

from rerank_proxy.relevance.evaluation.results import Result, Results
from rerank_proxy.relevance.evaluation.running import Evaluation
from rerank_proxy.relevance.numbers import number, signed

MOST: Final = 10
_HITS: Final = 10
_SYSTEMS: Final = 4


@dataclass(frozen=True, slots=True)
class GradedHit:
    """A hit, and its grade; None if it has no judgment."""

    id: str
    grade: int | None


@dataclass(frozen=True, slots=True)
class ChangedQuery:
    """A query, what the first measure gives for it before and after, and the hits."""

    text: str
    before: str
    after: str
    difference: str
    hits: Sequence[tuple[int, GradedHit | None, GradedHit | None]]


@dataclass(frozen=True, slots=True)
class Half:
    """The queries that were improved, or harmed.

    Attributes:
        sign: `better` or `worse`.
    """

    title: str
    sign: str
    queries: Sequence[ChangedQuery]


@dataclass(frozen=True, slots=True)
class Changed:
    """What a system changed."""

    name: str
    halves: Sequence[Half]


def changed_by(evaluation: Evaluation) -> list[Changed]:
    """Return what the best system of each group changed, of up to four groups."""
    results = evaluation.results
    best: dict[str, Result] = {}
    for each in results.others:
        known = best.setdefault(each.system.group, each)
        if each.means[results.first] > known.means[results.first]:
            best[each.system.group] = each
    return [_changed(evaluation, each) for each in list(best.values())[:_SYSTEMS]]


def differences_of(results: Results, shown: Result) -> dict[str, float]:
    """Return what a system has more than the baseline for each query, by the first measure."""
    base = results.baseline.values[results.first]
    made = {query: value - base[query] for query, value in shown.values[results.first].items()}
    return {query: 0.0 if abs(value) < 1e-9 else value for query, value in made.items()}


def _changed(evaluation: Evaluation, shown: Result) -> Changed:
    values = differences_of(evaluation.results, shown)
    order = sorted(values, key=values.__getitem__)
    improved = [name for name in reversed(order) if values[name] > 0][:MOST]
    harmed = [name for name in order if values[name] < 0][:MOST]
    halves = [
        Half(title, sign, [_query(evaluation, shown, name, values[name]) for name in names])
        for title, sign, names in (("Improved", "better", improved), ("Harmed", "worse", harmed))
        if names
    ]
    return Changed(shown.system.name, halves)


def _query(evaluation: Evaluation, shown: Result, name: str, difference: float) -> ChangedQuery:
    results, pair = evaluation.results, evaluation.material.paired
    grades = pair.judgments[name]
    lists = [
        [GradedHit(hit.id, grades.get(hit.id)) for hit in each.hits(name)[:_HITS]]
        for each in (results.baseline, shown)
    ]
    return ChangedQuery(
        pair.queries[name].text,
        number(results.baseline.values[results.first][name]),
        number(shown.values[results.first][name]),
        signed(difference),
        [(place, left, right) for place, (left, right) in enumerate(zip_longest(*lists), 1)],
    )
