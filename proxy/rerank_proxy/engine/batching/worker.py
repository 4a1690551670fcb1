"""Run batches on a thread of their own: the one kind of worker that there is so far."""

import asyncio
import logging
import time
from collections.abc import Callable, Sequence
from typing import Final, Protocol, TypeVar

import numpy as np

from rerank_proxy.concurrency.daemon_threads import DaemonThread
from rerank_proxy.engine.backends.protocol import Backend
from rerank_proxy.engine.batching.jobs import Job, JobState, Lane, about
from rerank_proxy.engine.errors import (
    EngineError,
    InferenceError,
    OutOfDeviceMemoryError,
    advice_for_numbers,
    inference_error,
)
from rerank_proxy.engine.hangs.watchdog import Watchdog
from rerank_proxy.engine.metrics import EngineMetrics
from rerank_proxy.engine.rows import Batch, Output, Values
from rerank_proxy.observe import stages

_log = logging.getLogger(__name__)

_MOST_FAILURES: Final = 24
"""Failed tries of one batch: enough to find rows at which a model fails, few for one that always does."""

_T = TypeVar("_T")
Outcome = tuple[Job, Output | EngineError]


class NotBegunError(Exception):
    """A worker was lost before it began a batch, which another may run."""


class Worker(Protocol):
    """Runs one batch after the other. Its methods belong to the event loop.

    `runner.py` needs no more of a worker than this, wherever it runs: rows go in, outputs come out.
    """

    async def run(self, lane: Lane, jobs: Sequence[Job], threads: int) -> Sequence[Outcome]:
        """Run jobs of one lane after what was given before. Return an outcome for each that was not given up.

        Args:
            threads: CPU threads that it may use.

        Raises:
            NotBegunError: The worker was lost before.
            Exception: It is lost with this batch. A failure of the model is an outcome, and not raised.
        """

    async def call(self, work: Callable[[], _T]) -> _T:
        """Run something else where the batches run, with all CPU threads."""

    def close(self) -> None:
        """Let the worker end after what it has begun. Does not wait."""


class ThreadWorker:
    """A `Worker` in this process. Operations of torch, which hold no lock, run side by side on several.

    Args:
        place: Its own: a model may have a copy for it.
        threads: CPU threads of all workers together, which the first batch of a model had.
        use_threads: Called on the thread with the CPU threads that what follows may use; None: all.

    Raises:
        RuntimeError: The system has no thread left.
    """

    def __init__(
        self,
        place: int,
        metrics: EngineMetrics,
        watchdog: Watchdog,
        threads: int = 1,
        use_threads: Callable[[int | None], None] = lambda limit: None,
    ) -> None:
        self._metrics = metrics
        self._watchdog = watchdog
        self._threads = threads
        self._use_threads = use_threads
        self._lost = False
        self._place = place
        self._thread = DaemonThread(f"engine-worker-{place}")
        self._thread.start()

    async def run(self, lane: Lane, jobs: Sequence[Job], threads: int) -> Sequence[Outcome]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._score, lane, jobs, threads)

    async def call(self, work: Callable[[], _T]) -> _T:
        def run() -> _T:
            self._use_threads(None)
            return work()

        return await asyncio.get_running_loop().run_in_executor(self._thread, run)

    def close(self) -> None:
        self._thread.shutdown()

    def _score(self, lane: Lane, jobs: Sequence[Job], threads: int) -> list[Outcome]:
        """Score a batch on the thread, without the rows given up since it was put together."""
        if self._lost:
            raise NotBegunError
        try:
            live = [job for job in jobs if job.state is JobState.TAKEN]
            if not live:
                return []
            began = stages.clock()
            for job in live:
                job.began = began
            self._use_threads(threads)
            pace_s = lane.pace_s * max(1.0, self._threads / threads)
            return self._score_apart(lane, pace_s, live, Batch.of([job.row for job in live]))
        except BaseException:
            self._lost = True
            raise

    def _score_apart(self, lane: Lane, pace_s: float, jobs: Sequence[Job], batch: Batch) -> list[Outcome]:
        """Score the batch, or else its halves, so that a row at which the model fails does so alone."""
        backend = lane.at(self._place) or lane.backend
        outcomes: list[Outcome] = []
        waiting, failed = [(jobs, batch)], 0
        while waiting:
            jobs, batch = waiting.pop()
            started = time.perf_counter()
            try:
                with self._watchdog.batch(lane.model, batch.padded_tokens, pace_s):
                    values = _score_in_memory(backend, batch)
            except Exception as error:  # Any exception of a model fails its rows, never the worker.
                failed += 1
                if failed == 1:
                    rows = len(batch)
                    _log.exception(
                        "model [%s]: a batch of %d rows failed", lane.model, rows, extra=about(jobs)
                    )
                    self._metrics.batches.failed.labels(lane.model).inc()
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
        lane.pace.observe(batch.padded_tokens if lane.backend.padded else batch.tokens, seconds)
        metrics, model = self._metrics.batches, lane.model
        metrics.run.labels(model).inc()
        metrics.seconds.labels(model).observe(seconds)
        metrics.tokens.labels(model).inc(batch.tokens)
        if lane.backend.padded:
            metrics.padding_tokens.labels(model).inc(batch.padded_tokens - batch.tokens)
        metrics.scored.labels(model).inc(len(batch))
        metrics.truncated.labels(model).inc(sum(job.row.truncated for job in jobs))


def _score_in_memory(backend: Backend, batch: Batch) -> Values:
    """Score the batch, in halves where the device has no room for the whole."""
    try:
        return backend.score(batch)
    except OutOfDeviceMemoryError:
        if len(batch) == 1:
            raise
    # Outside of the handler, which would keep the failed attempt's tensors alive.
    return [row for half in batch.split() for row in _score_in_memory(backend, half)]


def _outcomes(lane: Lane, jobs: Sequence[Job], values: Values) -> list[Outcome]:
    """Return one outcome per row: copies, so that a remembered row does not keep its whole batch."""
    finite = [bool(np.isfinite(row).all()) for row in values]
    broken = finite.count(False)
    error = InferenceError(
        f"model [{lane.model}] gave a score that is not a finite number for {broken} of {len(jobs)} texts; "
        f"{advice_for_numbers(lane.precision)}"
    )
    return [
        (job, Output(row.copy(), job.row.truncated) if fine else error)
        for job, row, fine in zip(jobs, values, finite, strict=True)
    ]
