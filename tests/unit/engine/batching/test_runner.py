"""Between queue and device, with a device that adds up token ids."""

import asyncio
from collections.abc import AsyncIterator, Sequence

import numpy as np
import pytest

from rerank_proxy.engine.batching.cache import OutputCache
from rerank_proxy.engine.batching.jobs import JobState, Lane, ScoringRequest
from rerank_proxy.engine.batching.places import Places
from rerank_proxy.engine.batching.runner import Runner
from rerank_proxy.engine.batching.scheduler import Scheduler
from rerank_proxy.engine.batching.worker import ThreadWorker
from rerank_proxy.engine.errors import EngineClosedError, EngineError, InferenceError, OutOfDeviceMemoryError
from rerank_proxy.engine.hangs.journal import Journal
from rerank_proxy.engine.hangs.watchdog import Watchdog
from rerank_proxy.engine.metrics import EngineMetrics
from rerank_proxy.engine.rows import Batch
from rerank_proxy.settings import EngineSettings
from tests.support.raw_http import TIMEOUT_S
from tests.unit.engine.doubles import SumBackend, row

BUDGET = 200
"""So that the batches of small requests have at most 100 tokens."""


class Bench:
    """A runner over a backend, and calls to it."""

    def __init__(self) -> None:
        self.scheduler = Scheduler(10_000)
        self.cache = OutputCache(100_000)
        watchdog = Watchdog(EngineSettings(), Journal())
        metrics = EngineMetrics()
        self.runner = Runner(
            self.scheduler,
            self.cache,
            metrics,
            Places(),
            lambda place: ThreadWorker(place, metrics, watchdog),
        )
        self.lanes: dict[SumBackend, Lane] = {}

    def submit(
        self, backend: SumBackend, name: str, firsts: Sequence[int], length: int = 10
    ) -> tuple[ScoringRequest, "asyncio.Future[list[float]]"]:
        future: asyncio.Future[list[float]] = asyncio.get_running_loop().create_future()

        def end(error: EngineError | None) -> None:
            if error is None:
                future.set_result(
                    [float(job.output.values[0]) for job in request.jobs.values() if job.output]
                )
            else:
                future.set_exception(error)

        request = self.scheduler.open(self.lane(backend), end)
        rows = {f"{name}{first}".encode(): row(length, first) for first in firsts}
        self.scheduler.submit(request, rows)
        self.runner.wake()
        return request, future

    def lane(self, backend: SumBackend) -> Lane:
        return self.lanes.setdefault(backend, Lane("model", backend, BUDGET))

    async def score(
        self, backend: SumBackend, name: str, firsts: Sequence[int], length: int = 10
    ) -> list[float]:
        _, future = self.submit(backend, name, firsts, length)
        return await asyncio.wait_for(future, TIMEOUT_S)


@pytest.fixture
async def bench() -> AsyncIterator[Bench]:
    bench = Bench()
    bench.runner.start()
    yield bench
    await bench.runner.close()


async def entered(backend: SumBackend) -> None:
    """Wait until a batch has reached the device."""
    assert await asyncio.to_thread(backend.entered.acquire, timeout=TIMEOUT_S)


async def taken(request: ScoringRequest) -> None:
    """See that the request's rows are in a batch. The event loop needs a few turns for it, but no time."""
    for _ in range(10):
        await asyncio.sleep(0)
    assert all(job.state is JobState.TAKEN for job in request.jobs.values())


async def test_everyone_gets_their_own_outputs(bench: Bench) -> None:
    backend = SumBackend()
    calls = [bench.score(backend, name, range(start, start + 30)) for name, start in (("a", 0), ("b", 50))]
    assert await asyncio.gather(*calls) == [list(range(30)), list(range(50, 80))]


async def test_outputs_are_remembered(bench: Bench) -> None:
    await bench.score(SumBackend(), "a", [7])
    remembered = bench.cache.get(b"a7")
    assert remembered is not None
    assert remembered.values.tolist() == [7.0]
    assert remembered.values.base is None, "a remembered row keeps its whole batch in memory"


async def test_what_is_given_up_does_not_run(bench: Bench) -> None:
    backend = SumBackend(serial=True)
    backend.gate.clear()
    _, first = bench.submit(backend, "a", [1], length=90)
    await entered(backend)
    ready, _ = bench.submit(backend, "b", [2], length=90)
    await taken(ready)
    queued, _ = bench.submit(backend, "c", [3], length=90)
    bench.scheduler.cancel(ready)
    bench.scheduler.cancel(queued)
    backend.gate.set()
    await first
    assert await bench.score(backend, "d", [4]) == [4.0]
    assert [int(batch.ids.sum()) for batch in backend.batches] == [1, 4]


