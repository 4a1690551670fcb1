"""Who waits how long, proved on a device in virtual time (`simulation`)."""

import itertools
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.engine.batching.batch_builder import limit_tokens
from rerank_proxy.engine.batching.jobs import JobState, Lane
from rerank_proxy.engine.batching.scheduler import OLDEST_SHARE
from rerank_proxy.engine.errors import DeadlineUnreachableError
from tests.support.examples import examples
from tests.unit.engine.batching.simulation import (
    BATCH_S,
    BUDGET,
    TOKEN_S,
    SimulatedCall,
    Simulation,
    equal_shares,
)
from tests.unit.engine.doubles import SumBackend

SHORT, LONG = 16, 308
"""Tokens of a row: a text of 8 or 300 beside the query."""

LENGTHS = {"short": [SHORT], "long": [LONG], "mixed": [SHORT, LONG, 90]}


def lane() -> Lane:
    return Lane("model", SumBackend(padded=False), BUDGET)


def texts(kind: str, number: int) -> list[int]:
    lengths = LENGTHS[kind]
    return [lengths[at % len(lengths)] for at in range(number)]


def run(calls: Sequence[SimulatedCall], workers: int = 1, batch_s: float = BATCH_S) -> Simulation:
    simulation = Simulation(lane(), workers, batch_s)
    simulation.run(calls)
    return simulation


def few_beside_many(kind: str, small: int, workers: int, part: float) -> list[float]:
    """Return how long small calls of five texts take that come together, relative to one of a thousand."""
    alone = SimulatedCall(texts(kind, 1000))
    run([alone], workers)
    large = SimulatedCall(texts(kind, 1000))
    few = [SimulatedCall(texts(kind, 5), part * alone.took_s) for _ in range(small)]
    run([large, *few], workers)
    return [call.took_s / large.took_s for call in few]


@pytest.mark.parametrize("part", [0.0, 0.1, 0.5])
@pytest.mark.parametrize(
    ("small", "kind", "workers"),
    [
        *itertools.product([1], LENGTHS, [1, 2, 3, 4, 8]),
        *itertools.product([10], LENGTHS, [1, 2]),
        *itertools.product([10], ["mixed", "long"], [3, 4]),
    ],
)
def test_few_texts_behind_a_thousand(small: int, kind: str, workers: int, part: float) -> None:
    assert max(few_beside_many(kind, small, workers, part)) < 0.1


@pytest.mark.parametrize("workers", [1, 2])
def test_small_calls_at_once_end_one_after_the_other(workers: int) -> None:
    """A single batch of all of them would end last for each."""
    times = few_beside_many("short", 10, workers, 0.1)
    assert min(times) < 0.7 * max(times)


