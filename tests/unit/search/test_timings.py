"""What a search has taken, by stages: simultaneous ones count once, and what is left is its own."""

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.concurrency.tasks import side_by_side
from rerank_proxy.observe import stages
from rerank_proxy.observe.stages import STAGES, Activity, Stage
from rerank_proxy.search.timings import Timings
from tests.support.examples import examples


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def test_simultaneous_stages() -> None:
    clock = Clock()
    timings = Timings(clock)
    timings.add("upstream", 0, 7)
    timings.add("upstream", 1, 3)
    timings.add("score", 1, 3)
    timings.add("score", 15, 31)
    clock.time = 31
    named = timings.named()
    assert (named["upstream"], named["score"], named["own"]) == (7, 18, 8)
    assert named["queue"] == 0


def test_nothing_is_counted_after_the_end() -> None:
    clock = Clock()
    timings = Timings(clock)
    clock.time = 2
    timings.end()
    clock.time = 5
    timings.end()
    assert timings.seconds == timings.named()["own"] == 2


_MOMENTS = 60
_INTERVALS = st.tuples(
    st.sampled_from(STAGES), st.integers(0, _MOMENTS - 1), st.integers(0, _MOMENTS)
).filter(lambda each: each[1] <= each[2])


@examples(4)
@given(st.lists(_INTERVALS, max_size=40), st.integers(1, 30))
def test_the_sums_are_those_of_the_moments(intervals: Sequence[tuple[Stage, int, int]], times: int) -> None:
    """They are, in any order and however many there are."""
    clock = Clock()
    timings = Timings(clock)
    for _ in range(times):
        for stage, began, ended in intervals:
            timings.add(stage, began, ended)
    clock.time = _MOMENTS
    named = timings.named()
    moments = {
        stage: {at for each, a, b in intervals if each == stage for at in range(a, b)} for stage in STAGES
    }
    assert {stage: named[stage] for stage in STAGES} == {stage: len(moments[stage]) for stage in STAGES}
    assert named["own"] == _MOMENTS - len(set().union(*moments.values()))


async def test_a_stage_belongs_to_the_search_of_its_task() -> None:
    """Each of several searches has its own, and the request all of them."""
    whole = Timings()
    stages.enter(Activity(whole))
    with stages.stage("parse"):
        pass
    ready, go = asyncio.Semaphore(0), asyncio.Event()

    async def search(stage: Stage) -> dict[str, float]:
        timings = Timings.of_part()
        with stages.stage(stage):
            ready.release()
            await go.wait()
        return timings.named()

    async def begin() -> dict[str, float]:
        for _ in range(2):
            await ready.acquire()
        go.set()
        return {}

    first, second, _ = await side_by_side([search("queue"), search("score"), begin()])
    assert first["queue"] > 0 == first["score"] == first["parse"]
    assert second["score"] > 0 == second["queue"]
    named = whole.named()
    assert min(named["queue"], named["score"], named["parse"]) > 0


async def test_what_goes_on_takes_along_what_has_been() -> None:
    whole = Timings()
    stages.enter(Activity(whole))
    with stages.stage("parse"):
        pass
    later = await asyncio.create_task(_goes_on())
    assert later.named()["parse"] == whole.named()["parse"] > 0
    assert later.named()["score"] > 0 == whole.named()["score"]
    assert later.seconds > 0


async def _goes_on() -> Timings:
    timings = Timings.of_what_goes_on()
    with stages.stage("score"):
        pass
    return timings


def test_a_stage_that_fails_counts() -> None:
    timings = Timings()
    stages.enter(Activity(timings))
    with pytest.raises(KeyError), stages.stage("score"):
        raise KeyError
    assert timings.named()["score"] > 0
    stages.enter(Activity())


def test_without_a_request_nothing_is_noted() -> None:
    stages.enter(Activity())
    with stages.stage("score", "score") as block:
        assert block.span is None
    stages.note("score", 0, 1)
