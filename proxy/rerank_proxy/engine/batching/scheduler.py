"""The queue in front of one device. Pure logic on one thread: no clock, no I/O, no model.

A request holds the rows of one call. Its first tokens are served first come, first served, so that requests
of the usual size finish one after the other. What a large request needs beyond that goes to the back: large
requests take turns there and get a guaranteed share of the batches, so that neither kind starves the other.
(The idea of a multilevel feedback queue.)

The request whose turn it is leads the next batch, which `batch_builder` fills with its rows, longest first. A
batch that its request cannot fill is filled up with rows of others, as far as that costs little padding.
"""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Final

from rerank_proxy.engine.batching.batch_builder import BatchBuilder
from rerank_proxy.engine.batching.jobs import Job, JobState, Lane, ScoringRequest, length
from rerank_proxy.engine.errors import EngineError, QueueFullError
from rerank_proxy.engine.rows import Output, Row

CREDIT_BATCHES: Final = 4
"""Batches' worth of tokens that a request may have before it counts as large, and then in each turn."""

BACKGROUND_EVERY: Final = 4
"""One of so many batches is led by a large request while others wait as well."""


def _whole_budget(lane: Lane) -> int:
    return lane.budget_tokens


class Scheduler:
    """The queue in front of one device.

    Args:
        capacity_tokens: Tokens that may wait.
    """

    def __init__(self, capacity_tokens: int) -> None:
        self._capacity_tokens = capacity_tokens
        self._fresh: deque[ScoringRequest] = deque()
        self._large: deque[ScoringRequest] = deque()
        self._batches_since_large = 0
        self._jobs: dict[bytes, Job] = {}
        self._queued_tokens: dict[Lane, int] = {}
        self._queued_rows: dict[Lane, int] = {}

    @property
    def queued_tokens(self) -> Mapping[Lane, int]:
        """Tokens that wait, by lane."""
        return self._queued_tokens

    @property
    def queued_rows(self) -> Mapping[Lane, int]:
        """Rows that wait, by lane."""
        return self._queued_rows

    def open(self, lane: Lane, on_end: Callable[[EngineError | None], None]) -> ScoringRequest:
        """Return a new request without jobs: `join` and `submit` give it some, `cancel` gives it up.

        Raises:
            QueueFullError: The queue is full already.
        """
        if (waiting := self._waiting_tokens()) >= self._capacity_tokens:
            raise _overload(waiting, self._capacity_tokens)
        return ScoringRequest(lane, on_end, _credit(lane))

    def join(self, request: ScoringRequest, key: bytes) -> bool:
        """Share the job that another request has under way for this key. Return whether there is one."""
        job = self._jobs.get(key)
        if job is None:
            return False
        self._add(request, job)
        return True

    def submit(self, request: ScoringRequest, rows: Mapping[bytes, Row]) -> None:
        """Queue all of the rows or none. Share the jobs that others have queued meanwhile.

        Raises:
            QueueFullError: There is no room. The request is cancelled.
        """
        if request.ended:
            return  # A job that it shares has failed already.
        own = {key: row for key, row in rows.items() if key not in self._jobs}
        self._admit(request, sum(map(len, own.values())))
        for key, row in rows.items():
            if key in own:
                self._jobs[key] = Job(key, row, request.lane)
                self._count(self._jobs[key], 1)
            self._add(request, self._jobs[key])
        waiting = [job for job in request.jobs.values() if job.state is JobState.QUEUED]
        request.queue = sorted(waiting, key=length)
        request.submitted = True
        if request.unfinished == 0:
            request.end(None)
        elif request.queue:
            self._fresh.append(request)

    def check_size(self, tokens: int) -> None:
        """Refuse more tokens than there is ever room for.

        Raises:
            QueueFullError: There are so many.
        """
        if tokens > self._capacity_tokens:
            raise QueueFullError(
                f"the texts have {tokens} tokens, more than engine.queue_tokens ({self._capacity_tokens}): "
                "score fewer texts at once, for example with a smaller rank_window_size, or raise the setting"
            )

    def cancel(self, request: ScoringRequest) -> None:
        """Drop the jobs that only this request waits for. `on_end` is not called any more."""
        request.ended = True
        request.queue.clear()
        for job in request.jobs.values():
            if request in job.requests:
                job.requests.remove(request)
            if not job.requests and job.state in (JobState.QUEUED, JobState.TAKEN):
                if job.state is JobState.QUEUED:
                    self._count(job, -1)
                job.state = JobState.DROPPED
                del self._jobs[job.key]

    def next_batch(self, budget_tokens: Callable[[Lane], int] = _whole_budget) -> list[Job]:
        """Take the rows to run next out of the queue, all of one lane. Return none when nothing may run.

        Args:
            budget_tokens: Returns the tokens of a batch of the lane; 0 where none may run now.
        """
        lead = self._next_lead(lambda lane: budget_tokens(lane) > 0)
        if lead is None:
            return []
        builder = BatchBuilder(lead.lane, budget_tokens(lead.lane))
        self._move(lead, builder)
        self._put_back(lead, builder.cost_tokens)
        for other in self._others(lead):
            if builder.full:
                break
            self._move(other, builder)
        return builder.jobs

    def finish(self, outcomes: Sequence[tuple[Job, Output | EngineError]]) -> None:
        """Pass the outcomes of a batch to every request that waits for them."""
        for job, outcome in outcomes:
            if job.state is not JobState.TAKEN:
                continue  # Given up while it ran.
            if isinstance(outcome, Output):
                job.state, job.output = JobState.DONE, outcome
                del self._jobs[job.key]
                self._advance(job)
            else:
                self._fail(job, outcome)

    def abandon(self, error: EngineError, lane: Lane | None = None) -> None:
        """End every request with `error`, or those of one lane."""
        for job in tuple(self._jobs.values()):
            if lane is None or job.lane is lane:
                self._fail(job, error)

    def forget(self, lane: Lane) -> None:
        """Forget a lane in which nothing waits."""
        self._queued_tokens.pop(lane, None)
        self._queued_rows.pop(lane, None)

    def _advance(self, job: Job) -> None:
        for request in job.requests:
            request.unfinished -= 1
            if request.submitted and request.unfinished == 0:
                request.end(None)

    def _fail(self, job: Job, error: EngineError) -> None:
        for request in tuple(job.requests):
            request.end(error)
            self.cancel(request)

    def _admit(self, request: ScoringRequest, tokens: int) -> None:
        waiting = self._waiting_tokens()
        if tokens == 0 or waiting + tokens <= self._capacity_tokens:
            return
        self.cancel(request)
        self.check_size(tokens)
        raise _overload(waiting, self._capacity_tokens)

    def _add(self, request: ScoringRequest, job: Job) -> None:
        if job.key not in request.jobs:
            request.jobs[job.key] = job
            request.unfinished += 1
            job.requests.append(request)

    def _next_lead(self, may_run: Callable[[Lane], bool]) -> ScoringRequest | None:
        """Take the request whose turn it is out of its queue. Forget requests with nothing left to run."""
        fresh, large = _first(self._fresh, may_run), _first(self._large, may_run)
        if large is not None and (fresh is None or self._batches_since_large >= BACKGROUND_EVERY - 1):
            self._batches_since_large = 0
            self._large.remove(large)
            return large
        if fresh is not None:
            self._batches_since_large += 1
            self._fresh.remove(fresh)
        return fresh

    def _put_back(self, request: ScoringRequest, used_tokens: int) -> None:
        """Put a request at the front of its queue while it has credit, then at the back of the large ones."""
        request.credit_tokens -= used_tokens
        if request.credit_tokens <= 0:
            request.credit_tokens = _credit(request.lane)
            request.large = True
            self._large.append(request)
        else:
            (self._large if request.large else self._fresh).appendleft(request)

    def _others(self, lead: ScoringRequest) -> Iterator[ScoringRequest]:
        for requests in (self._fresh, self._large):
            for request in tuple(requests):
                if request is not lead and request.lane is lead.lane:
                    yield request

    def _move(self, request: ScoringRequest, builder: BatchBuilder) -> None:
        for job in builder.take(request):
            self._count(job, -1)

    def _waiting_tokens(self) -> int:
        return sum(self._queued_tokens.values())

    def _count(self, job: Job, sign: int) -> None:
        self._queued_rows[job.lane] = self._queued_rows.get(job.lane, 0) + sign
        self._queued_tokens[job.lane] = self._queued_tokens.get(job.lane, 0) + sign * length(job)


def _first(requests: deque[ScoringRequest], may_run: Callable[[Lane], bool]) -> ScoringRequest | None:
    """Return the first request of a lane that may run. Forget those before it with nothing left to run."""
    for request in tuple(requests):
        if not request.has_waiting():
            requests.remove(request)
        elif may_run(request.lane):
            return request
    return None


def _credit(lane: Lane) -> int:
    return CREDIT_BATCHES * lane.budget_tokens


def _overload(waiting: int, capacity: int) -> QueueFullError:
    return QueueFullError(
        f"the queue is full: {waiting} of {capacity} tokens (engine.queue_tokens) wait; try again later"
    )
