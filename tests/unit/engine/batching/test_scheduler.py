"""The order in which rows run. Pure logic: no threads, no clock."""

from collections.abc import Sequence
from contextlib import suppress

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rerank_proxy.engine.batching.batch_builder import (
    FREE_PADDING_RATIO,
    MAX_PADDING_RATIO,
    USUAL_RATIO,
    limit_tokens,
)
from rerank_proxy.engine.batching.jobs import Job, JobState, Lane, ScoringRequest
from rerank_proxy.engine.batching.scheduler import OLDEST_SHARE, Scheduler
from rerank_proxy.engine.errors import EngineClosedError, EngineError, InferenceError, QueueFullError
from rerank_proxy.engine.rows import Output
from tests.support.examples import examples
from tests.unit.engine.doubles import SumBackend, row

BUDGET = 200
USUAL = int(USUAL_RATIO * BUDGET)
"""The size of the batches of usual requests: 100 tokens."""
OUTPUT = Output(np.ones(1, np.float32), False)
LANE = Lane("padded", SumBackend(), BUDGET)
PACKED = Lane("packed", SumBackend(padded=False), BUDGET)


class Caller:
    """A request and how it ended."""

    def __init__(self, scheduler: Scheduler, name: str, lengths: Sequence[int], lane: Lane = LANE) -> None:
        self.name = name
        self.ends: list[EngineError | None] = []
        self.request: ScoringRequest = scheduler.open(lane, self.ends.append)
        self.rows = {f"{name}{number}".encode(): row(length) for number, length in enumerate(lengths)}

    def submit(self, scheduler: Scheduler) -> "Caller":
        scheduler.submit(self.request, self.rows)
        return self


def call(scheduler: Scheduler, name: str, lengths: Sequence[int], lane: Lane = LANE) -> Caller:
    return Caller(scheduler, name, lengths, lane).submit(scheduler)


def finish(scheduler: Scheduler, jobs: list[Job]) -> None:
    scheduler.finish([(job, OUTPUT) for job in jobs])


def drain(scheduler: Scheduler) -> list[list[Job]]:
    batches = []
    while jobs := scheduler.next_batch():
        batches.append(jobs)
        finish(scheduler, jobs)
    return batches


def owners(jobs: list[Job]) -> set[str]:
    return {job.key.decode()[0] for job in jobs}


def lengths(jobs: list[Job]) -> list[int]:
    return [len(job.row) for job in jobs]


def test_nothing_to_do() -> None:
    assert Scheduler(1000).next_batch() == []


def test_runs_every_row_once_and_says_so() -> None:
    scheduler = Scheduler(10_000)
    caller = call(scheduler, "a", [30] * 10)
    batches = drain(scheduler)
    assert sorted(job.key for batch in batches for job in batch) == sorted(caller.rows)
    assert caller.ends == [None]
    assert all(job.output is OUTPUT for job in caller.request.jobs.values())
    assert scheduler.queued_tokens[LANE] == scheduler.queued_rows[LANE] == 0


def test_a_request_without_rows_ends_at_once() -> None:
    assert call(Scheduler(1000), "a", []).ends == [None]


def test_batches_hold_rows_of_like_length() -> None:
    scheduler = Scheduler(10_000)
    call(scheduler, "a", [10, 50, 11, 49, 12, 48])
    assert [lengths(batch) for batch in drain(scheduler)] == [[50, 49], [48], [12, 11, 10]]


def test_a_row_longer_than_the_budget_runs_alone() -> None:
    scheduler = Scheduler(10_000)
    call(scheduler, "a", [450, 90, 5])
    assert [lengths(batch) for batch in drain(scheduler)] == [[450], [90], [5]]


def test_without_padding_length_does_not_matter() -> None:
    scheduler = Scheduler(10_000)
    call(scheduler, "a", [60, 20, 15, 5], PACKED)
    assert [lengths(batch) for batch in drain(scheduler)] == [[60, 20, 15, 5]]


@given(st.lists(st.integers(1, 150), min_size=1, max_size=60))
def test_no_batch_is_too_large_or_too_hollow(row_lengths: list[int]) -> None:
    scheduler = Scheduler(100_000)
    call(scheduler, "a", row_lengths)
    for batch in drain(scheduler):
        cost = max(lengths(batch)) * len(batch)
        padding = cost - sum(lengths(batch))
        assert cost <= BUDGET or len(batch) == 1
        assert min(lengths(batch)) * (len(batch) - 1) < limit_tokens(LANE, sum(row_lengths))
        assert padding <= max(MAX_PADDING_RATIO * cost, FREE_PADDING_RATIO * BUDGET)


def test_usual_requests_run_one_after_the_other() -> None:
    scheduler = Scheduler(10_000)
    for name in "abc":
        call(scheduler, name, [50] * 4)
    assert [owners(batch) for batch in drain(scheduler)] == [{"a"}, {"a"}, {"b"}, {"b"}, {"c"}, {"c"}]


