"""The results of an evaluation, computed from what the systems answered. Pure: nothing is asked here.

Figures of different systems are of the same queries: those that every system has answered. A system that
has answered too few is left out of that, and gets no figures. A query that failed is never a value of 0.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal

import numpy as np

from rerank_proxy.relevance.client.x_rerank import rerankings
from rerank_proxy.relevance.evaluation.answers import Answer
from rerank_proxy.relevance.evaluation.asking import Asked
from rerank_proxy.relevance.judgments import Paired, Ranked
from rerank_proxy.relevance.measures import means, values
from rerank_proxy.relevance.statistics import Comparison, bootstrap_interval, compare
from rerank_proxy.relevance.systems import System

Unjudged = Literal["wrong", "leave-out"]
"""What becomes of hits without a judgment: they count as if graded 0, or are taken out of the lists."""

ENOUGH: Final = 0.9
"""The share of the queries that a system has to answer to get figures."""
JUDGED: Final = "Judged@10"
"""The share of the first hits that have a judgment: those that have none count as wrong."""


@dataclass(frozen=True, slots=True)
class Times:
    """Milliseconds of several searches: median, and what 95 and 99 of 100 are below."""

    count: int
    p50: float
    p95: float
    p99: float


@dataclass(frozen=True, slots=True)
class Latency:
    """How long searches took.

    Attributes:
        client: As the client saw it.
        scores: Of that, for the scores, as `X-Rerank` says; None without a reranker.
        alone: Whether they were timed one at a time; otherwise beside others.
        from_cache: How many of them had scores, or vectors that scores are made of, from the cache.
        left_out: How many were not counted for that reason.
    """

    client: Times
    scores: Times | None
    alone: bool
    from_cache: int
    left_out: int


@dataclass(frozen=True, slots=True)
class Result:
    """What came of a system.

    Attributes:
        values: By measure and id of the query, of the queries that all have answered. Empty if it has
            answered too few.
        means: Of those.
        interval: Of the mean of the first measure, with a confidence of 95 %.
        comparisons: By measure, with the baseline; none of the baseline itself.
        judged: The mean share of the first ten hits that have a judgment.
        models: The models that scored, as `X-Rerank` names them.
        truncated: How many pairs were cut to the model's limit, of `scored`.
    """

    system: System
    asked: Asked
    values: Mapping[str, Mapping[str, float]]
    means: Mapping[str, float]
    interval: tuple[float, float]
    comparisons: Mapping[str, Comparison]
    judged: float
    latency: Latency | None
    models: Sequence[str]
    truncated: int
    scored: int

    @property
    def has_figures(self) -> bool:
        return bool(self.values)

    def hits(self, query: str) -> Ranked:
        return self.asked.answers[query].hits


@dataclass(frozen=True, slots=True)
class Results:
    """What came of all systems.

    Attributes:
        queries: Ids of those that the figures are of.
        measures: The first one is what systems are compared by.
        baseline: The result that the others are compared with.
    """

    queries: Sequence[str]
    measures: Sequence[str]
    baseline: Result
    all: Sequence[Result]

    @property
    def first(self) -> str:
        return self.measures[0]

    @property
    def others(self) -> list[Result]:
        """Those that can be compared with the baseline: none if that has no figures."""
        return [each for each in self.all if each.comparisons]


def results_of(
    systems: Sequence[System],
    asked: Mapping[str, Asked],
    paired: Paired,
    measures: Sequence[str],
    *,
    baseline: str,
    cold: bool = False,
    unjudged: Unjudged = "wrong",
    seed: int,
) -> Results:
    """Compute measures, comparisons and latencies.

    Args:
        baseline: The name of the system that the others are compared with.
        unjudged: What becomes of hits without a judgment.
        cold: Count only the times of searches none of whose scores came from the cache.
        seed: Of the random numbers of the statistics.
    """
    wanted = len(paired.queries)
    enough = [each for each in systems if len(asked[each.name].answers) >= max(1, ENOUGH * wanted)]
    common = [query for query in paired.queries if all(query in asked[each.name].answers for each in enough)]
    found = {each.name: _values(asked[each.name], paired, common, measures, unjudged) for each in enough}
    base = found.get(baseline, {})
    compared = {} if not base else _comparisons(found, baseline, measures, seed)
    made = [
        _result(
            each,
            asked[each.name],
            found.get(each.name, {}),
            compared.get(each.name, {}),
            measures,
            cold,
            seed,
        )
        for each in systems
    ]
    return Results(common, list(measures), next(each for each in made if each.system.name == baseline), made)


def _values(
    asked: Asked, paired: Paired, common: Sequence[str], measures: Sequence[str], unjudged: Unjudged
) -> dict[str, dict[str, float]]:
    if not common:
        return {}
    run: dict[str, Ranked] = {query: asked.answers[query].hits for query in common}
    judgments = {query: paired.judgments[query] for query in common}
    judged = values(judgments, run, [JUDGED])
    if unjudged == "leave-out":
        run = {query: [hit for hit in hits if hit.id in judgments[query]] for query, hits in run.items()}
    return {**values(judgments, run, measures), **judged}


def _comparisons(
    found: Mapping[str, Mapping[str, Mapping[str, float]]], baseline: str, measures: Sequence[str], seed: int
) -> dict[str, dict[str, Comparison]]:
    others = [name for name in found if name != baseline]
    compared: dict[str, dict[str, Comparison]] = {name: {} for name in others}
    for measure in measures:
        base = found[baseline][measure]
        pairs = [[(base[query], own) for query, own in found[name][measure].items()] for name in others]
        for name, each in zip(others, compare(pairs, seed=seed), strict=True):
            compared[name][measure] = each
    return compared


def _result(
    system: System,
    asked: Asked,
    found: Mapping[str, Mapping[str, float]],
    compared: Mapping[str, Comparison],
    measures: Sequence[str],
    cold: bool,
    seed: int,
) -> Result:
    measured = {name: found[name] for name in measures if name in found}
    all_means = means(found)
    first = next(iter(measured.values()), {})
    reranked = [each for answer in asked.answers.values() for each in rerankings(answer.x_rerank)]
    return Result(
        system,
        asked,
        measured,
        {name: all_means[name] for name in measured},
        bootstrap_interval(list(first.values()), seed=seed),
        compared,
        all_means.get(JUDGED, float("nan")),
        latency_of(asked, cold=cold),
        sorted({each.model for each in reranked if each.model is not None}),
        sum(each.truncated or 0 for each in reranked),
        sum(each.scored or 0 for each in reranked),
    )


def latency_of(asked: Asked, *, cold: bool) -> Latency | None:
    """Return how long the searches of a system took: those that were timed, or else all of this run.

    Without timed ones, answers that an earlier run has kept count too: they were measured then.
    """
    answers = asked.timed or list(asked.answers.values())
    counted = [each for each in answers if not cold or not _is_cached(each)]
    if not counted:
        return None
    entries = [rerankings(each.x_rerank) for each in counted]
    scores = [sum(each.ms for each in entry if each.ms is not None) for entry in entries if entry]
    return Latency(
        _times([each.took_ms for each in counted]),
        _times(scores) if scores else None,
        bool(asked.timed),
        sum(map(_is_cached, counted)),
        len(answers) - len(counted),
    )


def _is_cached(answer: Answer) -> bool:
    return any(each.cached for each in rerankings(answer.x_rerank))


def _times(milliseconds: Sequence[float]) -> Times:
    p50, p95, p99 = np.percentile(np.asarray(milliseconds), [50, 95, 99])
    return Times(len(milliseconds), float(p50), float(p95), float(p99))