def test_the_batches_of_a_large_request_cost_little() -> None:
    many = SimulatedCall(texts("short", 1000))
    largest_s = many.tokens * TOKEN_S + -(-many.tokens // BUDGET) * BATCH_S
    assert run([many]).busy_s / largest_s < 1.05


def test_many_usual_requests_are_as_fast_as_a_large_one() -> None:
    usual, whole = [SimulatedCall([131] * 30) for _ in range(16)], SimulatedCall([131] * 480)
    assert run([whole]).busy_s / run(usual).busy_s > 0.95


a_call = st.builds(SimulatedCall, st.lists(st.integers(1, 400), min_size=1, max_size=60), st.floats(0.0, 1.0))


@examples(2)
@given(st.lists(a_call, min_size=1, max_size=12))
def test_no_call_ends_much_later_than_with_an_equal_share(calls: list[SimulatedCall]) -> None:
    """It is later by the batches in which it comes and ends, and what the oldest has, at most."""
    run(calls, batch_s=0.0)
    ends = equal_shares(calls)
    for call in calls:
        largest = max(limit_tokens(lane(), other.tokens) for other in calls) + 400
        oldest = OLDEST_SHARE / (1 - OLDEST_SHARE) * (ends[call] - call.at_s)
        assert call.at_s + call.took_s <= ends[call] + oldest + 3 * largest * TOKEN_S


lengths = st.lists(st.integers(1, 400), min_size=1, max_size=60) | st.builds(
    lambda length, rows: [length] * rows, st.integers(1, 40), st.integers(1, 300)
)
"""Of the rows of a call: different ones, or short ones that are alike."""

some_calls = st.builds(
    lambda lengths, at_s, number: [SimulatedCall(lengths, at_s) for _ in range(number)],
    lengths | st.lists(st.integers(1, 6000), min_size=1, max_size=2),
    st.floats(0.0, 1.0),
    st.integers(1, 6),
)
"""Such that come at the same time. Some have a giant row, which no batch divides."""


@examples(6)
@given(st.lists(some_calls, min_size=1, max_size=6), st.integers(1, 8))
def test_no_call_ends_later_than_promised(groups: list[list[SimulatedCall]], workers: int) -> None:
    """The docstring of `shares` has the bound, and its proof."""
    calls = [call for group in groups for call in group]
    batches = run(calls, workers, batch_s=0.0).batches
    largest = max(sum(len(job.row) for job in jobs) for _, jobs in batches)
    for call in calls:
        before = (each for each in calls if each is not call and each.at_s < call.at_s + call.took_s)
        others = sum(min(call.tokens, each.tokens) for each in before)
        shared = (call.tokens + others + largest) / (1 - OLDEST_SHARE) + largest
        assert call.took_s <= (shared / workers + 2 * largest) * TOKEN_S * (1 + 1e-9)


@examples(1)
@given(st.integers(1, 10), st.integers(40, 100))
def test_a_large_call_goes_on_however_many_small_ones_come(rows: int, each: int) -> None:
    """They come twice as fast as the device is, for ever as far as the large one can tell."""
    large = SimulatedCall([100] * rows)
    enough = int(2 * large.tokens / OLDEST_SHARE / each) + BUDGET // each
    small = [SimulatedCall([each], at * each * TOKEN_S / 2) for at in range(enough)]
    run([large, *small], batch_s=0.0)
    batch = limit_tokens(lane(), large.tokens)
    assert large.took_s <= ((large.tokens + batch) / OLDEST_SHARE + BUDGET) * TOKEN_S


@examples(2)
@given(
    st.lists(
        st.builds(
            SimulatedCall,
            st.lists(st.integers(1, 3000), min_size=1, max_size=20),
            st.floats(0.0, 1.0),
            st.none() | st.floats(0.0, 0.5),
            st.none() | st.floats(0.0, 0.5),
        ),
        min_size=1,
        max_size=12,
    ),
    st.integers(1, 8),
)
def test_every_job_ends_once_and_no_batch_is_too_large(calls: list[SimulatedCall], workers: int) -> None:
    simulation = run(calls, workers)
    seen = [job for _, jobs in simulation.batches for job in jobs]
    assert len(seen) == len({id(job) for job in seen})
    for _, jobs in simulation.batches:
        assert sum(len(job.row) for job in jobs) <= BUDGET or len(jobs) == 1
    for call in calls:
        assert call.request is not None
        assert len(call.ends) + (call.refusal is not None) + (call.cancelled_s is not None) in (1, 2)
        assert len(call.ends) <= 1
        states = {job.state for job in call.request.jobs.values()}
        if call.ends and call.ends[0][1] is None:
            assert states == {JobState.DONE}
            outputs = [job.output for job in call.request.jobs.values()]
            assert [output and output.values[0] for output in outputs] == [*range(len(call.lengths))]
        else:
            assert states <= {JobState.DONE, JobState.DROPPED}


@examples(2)
@given(st.lists(st.floats(0.0, 1.0), min_size=1, max_size=12), st.integers(1, 8))
def test_nothing_is_begun_for_a_call_that_is_over(cancelled_s: list[float], workers: int) -> None:
    calls = [SimulatedCall([300] * 20, cancelled_s=at) for at in cancelled_s]
    for began_s, jobs in run(calls, workers).batches:
        for job in jobs:
            number = int(job.key.split()[1])
            assert began_s <= cancelled_s[number]


@examples(2)
@given(st.lists(st.floats(0.01, 1.0), min_size=1, max_size=12), st.integers(1, 8))
def test_nothing_is_begun_after_the_deadline(deadlines_s: list[float], workers: int) -> None:
    calls = [SimulatedCall([300] * 20, deadline_s=at) for at in deadlines_s]
    for began_s, jobs in run(calls, workers).batches:
        for job in jobs:
            assert began_s < deadlines_s[int(job.key.split()[1])]
    assert all(call.ends or call.refusal for call in calls)


def warm() -> Simulation:
    """A device whose pace is known."""
    simulation = Simulation(lane())
    simulation.run([SimulatedCall([50 * (at % 7 + 1)], at / 10, name=f"warm {at}") for at in range(20)])
    return simulation


class TestAdmission:
    def test_a_call_that_is_too_large_for_its_deadline_is_refused_at_once(self) -> None:
        call = SimulatedCall([300] * 10_000, deadline_s=30.0)
        simulation = warm()
        before = len(simulation.batches)
        call.at_s = simulation.now_s
        simulation.run([call])
        assert isinstance(call.refusal, DeadlineUnreachableError)
        assert call.refusal.retry_after_s is None, "it would be as large later"
        assert "3000000 tokens" in str(call.refusal)
        assert "there are 30.0 s" in str(call.refusal)
        assert "rank_window_size" in str(call.refusal)
        assert len(simulation.batches) == before

    def test_a_call_behind_others_is_told_when_to_try_again(self) -> None:
        simulation = warm()
        now = simulation.now_s
        others = [SimulatedCall([300] * 500, now, name=f"other {at}") for at in range(4)]
        call = SimulatedCall([300] * 600, now, deadline_s=20.0)
        simulation.run([*others, call])
        assert isinstance(call.refusal, DeadlineUnreachableError)
        assert call.refusal.retry_after_s == pytest.approx(60 + 18 - 20, rel=0.1)

    def test_small_calls_are_admitted_beside_work_of_minutes(self) -> None:
        simulation = warm()
        now = simulation.now_s
        large = SimulatedCall([300] * 3_000, now)
        small = SimulatedCall([300] * 5, now + 1.0, deadline_s=1.0)
        simulation.run([large, small])
        assert small.took_s < 1.0

    def test_before_the_pace_is_known_nothing_is_refused(self) -> None:
        call = SimulatedCall([300] * 1000, deadline_s=1.0)
        simulation = run([call])
        assert call.refusal is None
        ((ended_s, error),) = call.ends
        assert isinstance(error, DeadlineUnreachableError)
        assert ended_s < 1.0, "it is given up as soon as the pace shows that it will be late"
        assert simulation.busy_s < 1.0

    @examples(2)
    @given(st.lists(a_call, max_size=12), st.integers(1, 3000), st.floats(0.05, 5.0))
    def test_what_could_be_done_is_never_refused(
        self, others: list[SimulatedCall], length: int, deadline_s: float
    ) -> None:
        simulation = warm()
        call = SimulatedCall([length], simulation.now_s + 0.5, deadline_s)
        for other in others:
            other.at_s += simulation.now_s
        simulation.run([*others, call])
        if call.refusal is not None:
            free = SimulatedCall([length], call.at_s, name="the same")
            again = Simulation(lane())
            copies = [SimulatedCall(other.lengths, other.at_s) for other in others]
            again.run([*copies, free])
            assert free.took_s > deadline_s