def test_a_small_request_does_not_wait_for_a_huge_one() -> None:
    scheduler = Scheduler(1_000_000)
    huge = call(scheduler, "h", [50] * 2000)
    running = scheduler.next_batch()
    small = call(scheduler, "s", [50])
    finish(scheduler, running)
    batch = scheduler.next_batch()
    assert owners(batch) == {"s"}, "rows of a huge request would make its batch take longer"
    finish(scheduler, batch)
    assert small.ends == [None]
    assert huge.ends == []


def test_a_huge_request_does_not_starve_among_small_ones() -> None:
    scheduler = Scheduler(1_000_000)
    huge = call(scheduler, "h", [100] * 40)
    batches = 0
    while not huge.ends:
        for name in "st":  # Twice as many small ones as the device can take.
            call(scheduler, f"{name}{batches}-", [100])
        finish(scheduler, scheduler.next_batch())
        batches += 1
    assert batches <= 40 / OLDEST_SHARE


def test_of_two_huge_requests_the_first_ends_as_if_it_were_alone() -> None:
    scheduler = Scheduler(1_000_000)
    for name in "ab":
        call(scheduler, name, [100] * 40)
    assert [*map(owners, drain(scheduler))] == [{"a"}] * 20 + [{"b"}] * 20


def test_a_batch_is_a_small_part_of_its_request_within_the_budget() -> None:
    assert [limit_tokens(PACKED, size) for size in (10, 800, 801, 3_200, 100_000)] == [
        USUAL,
        USUAL,
        50,
        100,
        BUDGET,
    ]


def test_batches_that_run_side_by_side_do_not_all_end_at_the_same_time() -> None:
    scheduler = Scheduler(1_000_000)
    call(scheduler, "h", [1] * 6_400, PACKED)
    running = [scheduler.next_batch() for _ in range(4)]
    assert [*map(len, running)] == [200, 100, 50, 150]
    finish(scheduler, running.pop())
    assert len(scheduler.next_batch()) == 200, "they are out of step now"


def test_a_batch_is_filled_up_from_other_requests() -> None:
    scheduler = Scheduler(10_000)
    callers = [call(scheduler, name, [24]) for name in "abcd"]
    batch = scheduler.next_batch()
    assert owners(batch) == set("abcd")
    finish(scheduler, batch)
    assert [caller.ends for caller in callers] == [[None]] * 4


def test_lanes_do_not_mix() -> None:
    scheduler = Scheduler(10_000)
    call(scheduler, "a", [10])
    call(scheduler, "b", [10], PACKED)
    assert [owners(batch) for batch in drain(scheduler)] == [{"a"}, {"b"}]


def test_cancelling_drops_what_waits() -> None:
    scheduler = Scheduler(10_000)
    caller = call(scheduler, "a", [50] * 6)
    taken = scheduler.next_batch()
    scheduler.cancel(caller.request)
    assert scheduler.next_batch() == []
    assert scheduler.queued_tokens[LANE] == 0
    assert all(job.state is JobState.DROPPED for job in taken)
    finish(scheduler, taken)
    assert caller.ends == []


def test_a_key_under_way_is_shared() -> None:
    scheduler = Scheduler(10_000)
    first, second = Caller(scheduler, "a", [50, 50]), Caller(scheduler, "a", [50, 50])
    first.submit(scheduler)
    assert all(scheduler.join(second.request, key) for key in second.rows)
    scheduler.submit(second.request, {})
    assert len(drain(scheduler)) == 1
    assert first.ends == second.ends == [None]


def test_lanes_share_nothing() -> None:
    """A model that is loaded again while its calls wait, or under two names, has the same keys twice."""
    scheduler = Scheduler(10_000)
    again = Lane("padded", SumBackend(), BUDGET)
    first, second = call(scheduler, "a", [50, 50]), Caller(scheduler, "a", [50, 50], again)
    assert not any(scheduler.join(second.request, key) for key in second.rows)
    second.submit(scheduler)
    batches = drain(scheduler)
    assert sorted((len(jobs), {job.lane is again for job in jobs}) for jobs in batches) == [
        (2, {False}),
        (2, {True}),
    ]
    assert first.ends == second.ends == [None]


def test_rows_queued_by_two_at_once_run_once() -> None:
    scheduler = Scheduler(10_000)
    first, second = call(scheduler, "a", [50, 50]), call(scheduler, "a", [50, 50])
    assert sum(map(len, drain(scheduler))) == 2
    assert first.ends == second.ends == [None]


def test_a_shared_row_survives_the_one_who_queued_it() -> None:
    scheduler = Scheduler(10_000)
    first, second = call(scheduler, "a", [50]), call(scheduler, "a", [50])
    scheduler.cancel(first.request)
    assert scheduler.queued_rows[LANE] == 1
    assert len(drain(scheduler)) == 1
    assert (first.ends, second.ends) == ([], [None])


def test_a_shared_row_does_not_wait_for_the_huge_request_that_queued_it() -> None:
    scheduler = Scheduler(1_000_000)
    huge = call(scheduler, "h", [50] * 2000)
    finish(scheduler, scheduler.next_batch())
    waiting = next(job for job in huge.request.queue if job.state is JobState.QUEUED)
    small = Caller(scheduler, "s", [])
    assert scheduler.join(small.request, waiting.key)
    scheduler.submit(small.request, {})
    finish(scheduler, scheduler.next_batch())
    assert small.ends == [None]


