"""Keep the device busy: take batches from the scheduler, run them on a thread, hand the outputs back."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from rerank_proxy.concurrency.daemon_threads import DaemonThread
from rerank_proxy.concurrency.tasks import BackgroundTasks
from rerank_proxy.engine.backends.protocol import Backend
from rerank_proxy.engine.batching.cache import OutputCache
from rerank_proxy.engine.batching.jobs import Job, JobState, Lane
from rerank_proxy.engine.batching.scheduler import Scheduler
from rerank_proxy.engine.errors import (
    EngineClosedError,
    EngineError,
    InferenceError,
    OutOfDeviceMemoryError,
    advice_for_numbers,
    inference_error,
)
from rerank_proxy.engine.hangs.watchdog import Watchdog
from rerank_proxy.engine.metrics import EngineMetrics
from rerank_proxy.engine.rows import Batch, Output

_log = logging.getLogger(__name__)

_BATCHES_AHEAD: Final = 2
"""One batch runs while the next is prepared."""

_MOST_FAILURES: Final = 24
"""Failed tries of one batch: enough to find rows at which a model fails, few for one that always does."""

_CLOSE_S: Final = 2.0
"""Seconds for the batches under way when the engine is closed: one that never returns must not delay that."""

_T = TypeVar("_T")
Outcome = tuple[Job, Output | EngineError]


class Runner:
    """The loop between one scheduler and one device.

    All state changes happen on the event loop; the two threads see rows and arrays only.

    Args:
        use_threads: Called on the device's thread with the most CPU threads that what follows may take.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        cache: OutputCache,
        metrics: EngineMetrics,
        watchdog: Watchdog,
        use_threads: Callable[[int | None], None] | None = None,
    ) -> None:
        self._scheduler = scheduler
        self._cache = cache
        self._metrics = metrics
        self._watchdog = watchdog
        self._use_threads = use_threads or _leave_threads
        self._device = DaemonThread("engine-device")
        self._stage = DaemonThread("engine-batches")
        self._slots = asyncio.Semaphore(_BATCHES_AHEAD)
        self._work = asyncio.Event()
        self._batches = BackgroundTasks()
        self._loop = BackgroundTasks()

    def start(self) -> None:
        """Begin to take batches."""
        self._loop.start(self._run(), name="engine-runner")

    async def on_device(self, work: Callable[[], _T]) -> _T:
        """Run something else on the device's thread, such as a first batch, with all CPU threads."""

        def run() -> _T:
            self._use_threads(None)
            return work()

        return await asyncio.get_running_loop().run_in_executor(self._device, run)

    def wake(self) -> None:
        """Take batches again: something was queued."""
        self._work.set()

    async def close(self) -> None:
        """End all requests. Return when the device is idle, or after `_CLOSE_S` seconds."""
        await self._loop.cancel()
        self._scheduler.abandon(EngineClosedError("the engine was closed"))
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await self._batches.finish()
        await self._batches.cancel()
        self._stage.shutdown()
        self._device.shutdown()

    async def _run(self) -> None:
        while True:
            await self._slots.acquire()
            self._begin_batch(await self._take())

    def _begin_batch(self, jobs: list[Job]) -> None:
        # Not in the loop, whose variables would keep the last batch and its model alive while nothing comes.
        task = self._batches.start(self._run_batch(jobs))
        task.add_done_callback(lambda _: self._slots.release())

    async def _take(self) -> list[Job]:
        while not (jobs := self._scheduler.next_batch()):
            self._work.clear()
            await self._work.wait()
        return jobs

    async def _run_batch(self, jobs: list[Job]) -> None:
        loop = asyncio.get_running_loop()
        lane = jobs[0].lane
        try:
            batch = await loop.run_in_executor(self._stage, Batch.of, [job.row for job in jobs])
            outcomes = await loop.run_in_executor(self._device, self._score, lane, jobs, batch)
        except Exception as error:  # A bug here must not leave callers waiting for ever.
            _log.exception("model [%s]: a batch was lost", lane.model)
            outcomes = [(job, inference_error(error)) for job in jobs]
        for job, outcome in outcomes:
            if isinstance(outcome, Output):
                self._cache.put(job.key, outcome)
        self._scheduler.finish(outcomes)

    def _score(self, lane: Lane, jobs: Sequence[Job], batch: Batch) -> list[Outcome]:
        """Score a batch on the device's thread, without the rows given up since it was put together."""
        live = [job for job in jobs if job.state is JobState.TAKEN]
        if not live:
            return []
        if len(live) < len(jobs):
            batch = Batch.of([job.row for job in live])
        self._use_threads(lane.threads)
        return self._score_apart(lane, live, batch)

    def _score_apart(self, lane: Lane, jobs: Sequence[Job], batch: Batch) -> list[Outcome]:
        """Score the batch, or else its halves, so that a row at which the model fails does so alone."""
        outcomes: list[Outcome] = []
        waiting, failed = [(jobs, batch)], 0
        while waiting:
            jobs, batch = waiting.pop()
            started = time.perf_counter()
            try:
                with self._watchdog.batch(lane.model, batch.padded_tokens, lane.pace_s):
                    values = _score_in_memory(lane.backend, batch)
            except Exception as error:  # Any exception of a model fails its rows, never the thread.
                failed += 1
                if failed == 1:
                    _log.exception("model [%s]: a batch of %d rows failed", lane.model, len(batch))
                    self._metrics.failed_batches.labels(lane.model).inc()
                if len(jobs) == 1 or failed >= _MOST_FAILURES:
                    outcomes += [(job, inference_error(error)) for job in jobs]
                else:
                    half = len(jobs) // 2
                    first, second = batch.split()
                    waiting += [(jobs[half:], second), (jobs[:half], first)]
            else:
                self._observe(lane, jobs, batch, time.perf_counter() - started)
                outcomes += _outcomes(lane, jobs, values)
        return outcomes

    def _observe(self, lane: Lane, jobs: Sequence[Job], batch: Batch, seconds: float) -> None:
        metrics, model = self._metrics, lane.model
        metrics.batches.labels(model).inc()
        metrics.batch_seconds.labels(model).observe(seconds)
        metrics.batch_tokens.labels(model).inc(batch.tokens)
        if lane.backend.padded:
            metrics.padding_tokens.labels(model).inc(batch.padded_tokens - batch.tokens)
        metrics.scored.labels(model).inc(len(batch))
        metrics.truncated.labels(model).inc(sum(job.row.truncated for job in jobs))


def _leave_threads(limit: int | None) -> None:
    """Leave the number of threads as it is."""


def _score_in_memory(backend: Backend, batch: Batch) -> NDArray[np.float32]:
    """Score the batch, in halves where the device has no room for the whole."""
    try:
        return backend.score(batch)
    except OutOfDeviceMemoryError:
        if len(batch) == 1:
            raise
    # Outside of the handler, which would keep the failed attempt's tensors alive.
    return np.concatenate([_score_in_memory(backend, half) for half in batch.split()])


def _outcomes(lane: Lane, jobs: Sequence[Job], values: NDArray[np.float32]) -> list[Outcome]:
    """Return one outcome per row: copies, so that a remembered row does not keep its whole batch."""
    broken = int(len(jobs) - np.isfinite(values).all(axis=1).sum())
    error = InferenceError(
        f"the model gave a score that is not a finite number for {broken} of {len(jobs)} texts; "
        f"{advice_for_numbers(lane.precision)}"
    )
    return [
        (job, Output(row.copy(), job.row.truncated) if np.isfinite(row).all() else error)
        for job, row in zip(jobs, values, strict=True)
    ]