async def test_a_batch_goes_on_without_the_rows_given_up(bench: Bench) -> None:
    backend = SumBackend(serial=True)
    backend.gate.clear()
    _, first = bench.submit(backend, "a", [1], length=90)
    await entered(backend)
    cancelled, _ = bench.submit(backend, "b", [2], length=20)
    same_batch, kept = bench.submit(backend, "c", [3], length=20)
    await taken(same_batch)
    bench.scheduler.cancel(cancelled)
    backend.gate.set()
    assert (await first, await kept) == ([1.0], [3.0])
    assert [int(batch.ids.sum()) for batch in backend.batches] == [1, 3]


async def test_a_batch_too_large_for_the_device_is_halved(bench: Bench) -> None:
    def no_room(batch: Batch) -> None:
        if len(batch) > 2:
            raise OutOfDeviceMemoryError("no room")

    backend = SumBackend(before=no_room)
    assert await bench.score(backend, "a", range(10)) == list(range(10))
    assert max(len(batch) for batch in backend.batches if len(batch) <= 2) == 2


async def test_a_row_too_large_for_the_device_is_an_error(bench: Bench) -> None:
    def no_room(batch: Batch) -> None:
        raise OutOfDeviceMemoryError("no room")

    with pytest.raises(InferenceError, match="does not fit in the device's memory"):
        await bench.score(SumBackend(before=no_room), "a", [1, 2])


async def test_a_broken_batch_fails_its_callers_alone(bench: Bench) -> None:
    def sevens_break(batch: Batch) -> None:
        if 7 in batch.ids:
            raise ValueError("sevens are not supported\nand more")

    backend = SumBackend(before=sevens_break)
    with pytest.raises(InferenceError, match=r"^ValueError: sevens are not supported$"):
        await bench.score(backend, "a", [7])
    assert await bench.score(backend, "a", [8]) == [8.0]


@pytest.mark.parametrize("broken", [np.nan, np.inf])
async def test_a_score_that_is_not_a_number_is_an_error_and_not_cached(bench: Bench, broken: float) -> None:
    class Broken(SumBackend):
        def score(self, batch: Batch) -> "np.ndarray[tuple[int, ...], np.dtype[np.float32]]":
            values = super().score(batch)
            values[values == 7] = broken
            return values

    backend = Broken()
    first, second = bench.submit(backend, "a", [7, 8])[1], bench.submit(backend, "b", [9])[1]
    with pytest.raises(InferenceError, match=r"not a finite number for 1 of 3 texts; .*copy the model again"):
        await first
    assert await second == [9.0]
    assert bench.cache.get(b"a7") is None
    assert bench.cache.get(b"a8") is not None


@pytest.mark.parametrize("broken", [{7}, {1, 10}, {3, 4, 5}])
async def test_what_is_in_a_batch_with_a_broken_row_is_scored(bench: Bench, broken: set[int]) -> None:
    def some_break(batch: Batch) -> None:
        if broken.intersection(batch.ids.tolist()):
            raise ValueError("not supported")

    backend = SumBackend(before=some_break)
    calls = {first: bench.submit(backend, f"{first}:", [first])[1] for first in range(1, 11)}
    for first, call in calls.items():
        if first in broken:
            with pytest.raises(InferenceError, match="not supported"):
                await call
        else:
            assert await call == [first]
    assert max(map(len, backend.batches)) == 10


async def test_a_model_that_always_fails_is_not_asked_for_each_row(bench: Bench) -> None:
    def breaks(batch: Batch) -> None:
        raise ValueError("no")

    backend = SumBackend(before=breaks)
    with pytest.raises(InferenceError, match="no"):
        await bench.score(backend, "a", range(1, 101), length=1)
    assert len(backend.batches) < 30


async def test_closing_ends_what_waits_and_what_runs() -> None:
    bench, backend = Bench(), SumBackend()
    bench.runner.start()
    backend.gate.clear()
    running, first = bench.submit(backend, "a", [1], length=90)
    await entered(backend)
    _, second = bench.submit(backend, "b", [2], length=90)
    closing = asyncio.create_task(bench.runner.close())
    for future in (first, second):
        with pytest.raises(EngineClosedError):
            await future
    backend.gate.set()
    await closing
    assert all(job.state is JobState.DROPPED for job in running.jobs.values())