def test_a_row_joined_before_submitting_may_be_done_already() -> None:
    scheduler = Scheduler(10_000)
    first, second = call(scheduler, "a", [50]), Caller(scheduler, "a", [50])
    assert scheduler.join(second.request, b"a0")
    drain(scheduler)
    assert second.ends == []
    scheduler.submit(second.request, {})
    assert first.ends == second.ends == [None]


def test_a_broken_row_ends_its_requests_and_drops_the_rest() -> None:
    scheduler = Scheduler(10_000)
    broken, whole = call(scheduler, "a", [30, 30, 100]), call(scheduler, "b", [30] * 7)
    problem = InferenceError("it broke")
    (longest,) = scheduler.next_batch()
    scheduler.finish([(longest, problem)])
    drain(scheduler)
    assert broken.ends == [problem]
    assert whole.ends == [None]
    assert scheduler.queued_tokens[LANE] == 0


def test_a_request_whose_joined_row_broke_cannot_submit() -> None:
    scheduler = Scheduler(10_000)
    call(scheduler, "a", [50])
    late = Caller(scheduler, "b", [50])
    assert scheduler.join(late.request, b"a0")
    scheduler.finish([(job, InferenceError("it broke")) for job in scheduler.next_batch()])
    late.submit(scheduler)
    assert len(late.ends) == 1
    assert scheduler.next_batch() == []


def test_a_full_queue_refuses_all_or_nothing() -> None:
    scheduler = Scheduler(100)
    accepted = call(scheduler, "a", [50, 40])
    with pytest.raises(QueueFullError, match="90 of 100 tokens"):
        call(scheduler, "b", [10, 1])
    assert scheduler.queued_tokens[LANE] == 90
    drain(scheduler)
    assert accepted.ends == [None]
    assert call(scheduler, "b", [10, 1]).ends == []


def test_a_full_queue_refuses_before_anything_is_tokenised() -> None:
    scheduler = Scheduler(100)
    call(scheduler, "a", [100])
    with pytest.raises(QueueFullError):
        scheduler.open(LANE, lambda _: None)


def test_more_than_the_queue_can_ever_hold_is_told_apart() -> None:
    with pytest.raises(QueueFullError, match="smaller rank_window_size"):
        call(Scheduler(100), "a", [60, 60])


def test_abandon_ends_everyone() -> None:
    scheduler = Scheduler(10_000)
    callers = [call(scheduler, name, [50] * 3) for name in "ab"]
    scheduler.next_batch()
    closed = EngineClosedError("closed")
    scheduler.abandon(closed)
    assert [caller.ends for caller in callers] == [[closed]] * 2
    assert scheduler.next_batch() == []


class AnyOrder(RuleBasedStateMachine):
    """In any order of events every request ends once, and the counts are right."""

    def __init__(self) -> None:
        super().__init__()
        self.scheduler = Scheduler(2_000)
        self.callers: list[Caller] = []
        self.running: list[list[Job]] = []
        self.cancelled: set[int] = set()
        self.ran: list[Job] = []

    @rule(
        name=st.sampled_from("abc"),
        row_lengths=st.lists(st.integers(1, 150), max_size=8),
        lane=st.sampled_from([LANE, PACKED]),
    )
    def submit(self, name: str, row_lengths: list[int], lane: Lane) -> None:
        with suppress(QueueFullError):
            self.callers.append(call(self.scheduler, name + lane.model, row_lengths, lane))

    @rule(position=st.integers(0, 50))
    def cancel(self, position: int) -> None:
        if position < len(self.callers) and not self.callers[position].ends:
            self.cancelled.add(position)
            self.scheduler.cancel(self.callers[position].request)

    @rule()
    def take(self) -> None:
        if jobs := self.scheduler.next_batch():
            assert len({job.lane for job in jobs}) == 1
            self.running.append(jobs)

    @rule(broken=st.booleans())
    def complete(self, broken: bool) -> None:
        if self.running:
            jobs = self.running.pop(0)
            self.ran += jobs
            outcome = InferenceError("it broke") if broken else OUTPUT
            self.scheduler.finish([(job, outcome) for job in jobs])

    @invariant()
    def counts_are_right(self) -> None:
        waiting = {id(job): job for each in self.callers for job in each.request.queue}
        queued = [job for job in waiting.values() if job.state is JobState.QUEUED]
        for lane in (LANE, PACKED):
            own = [job for job in queued if job.lane is lane]
            assert self.scheduler.queued_rows.get(lane, 0) == len(own)
            assert self.scheduler.queued_tokens.get(lane, 0) == sum(len(job.row) for job in own)

    def teardown(self) -> None:
        while self.running:
            self.complete(broken=False)
        drain(self.scheduler)
        for position, caller in enumerate(self.callers):
            assert len(caller.ends) == (0 if position in self.cancelled else 1)
        assert len(self.ran) == len({id(job) for job in self.ran})


TestAnyOrder = AnyOrder.TestCase
TestAnyOrder.settings = settings(examples(2), stateful_step_count=40)
