"""A runner over workers that do as a test tells them: they answer, break, forget, or cannot be had."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TypeVar
from unittest.mock import patch

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.engine.batching import runner as runner_module
from rerank_proxy.engine.batching.cache import OutputCache
from rerank_proxy.engine.batching.jobs import Job, JobState, Lane, ScoringRequest
from rerank_proxy.engine.batching.places import Places
from rerank_proxy.engine.batching.runner import Runner
from rerank_proxy.engine.batching.scheduler import Scheduler
from rerank_proxy.engine.batching.worker import NotBegunError, Outcome, ThreadWorker
from rerank_proxy.engine.errors import EngineClosedError, EngineError, InferenceError
from rerank_proxy.engine.hangs.journal import Journal
from rerank_proxy.engine.hangs.watchdog import Watchdog
from rerank_proxy.engine.metrics import EngineMetrics
from rerank_proxy.engine.rows import Output
from rerank_proxy.settings import EngineSettings
from tests.support.examples import examples
from tests.support.raw_http import TIMEOUT_S
from tests.unit.engine.doubles import SumBackend, row

_T = TypeVar("_T")


@dataclass(eq=False)
class Told:
    """A worker that does nothing before it is told to."""

    place: int
    given: deque[tuple[Sequence[Job], "asyncio.Future[Sequence[Outcome]]"]] = field(default_factory=deque)
    lost: bool = False
    closed: bool = False
    other_work: asyncio.Semaphore | None = None
    """As many pieces of other work as it admits are done; None: all."""

    async def run(self, lane: Lane, jobs: Sequence[Job], threads: int) -> Sequence[Outcome]:
        if self.lost:
            raise NotBegunError
        assert all(job.lane is lane for job in jobs)
        self.given.append((jobs, asyncio.get_running_loop().create_future()))
        return await self.given[-1][1]

    async def call(self, work: Callable[[], _T]) -> _T:
        if self.other_work is not None:
            await self.other_work.acquire()
        return work()

    def close(self) -> None:
        self.closed = True

    def answer(self) -> None:
        jobs, future = self.given.popleft()
        live = [job for job in jobs if job.state is JobState.TAKEN]
        future.set_result([(job, Output(np.array([job.row.ids[0]], np.float32), False)) for job in live])

    def forget(self) -> None:
        self.given.popleft()[1].set_result([])

    def lose(self) -> None:
        """Break in the first batch, as a process that is killed."""
        self.lost = True
        self.given.popleft()[1].set_exception(RuntimeError("killed"))
        while self.given:
            self.given.popleft()[1].set_exception(NotBegunError())


class Office:
    """A runner with workers that are told what to do, and calls."""

    def __init__(self, count: int = 2, budget: int = 100) -> None:
        self.scheduler = Scheduler(100_000)
        self.cache = OutputCache(1000)
        self.metrics = EngineMetrics()
        self.workers: dict[int, Told] = {}
        self.refusals: deque[bool] = deque()
        self.places = Places(count, count)
        self.runner = Runner(self.scheduler, self.cache, self.metrics, self.places, self.hire)
        self.lane = Lane("model", SumBackend(padded=False), budget)
        self.ends: dict[int, list[EngineError | None]] = {}
        self.requests: dict[int, ScoringRequest] = {}

    def hire(self, place: int) -> Told:
        if self.refusals and self.refusals.popleft():
            raise RuntimeError("can't start new thread")
        self.workers[place] = Told(place)
        return self.workers[place]

    def submit(self, firsts: Sequence[int], length: int = 30) -> int:
        number = len(self.requests)
        self.ends[number] = []
        request = self.scheduler.open(self.lane, self.ends[number].append)
        self.requests[number] = request
        own = {
            str(first).encode(): first
            for first in firsts
            if not self.scheduler.join(request, str(first).encode())
        }
        self.scheduler.submit(request, {key: row(length, first) for key, first in own.items()})
        self.runner.wake()
        return number

    def outputs(self, number: int) -> list[float]:
        return [float(job.output.values[0]) for job in self.requests[number].jobs.values() if job.output]

    def busy(self) -> list[Told]:
        return [worker for worker in self.workers.values() if worker.given]


async def settle() -> None:
    """Let the event loop do all that it can. It needs a few turns for it, but no time."""
    for _ in range(10):
        await asyncio.sleep(0)


@pytest.fixture
async def office() -> Office:
    office = Office()
    office.runner.start()
    return office


async def test_a_small_call_runs_on_both_workers(office: Office) -> None:
    office.lane.budget_tokens = 1000
    number = office.submit(range(10))
    await settle()
    assert [len(worker.given[0][0]) for worker in office.busy()] == [5, 5]
    for worker in office.busy():
        worker.answer()
    await settle()
    assert office.ends[number] == [None]
    assert sorted(office.outputs(number)) == list(range(10))


async def test_a_lost_worker_fails_its_batch_alone_and_is_replaced(office: Office) -> None:
    numbers = [office.submit([first], length=90) for first in range(4)]
    await settle()
    first, second = office.workers[0], office.workers[1]
    assert [len(first.given), len(second.given)] == [1, 1]
    (broken,) = first.given[0][0]
    first.lose()
    await settle()
    assert first.closed
    assert office.workers[0] is not first
    assert office.metrics.batches.lost_workers._value.get() == 1
    ended = {number: office.ends[number] for number in numbers if office.ends[number]}
    assert len(ended) == 1
    ((number, (error,)),) = ended.items()
    assert list(office.requests[number].jobs.values()) == [broken]
    assert isinstance(error, InferenceError)
    assert str(error) == "RuntimeError: killed"
    while office.busy():
        office.busy()[0].answer()
        await settle()
    assert sum(office.ends[number] == [None] for number in numbers) == 3
    assert office.runner.workers.missing == 0


async def test_a_batch_that_a_lost_worker_had_not_begun_runs_elsewhere(office: Office) -> None:
    office.lane.backend = SumBackend(padded=False, serial=True)
    numbers = [office.submit([first], length=90) for first in range(2)]
    await settle()
    assert len(office.workers[0].given) == 2
    office.workers[0].lose()
    await settle()
    while office.busy():
        office.busy()[0].answer()
        await settle()
    assert [len(office.ends[number]) for number in numbers] == [1, 1]
    assert sum(office.ends[number] == [None] for number in numbers) == 1


async def test_a_worker_that_cannot_be_had_is_missing_until_it_can(
    office: Office, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runner_module, "_HIRE_AGAIN_S", 0.0)
    office.submit([1])
    await settle()
    office.refusals.append(True)
    office.busy()[0].lose()
    await asyncio.sleep(0)
    await asyncio.sleep(0)  # A lost worker is noticed, but not yet asked for again.
    assert office.runner.workers.missing == 1
    assert office.metrics.batches.workers._value.get() == 1
    await settle()
    assert office.runner.workers.missing == 0
    assert office.metrics.batches.workers._value.get() == 2
    number = office.submit([2])
    await settle()
    office.busy()[0].answer()
    await settle()
    assert office.ends[number] == [None]


async def test_rows_without_an_outcome_fail(office: Office) -> None:
    number = office.submit([1])
    await settle()
    office.busy()[0].forget()
    await settle()
    assert [str(error) for error in office.ends[number]] == ["the worker gave no outcome"]


async def test_other_lanes_go_on_while_one_may_use_no_further_worker(office: Office) -> None:
    limited = Lane("limited", SumBackend(padded=False), 100, threads=1)
    for number in range(3):
        request = office.scheduler.open(limited, lambda error: None)
        office.scheduler.submit(request, {f"limited{number}".encode(): row(90, number)})
    office.submit([1])
    await settle()
    given = {each.lane.model for worker in office.busy() for (jobs, _) in worker.given for each in jobs}
    assert given == {"limited", "model"}
    await office.runner.on_device(lambda: None)
    ends = asyncio.create_task(office.runner.close())
    await settle()
    for worker in office.busy():
        while worker.given:
            worker.forget()
    await ends


async def test_other_work_without_an_end_leaves_turns_to_what_runs_nowhere_else(office: Office) -> None:
    serial = Lane("serial", SumBackend(padded=False, serial=True), 100)
    first = office.workers[0]
    first.other_work = asyncio.Semaphore(0)
    works = [asyncio.create_task(office.runner.on_device(lambda: None)) for _ in range(3)]
    await settle()
    for number in range(2):
        request = office.scheduler.open(serial, lambda error: None)
        office.scheduler.submit(request, {f"serial{number}".encode(): row(90, number)})
    office.runner.wake()
    await settle()
    assert office.busy() == []
    first.other_work.release()
    await settle()
    assert [work.done() for work in works] == [True, False, False]
    assert office.busy() == [first]
    while not all(work.done() for work in works):
        first.other_work.release()
        await settle()
    while first.given:
        first.answer()
        await settle()
    await office.runner.close()


async def test_what_fails_beyond_the_model_ends_a_thread_and_not_the_engine() -> None:
    scheduler, metrics = Scheduler(1000), EngineMetrics()
    watchdog = Watchdog(EngineSettings(), Journal())

    def no_memory(threads: int | None) -> None:
        if failures:
            failures.pop()
            raise MemoryError("no room for a thread pool")

    failures = [1]
    places = Places()
    runner = Runner(
        scheduler,
        OutputCache(10),
        metrics,
        places,
        lambda place: ThreadWorker(place, metrics, watchdog, use_threads=no_memory),
    )
    runner.start()
    lane = Lane("model", SumBackend(), 100)
    for expected in ("MemoryError: no room for a thread pool", None):
        ended: asyncio.Future[EngineError | None] = asyncio.get_running_loop().create_future()
        request = scheduler.open(lane, ended.set_result)
        scheduler.submit(request, {b"key": row(3, 7)})
        runner.wake()
        error = await ended
        assert (None if error is None else str(error)) == expected
    assert metrics.batches.lost_workers._value.get() == 1
    await runner.close()


async def test_each_worker_runs_the_copy_on_its_own_device() -> None:
    scheduler, metrics = Scheduler(10_000), EngineMetrics()
    watchdog = Watchdog(EngineSettings(), Journal())
    devices = [SumBackend(padded=False, serial=True) for _ in range(2)]
    for each in devices:
        each.gate.clear()
    runner = Runner(
        scheduler,
        OutputCache(10_000),
        metrics,
        Places(3, 3),
        lambda place: ThreadWorker(place, metrics, watchdog),
    )
    runner.start()
    lane = Lane("model", devices[0], 1000, copies=devices[1:])
    ended: asyncio.Future[EngineError | None] = asyncio.get_running_loop().create_future()
    request = scheduler.open(lane, ended.set_result)
    scheduler.submit(request, {str(number).encode(): row(200, number) for number in range(10)})
    runner.wake()
    for each in devices:
        assert await asyncio.to_thread(each.entered.acquire, timeout=TIMEOUT_S), "both run at the same time"
    for each in devices:
        each.gate.set()
    assert await ended is None
    outputs = {key: float(job.output.values[0]) for key, job in request.jobs.items() if job.output}
    assert outputs == {str(number).encode(): number for number in range(10)}
    assert sum(len(batch) for each in devices for batch in each.batches) == 10
    await runner.close()


ACTIONS = st.one_of(
    st.tuples(st.just("submit"), st.lists(st.integers(0, 30), min_size=1, max_size=12), st.integers(1, 300)),
    st.tuples(st.sampled_from(["cancel", "answer", "lose", "forget", "refuse"]), st.integers(0, 20)),
    st.just(("settle",)),
)


@given(actions=st.lists(ACTIONS, max_size=40), count=st.integers(1, 3))
@examples(1)
def test_every_call_ends_once_whatever_workers_do(actions: Sequence[tuple[object, ...]], count: int) -> None:
    with patch.object(runner_module, "_HIRE_AGAIN_S", 0.0):
        asyncio.run(_play(actions, count))


async def _play(actions: Sequence[tuple[object, ...]], count: int) -> None:
    office = Office(count)
    office.runner.start()
    cancelled: set[int] = set()
    for action in actions:
        match action:
            case ("submit", list(firsts), int(length)):
                office.submit(firsts, length)
            case ("cancel", int(number)) if number in office.requests and not office.ends[number]:
                office.scheduler.cancel(office.requests[number])
                cancelled.add(number)
            case ("answer" | "lose" | "forget" as what, int(at)) if busy := office.busy():
                getattr(busy[at % len(busy)], what)()
            case ("refuse", _):
                office.refusals.append(True)
            case ("settle",):
                await settle()
    office.refusals.clear()
    await asyncio.sleep(0)  # for those who are asked for again
    await settle()
    while busy := office.busy():
        busy[0].answer()
        await settle()
    for number, ends in office.ends.items():
        assert len(ends) == (0 if number in cancelled else 1)
        if ends == [None]:
            request = office.requests[number]
            assert office.outputs(number) == [float(job.row.ids[0]) for job in request.jobs.values()]
    assert sum(office.scheduler.queued_tokens.values()) == 0
    await office.runner.close()


async def test_closing_ends_what_was_given_back(office: Office) -> None:
    numbers = [office.submit([first], length=90) for first in range(5)]
    await settle()
    closing = asyncio.create_task(office.runner.close())
    await settle()
    assert all(isinstance(office.ends[number][0], EngineClosedError) for number in numbers)
    for worker in office.busy():
        worker.lose()
    await closing
    assert all(worker.closed for worker in office.workers.values())
