"""Which rows run next. Pure logic on one thread: no clock, no I/O, no model.

A request is the rows of one rerank call. Its first tokens are served first come, first served, so that
requests of the usual size finish one after the other. What a large request wants beyond that goes to the
back: large requests take turns there and get a guaranteed share of the batches, so that neither kind starves
the other. (The idea of a multilevel feedback queue.)

Rows are taken longest first, and a batch that its request cannot fill is filled up with rows of others, as
far as that does not cost much padding.
"""

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Final

from rerank_proxy.engine.batching.backend import Backend
from rerank_proxy.engine.batching.batch import Row
from rerank_proxy.engine.batching.cache import Output
from rerank_proxy.engine.errors import EngineError, QueueFullError

CREDIT_BATCHES: Final = 4
"""Batches' worth of tokens that a request may have before it counts as large, and then in each turn."""

BACKGROUND_EVERY: Final = 4
"""One of so many batches is led by a large request while others wait as well."""

MAX_PADDING_RATIO: Final = 0.25
"""Padding in a batch, relative to its padded size …"""

FREE_PADDING_RATIO: Final = 1 / 32
"""… unless it is less than this part of the budget: then a batch more would cost more than the padding."""


@dataclass(slots=True, eq=False)
class Lane:
    """A model's part of the queue. Rows of different lanes never share a batch."""

    model: str
    backend: Backend
    budget_tokens: int
    """Tokens of one batch, padding included; one row alone may be longer."""
    threads: int | None = None
    """The most CPU threads of one batch; None: as many as there are. May change at any time."""
    pace_s: float = 0.0
    """Seconds that the model needs for a token, as far as is known."""
    dtype: str = "float32"
    """What it calculates in."""


class JobState(Enum):
    QUEUED = "queued"
    TAKEN = "taken"
    DONE = "done"
    DROPPED = "dropped"


@dataclass(slots=True, eq=False)
class Job:
    """A row to run once, for everyone who asks for it meanwhile."""

    key: bytes
    row: Row
    lane: Lane
    state: JobState = JobState.QUEUED
    requests: list["Request"] = field(default_factory=list)
    output: Output | None = None


@dataclass(slots=True, eq=False)
class Request:
    """The jobs of one call. `on_end` is called at most once: with None, or with what went wrong."""

    lane: Lane
    on_end: Callable[[EngineError | None], None]
    credit_tokens: int
    large: bool = False
    jobs: dict[bytes, Job] = field(default_factory=dict)
    queue: list[Job] = field(default_factory=list)
    """The jobs that may still wait, shortest first. One that is shared may have been taken already."""
    unfinished: int = 0
    submitted: bool = False
    ended: bool = False


