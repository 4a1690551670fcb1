"""An evaluation, from its files to its results: what `evaluate` does, but for options and output."""

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rerank_proxy.relevance.client.endpoints import EndpointInfo, info_of
from rerank_proxy.relevance.client.index_state import IndexState, missing, state_of
from rerank_proxy.relevance.client.searching import Searcher
from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.evaluation.answers import answers_in
from rerank_proxy.relevance.evaluation.asking import Asked, Asking
from rerank_proxy.relevance.evaluation.material import Material, spread
from rerank_proxy.relevance.evaluation.results import Results, Unjudged, results_of
from rerank_proxy.relevance.judgments import Query, judged_documents
from rerank_proxy.relevance.progress import Progress, steps
from rerank_proxy.relevance.systems import System, depth_of


@dataclass(frozen=True, slots=True)
class Plan:
    """What is evaluated, and how.

    Attributes:
        measures: The first one is what systems are compared by.
        unjudged: Whether hits without a judgment count as wrong, or are left out of the lists.
        baseline: The name of the system that the others are compared with.
        timed: How many searches of each system are timed one at a time.
        cold: Count no times of searches with scores from a cache.
        directory: Where answers are kept.
        fresh: Forget answers of earlier runs.
    """

    index: str
    systems: Sequence[System]
    measures: Sequence[str]
    baseline: str
    directory: Path
    timed: int
    cold: bool
    fresh: bool
    seed: int
    unjudged: Unjudged = "wrong"

    @property
    def depth(self) -> int:
        """The number of hits that are asked for: more if some of them are to be left out."""
        return depth_of(self.measures, least=10 if self.unjudged == "wrong" else 100)


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What came of a plan.

    Attributes:
        concurrency: How many searches were under way at once.
        missing: Ids of judged documents that the index does not hold.
        took_s: How long it took.
        ended: In seconds since 1970.
    """

    plan: Plan
    url: str
    concurrency: int
    material: Material
    state: IndexState
    missing: Sequence[str]
    results: Results
    took_s: float
    ended: float


async def evaluate(plan: Plan, material: Material, searcher: Searcher, progress: Progress) -> Evaluation:
    """Ask what has not been asked before, and compute the results.

    Raises:
        RelevanceError: The server cannot be reached, or nothing can be compared. Answers so far are kept.
    """
    began = time.monotonic()
    endpoints = list(dict.fromkeys(each for system in plan.systems for each in system.endpoints()))
    queries = list(material.paired.queries.values())
    with answers_in(plan.directory, fresh=plan.fresh) as journal:
        async with searcher:
            state = await state_of(searcher, plan.index, endpoints)
            _refuse_judges(material, state)
            absent = await _absent(plan, material, searcher)
            asking = Asking(searcher, journal, plan.index, state, plan.depth)
            asked = await _asked(plan, queries, asking, progress)
    results = results_of(
        plan.systems,
        asked,
        material.paired,
        plan.measures,
        baseline=plan.baseline,
        cold=plan.cold,
        unjudged=plan.unjudged,
        seed=plan.seed,
    )
    took_s = time.monotonic() - began
    return Evaluation(
        plan, searcher.url, searcher.concurrency, material, state, absent, results, took_s, time.time()
    )


async def _absent(plan: Plan, material: Material, searcher: Searcher) -> list[str]:
    """Return the ids of judged documents that the index does not hold.

    Raises:
        RelevanceError: It holds none of them.
    """
    judged = judged_documents(material.paired.judgments)
    absent = await missing(searcher, plan.index, judged)
    if len(absent) == len(judged):
        raise RelevanceError(
            f"index {plan.index} holds none of the {len(judged)} judged documents: the ids of judgments are "
            f"those of documents (_id), and there is no {absent[0]}"
        )
    return absent


async def _asked(
    plan: Plan, queries: Sequence[Query], asking: Asking, progress: Progress
) -> dict[str, Asked]:
    """Ask all systems all queries, and time some.

    Raises:
        RelevanceError: Nothing was answered.
    """
    done = steps(progress, "searching", len(queries) * len(plan.systems))
    asked = await asking.ask(plan.systems, queries, done)
    _check(asked, plan)
    timed = spread(queries, plan.timed)
    if timed:
        done = steps(progress, "timing", len(timed) * len(plan.systems))
        await asking.time(plan.systems, timed, asked, done)
    return asked


def _refuse_judges(material: Material, state: IndexState) -> None:
    """Refuse to measure an endpoint by its own model's judgments.

    Raises:
        RelevanceError: An endpoint, or its model, has made some.
    """
    for name, answer in state.endpoints.items():
        info = info_of(answer) or EndpointInfo()
        if name in material.judges or info.model in material.judges:
            raise RelevanceError(
                f"{name}: it, or its model, has made judgments of {material.sources[-1]}, and would be "
                "measured by itself: leave it out, or take judgments of people"
            )


def _check(asked: Mapping[str, Asked], plan: Plan) -> None:
    """Check that there is something to show.

    Raises:
        RelevanceError: No system has answered, with what the first one says.
    """
    if not any(each.answers for each in asked.values()):
        failures = asked[plan.systems[0].name].failures
        reason = f"{failures[0].kind}, {failures[0].reason}" if failures else "nothing was asked"
        raise RelevanceError(f"no search of any system was answered: {plan.systems[0].name}: {reason}")
