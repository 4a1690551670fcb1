"""Keep the workers busy: take batches from the scheduler, have workers run them, hand the outputs back."""

import asyncio
import logging
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Final, TypeVar

from rerank_proxy.concurrency.tasks import BackgroundTasks
from rerank_proxy.concurrency.timers import Timers
from rerank_proxy.engine.batching.cache import OutputCache
from rerank_proxy.engine.batching.jobs import Job, JobState, Lane, about
from rerank_proxy.engine.batching.places import Placed, Places
from rerank_proxy.engine.batching.scheduler import Scheduler
from rerank_proxy.engine.batching.worker import NotBegunError, Outcome, Worker
from rerank_proxy.engine.errors import EngineClosedError, InferenceError, inference_error
from rerank_proxy.engine.metrics import EngineMetrics
from rerank_proxy.engine.rows import Output
from rerank_proxy.observe import request_id, stages

_log = logging.getLogger(__name__)

_CLOSE_S: Final = 2.0
"""Seconds for the batches under way when the engine is closed: one that never returns must not delay that."""

_HIRE_AGAIN_S: Final = 1.0
"""Seconds until a worker that could not be had is asked for again."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class WorkerStatus:
    """How many workers there are."""

    running: int
    missing: int
    """Those that are lost and could not be replaced yet."""


class Runner:
    """The loop between one scheduler and the workers. All of it happens on the event loop.

    Args:
        places: One for each worker.
        hire: Returns a new worker for a place. What it raises is logged, and it is called again later.
    """

    def __init__(
        self,
        scheduler: Scheduler,
        cache: OutputCache,
        metrics: EngineMetrics,
        places: Places,
        hire: Callable[[int], Worker],
    ) -> None:
        self._scheduler = scheduler
        self._cache = cache
        self._metrics = metrics
        self._places = places
        self._hire = hire
        self._workers: dict[int, Worker] = {}
        self._returned: list[list[Job]] = []
        self._timers = Timers()
        self._batches = BackgroundTasks()
        self._other_work = asyncio.Lock()
        self._open = False
        self._woken = False

    @property
    def workers(self) -> WorkerStatus:
        """Return how many workers there are, and how many are missing."""
        missing = self._places.empty
        return WorkerStatus(len(self._places) - missing, missing)

    def start(self) -> None:
        """Begin to take batches."""
        self._open = True
        for place in range(len(self._places)):
            self._fill(place)

    async def on_device(self, work: Callable[[], _T]) -> _T:
        """Have the first worker run something else, such as a first batch, with all CPU threads.

        It has no batches meanwhile; those of other workers go on. Between two such pieces of work it has a
        batch, if one waits for it: some run nowhere else.

        Raises:
            InferenceError: There is no such worker now.
        """
        async with self._other_work:
            worker = self._workers.get(0)
            if worker is None:
                raise InferenceError("the engine has no worker for it now; try again in a moment")
            try:
                with self._places.kept_free(0):
                    return await worker.call(work)
            finally:
                self._take_batches()

    def wake(self) -> None:
        """Take batches again: something was queued, or a worker has room."""
        if self._open and not self._woken:
            self._woken = True
            asyncio.get_running_loop().call_soon(self._take_batches)

    async def close(self) -> None:
        """End all requests. Return when the workers are idle, or after `_CLOSE_S` seconds."""
        self._open = False
        self._timers.cancel()
        self._scheduler.abandon(EngineClosedError("the engine was closed"))
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await self._batches.finish()
        await self._batches.cancel()
        for worker in self._workers.values():
            worker.close()

    def _take_batches(self) -> None:
        self._woken = False
        while self._open and (jobs := self._next_batch()):
            placed = self._places.put(jobs, self._waiting_tokens())
            task = self._batches.start(self._run(placed, jobs))
            task.add_done_callback(partial(self._ended, placed))

    def _next_batch(self) -> list[Job]:
        waiting_tokens = self._waiting_tokens()

        def budget_tokens(lane: Lane) -> int:
            return self._places.budget_tokens(lane, waiting_tokens)

        for at, jobs in enumerate(self._returned):
            if budget_tokens(jobs[0].lane):
                return self._returned.pop(at)
        return self._scheduler.next_batch(budget_tokens, self._places.part_tokens)

    def _waiting_tokens(self) -> int:
        return sum(self._scheduler.queued_tokens.values())

    def _ended(self, placed: Placed, _: asyncio.Task[None]) -> None:
        self._places.end(placed)
        self.wake()

    async def _run(self, placed: Placed, jobs: list[Job]) -> None:
        worker = self._workers[placed.place]
        request_id.current.set(None)  # a batch is for several requests, not for that which woke the queue
        try:
            outcomes = await worker.run(placed.lane, jobs, placed.threads)
        except NotBegunError:
            self._returned.append(jobs)
        except Exception as error:  # A bug here must not leave callers waiting for ever.
            model = placed.lane.model
            _log.exception("model [%s]: a worker was lost with a batch", model, extra=about(jobs))
            self._finish(jobs, [(job, inference_error(error)) for job in jobs])
            self._replace(placed.place, worker)
        else:
            self._finish(jobs, outcomes)

    def _finish(self, jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> None:
        _note_run(jobs)
        for job, outcome in outcomes:
            if isinstance(outcome, Output):
                self._cache.put(job.key, outcome)
        given = {job.key for job, _ in outcomes}
        forgotten = [job for job in jobs if job.state is JobState.TAKEN and job.key not in given]
        if forgotten:
            _log.error("model [%s]: a worker gave no outcome for %d rows", jobs[0].lane.model, len(forgotten))
        error = InferenceError("the worker gave no outcome")
        self._scheduler.finish([*outcomes, *((job, error) for job in forgotten)])

    def _replace(self, place: int, lost: Worker) -> None:
        if self._workers.get(place) is not lost:
            return  # It has been replaced, for an earlier batch.
        lost.close()
        del self._workers[place]
        self._metrics.batches.lost_workers.inc()
        if self._open:
            self._fill(place)

    def _fill(self, place: int) -> None:
        """Put a worker at a place, or try again later."""
        try:
            self._workers[place] = self._hire(place)
        except Exception:  # The system may have no threads or no memory for now.
            _log.exception("worker %d cannot be started; it is tried again", place)
            self._places.leave(place)
            self._timers.start(f"worker {place}", _HIRE_AGAIN_S, lambda: self._fill(place))
        else:
            self._places.fill(place)
            self.wake()
        self._metrics.batches.workers.set(len(self._workers))


def _note_run(jobs: Sequence[Job]) -> None:
    """Tell the requests of a batch when it ran; it ends now."""
    began = next((job.began for job in jobs if job.began is not None), None)
    if began is not None:
        ran = (began, stages.clock())
        for request in {request for job in jobs for request in job.requests}:
            request.ran.append(ran)