class Scheduler:
    """The queue in front of one device.

    Args:
        capacity_tokens: Tokens that may wait.
    """

    def __init__(self, capacity_tokens: int) -> None:
        self._capacity_tokens = capacity_tokens
        self._fresh: deque[Request] = deque()
        self._large: deque[Request] = deque()
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

    def open(self, lane: Lane, on_end: Callable[[EngineError | None], None]) -> Request:
        """A new request without jobs: `join` and `submit` give it some, `cancel` gives it up.

        Raises:
            QueueFullError: The queue is full, whatever the request would add.
        """
        if (waiting := self._waiting_tokens()) >= self._capacity_tokens:
            raise _overload(waiting, self._capacity_tokens)
        return Request(lane, on_end, _credit(lane))

    def join(self, request: Request, key: bytes) -> bool:
        """Share the job that another request has under way for the same key. False when there is none."""
        job = self._jobs.get(key)
        if job is None:
            return False
        self._add(request, job)
        return True

    def submit(self, request: Request, rows: Mapping[bytes, Row]) -> None:
        """Queue the rows, all of them or none. What others have queued meanwhile is shared.

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
        request.queue = sorted(waiting, key=_length)
        request.submitted = True
        if request.unfinished == 0:
            _end(request, None)
        elif request.queue:
            self._fresh.append(request)

    def check_size(self, tokens: int) -> None:
        """Raises:
        QueueFullError: So many are more than there is ever room for.
        """
        if tokens > self._capacity_tokens:
            raise QueueFullError(
                f"the texts have {tokens} tokens, more than engine.queue_tokens ({self._capacity_tokens}): "
                "score fewer texts at once, for example with a smaller rank_window_size, or raise the setting"
            )

    def cancel(self, request: Request) -> None:
        """Drop what only this request waits for. `on_end` is not called any more."""
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

    def next_batch(self) -> list[Job]:
        """The rows to run next: of one lane, within the budget, longest first. Empty when nothing waits."""
        lead = self._next_lead()
        if lead is None:
            return []
        draft = _Draft(lead.lane)
        self._move(lead, draft)
        self._put_back(lead, draft.cost_tokens)
        for other in self._others(lead):
            if draft.full:
                break
            self._move(other, draft)
        return draft.jobs

    def finish(self, outcomes: Sequence[tuple[Job, Output | EngineError]]) -> None:
        """Tell everyone who waits for the jobs of a batch."""
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
        """Let go of a lane for which nothing waits."""
        self._queued_tokens.pop(lane, None)
        self._queued_rows.pop(lane, None)

    def _advance(self, job: Job) -> None:
        for request in job.requests:
            request.unfinished -= 1
            if request.submitted and request.unfinished == 0:
                _end(request, None)

    def _fail(self, job: Job, error: EngineError) -> None:
        for request in tuple(job.requests):
            _end(request, error)
            self.cancel(request)

    def _admit(self, request: Request, tokens: int) -> None:
        waiting = self._waiting_tokens()
        if tokens == 0 or waiting + tokens <= self._capacity_tokens:
            return
        self.cancel(request)
        self.check_size(tokens)
        raise _overload(waiting, self._capacity_tokens)

    def _add(self, request: Request, job: Job) -> None:
        if job.key not in request.jobs:
            request.jobs[job.key] = job
            request.unfinished += 1
            job.requests.append(request)

    def _next_lead(self) -> Request | None:
        """Whose turn it is, taken out of its queue. Requests with nothing left to run are forgotten."""
        for requests in (self._fresh, self._large):
            while requests and not _has_waiting(requests[0]):
                requests.popleft()
        if self._large and (not self._fresh or self._batches_since_large >= BACKGROUND_EVERY - 1):
            self._batches_since_large = 0
            return self._large.popleft()
        if not self._fresh:
            return None
        self._batches_since_large += 1
        return self._fresh.popleft()

    def _put_back(self, request: Request, used_tokens: int) -> None:
        """To the front of its queue while it has credit, then to the back of the large ones."""
        request.credit_tokens -= used_tokens
        if request.credit_tokens <= 0:
            request.credit_tokens = _credit(request.lane)
            request.large = True
            self._large.append(request)
        else:
            (self._large if request.large else self._fresh).appendleft(request)

    def _others(self, lead: Request) -> Iterator[Request]:
        for requests in (self._fresh, self._large):
            for request in tuple(requests):
                if request is not lead and request.lane is lead.lane:
                    yield request

    def _move(self, request: Request, draft: "_Draft") -> None:
        """Move rows from the request to the draft, longest first, until one does not fit."""
        queue = request.queue
        at = len(queue) if draft.any_length else bisect_right(queue, draft.longest, key=_length)
        while at > 0:
            job = queue[at - 1]
            if job.state is JobState.QUEUED:
                if not draft.add(job):
                    return
                job.state = JobState.TAKEN
                self._count(job, -1)
            at -= 1
            del queue[at]

    def _waiting_tokens(self) -> int:
        return sum(self._queued_tokens.values())

    def _count(self, job: Job, sign: int) -> None:
        self._queued_rows[job.lane] = self._queued_rows.get(job.lane, 0) + sign
        self._queued_tokens[job.lane] = self._queued_tokens.get(job.lane, 0) + sign * len(job.row)


class _Draft:
    """A batch in the making."""

    def __init__(self, lane: Lane) -> None:
        self.jobs: list[Job] = []
        self.longest = 0
        self._padded = lane.backend.padded
        self._budget_tokens = lane.budget_tokens
        self._tokens = 0

    @property
    def any_length(self) -> bool:
        """Whether a row longer than those already here may come in."""
        return not self._padded or not self.jobs

    @property
    def cost_tokens(self) -> int:
        return len(self.jobs) * self.longest if self._padded else self._tokens

    @property
    def full(self) -> bool:
        return self.cost_tokens >= self._budget_tokens

    def add(self, job: Job) -> bool:
        """Take the job in, unless the batch would grow too large or too hollow. The first one always fits."""
        length = len(job.row)
        if self.jobs and not self._fits(length):
            return False
        self.jobs.append(job)
        self.longest = max(self.longest, length)
        self._tokens += length
        return True

    def _fits(self, length: int) -> bool:
        tokens = self._tokens + length
        cost = (len(self.jobs) + 1) * max(self.longest, length) if self._padded else tokens
        padding = cost - tokens
        hollow = padding > MAX_PADDING_RATIO * cost and padding > FREE_PADDING_RATIO * self._budget_tokens
        return cost <= self._budget_tokens and not hollow


def _credit(lane: Lane) -> int:
    return CREDIT_BATCHES * lane.budget_tokens


def _length(job: Job) -> int:
    return len(job.row)


def _has_waiting(request: Request) -> bool:
    queue = request.queue
    while queue and queue[-1].state is not JobState.QUEUED:
        queue.pop()
    return bool(queue)


def _end(request: Request, error: EngineError | None) -> None:
    if not request.ended:
        request.ended = True
        request.on_end(error)


def _overload(waiting: int, capacity: int) -> QueueFullError:
    return QueueFullError(
        f"the queue is full: {waiting} of {capacity} tokens (engine.queue_tokens) wait; try again later"
    )
