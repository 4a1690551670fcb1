"""The queue in front of one device. Pure logic on one thread: no I/O, no model, and no clock of its own.

A request holds the rows of one call. The request leads the next batch that would end first if all callers had
equal shares of the device, and all requests of a caller equal shares of its own (`callers.py`; `shares.py`
says how long each has to wait at most): small ones overtake large ones, yet none has to wait longer than with
equal shares, but for the batches that run already. A batch is a small part of the request that leads it
(`batch_builder.limit_tokens`), so that a small request soon has its turn. With ever more small ones, equal
shares would become as good as none, so the oldest request has a part of the device in any case. A batch that
its request cannot fill is filled up with rows of others of about the same size, as far as that costs little
padding.

Several batches may run at the same time. Those that a large request begins with are of different sizes, so
that they do not all end at the same time, and a small request that comes then soon has its turn.

A request that cannot be done by its deadline is refused, or given up, before work is spent on it.
"""

import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from math import ceil
from typing import Final

from rerank_proxy.engine.batching.batch_builder import BatchBuilder, enough_tokens, first_part, limit_tokens
from rerank_proxy.engine.batching.callers import Turns
from rerank_proxy.engine.batching.jobs import Job, JobState, Lane, ScoringRequest, length
from rerank_proxy.engine.batching.refusals import check_room, too_large, unreachable
from rerank_proxy.engine.batching.room import Room
from rerank_proxy.engine.errors import DeadlineUnreachableError, EngineError, QueueFullError
from rerank_proxy.engine.rows import Output, Row

DEADLINE_MARGIN: Final = 1.5
"""A request is refused if it is predicted to take so many times as long as there is time."""

OLDEST_SHARE: Final = 1 / 8
"""The oldest request has at least so much of the device, however many others overtake it."""

FILL_RATIO: Final = 4
"""A batch is filled up with rows of requests that are at most so many times as large as the one that leads
it: a larger one would delay a small one by more than its own work."""


def _whole_budget(lane: Lane) -> int:
    return lane.budget_tokens


def _all_tokens(_: Lane, tokens: int) -> int:
    return tokens


class Scheduler:
    """The queue in front of one device.

    Args:
        capacity_tokens: Tokens that may wait.
        clock: Tells the time, in seconds, that deadlines refer to.
        side_by_side: How many batches run at the same time.
        share: The part of the capacity that one caller may have while others wait.
    """

    def __init__(
        self,
        capacity_tokens: int,
        clock: Callable[[], float] = time.monotonic,
        side_by_side: int = 1,
        share: float = 1.0,
    ) -> None:
        self.side_by_side = side_by_side
        self._room = Room(capacity_tokens, share)
        self._clock = clock
        self._turns = Turns()
        self._arrivals: OrderedDict[ScoringRequest, None] = OrderedDict()
        """The same in the order in which they came."""
        self._since_oldest_tokens = 0.0
        self._running = 0
        self._jobs: dict[tuple[Lane, bytes], Job] = {}
        """By lane too: a model that is loaded again, or twice, has the same keys in another lane, and a
        request's jobs wait in its own lane alone."""
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

    def open(
        self,
        lane: Lane,
        on_end: Callable[[EngineError | None], None],
        deadline: float | None = None,
        caller: bytes = b"",
    ) -> ScoringRequest:
        """Return a new request without jobs: `join` and `submit` give it some, `cancel` gives it up.

        Raises:
            QueueFullError: The queue is full already.
        """
        check_room(self._room, caller, 1, self.wait_s)
        return ScoringRequest(lane, on_end, deadline, caller)

    def join(self, request: ScoringRequest, key: bytes) -> bool:
        """Share the job that another request of the lane has under way. Return whether there is one."""
        job = self._jobs.get((request.lane, key))
        if job is None:
            return False
        self._add(request, job)
        return True

    def has(self, lane: Lane, key: bytes) -> bool:
        """Return whether a job of this key is under way in the lane."""
        return (lane, key) in self._jobs

    def submit(self, request: ScoringRequest, rows: Mapping[bytes, Row], later_tokens: int = 0) -> None:
        """Queue all of the rows or none. Share the jobs that others have queued meanwhile.

        Args:
            later_tokens: Tokens that further requests of the same call will have.

        Raises:
            QueueFullError: There is no room, or no time. The request is cancelled.
        """
        if request.ended:
            return  # A job that it shares has failed already.
        own = {key: row for key, row in rows.items() if not self.has(request.lane, key)}
        self._admit(request, sum(map(len, own.values())), later_tokens)
        new = {(request.lane, key): Job(key, row, request.lane, request.caller) for key, row in own.items()}
        self._jobs |= new
        self._count(request.lane, new.values())
        for key in rows:
            self._add(request, self._jobs[request.lane, key])
        waiting = [job for job in request.jobs.values() if job.state is JobState.QUEUED]
        request.queue = sorted(waiting, key=length)
        request.size_tokens = request.waiting_tokens = sum(job.tokens for job in waiting)
        request.submitted = True
        if request.unfinished == 0:
            request.end(None)
        elif request.queue:
            self._turns.enter(request, request.lane.work(request.size_tokens))
            self._arrivals[request] = None

    def check_size(self, tokens: int) -> None:
        """Refuse more tokens than there is ever room for.

        Raises:
            QueueFullError: There are so many.
        """
        if tokens > self._room.capacity:
            raise too_large(tokens, self._room.capacity)

    def cancel(self, request: ScoringRequest) -> None:
        """Drop the jobs that only this request waits for. `on_end` is not called any more."""
        request.ended = True
        if request.submitted and request.waiting_tokens > 0:
            self._turns.give_up(request)
        self._leave_queue(request)
        request.queue.clear()
        for job in request.jobs.values():
            if request in job.requests:
                job.requests.remove(request)
            if not job.requests and job.state in (JobState.QUEUED, JobState.TAKEN):
                if job.state is JobState.QUEUED:
                    self._count(job.lane, [job], -1)
                job.state = JobState.DROPPED
                del self._jobs[job.lane, job.key]

    def check_time(self, lane: Lane, tokens: float, deadline: float | None, caller: bytes = b"") -> None:
        """Refuse a call with about so many tokens, all of which have to run, if its deadline is out of reach.

        Raises:
            DeadlineUnreachableError: It is.
        """
        if deadline is None or not lane.pace.known:
            return
        ahead_s = self._ahead_s(lane, tokens, caller)
        own_s = self._run_s(lane, tokens)
        left_s = deadline - self._clock()
        if ahead_s + own_s > DEADLINE_MARGIN * left_s:
            raise unreachable(tokens, own_s, ahead_s, left_s)

    def wait_s(self, tokens: int | None = None) -> float:
        """Return in how many seconds so many of the tokens that wait have probably run.

        Args:
            tokens: None for half of them.
        """
        waiting = self._room.held
        all_s = sum(self._run_s(lane, queued) for lane, queued in self._queued_tokens.items() if queued)
        return all_s * (0.5 if tokens is None else min(1.0, tokens / max(1, waiting)))

    def next_batch(
        self,
        budget_tokens: Callable[[Lane], int] = _whole_budget,
        part_tokens: Callable[[Lane, int], int] = _all_tokens,
    ) -> list[Job]:
        """Take the rows to run next out of the queue, all of one lane. Return none when nothing may run.

        Args:
            budget_tokens: Returns the most tokens of a batch of the lane; 0 where none may run now.
            part_tokens: Returns how many of a lane's tokens, those of several small requests, one batch is to
                have, so that all soon have run. Each request stays whole.

        It may be called while other batches run. `finish` is to be called once for each batch.
        """
        budgets = {lane: budget_tokens(lane) for lane, tokens in self._queued_tokens.items() if tokens}
        lead, overdue = self._next_lead(budgets)
        if lead is None:
            if not self._arrivals:
                self._turns.clear()
            return []
        lane = lead.lane
        builder = BatchBuilder(lane, min(self._limit_tokens(lead), budgets[lane]))
        self._fill(builder, lead, part_tokens)
        self._running += 1
        tokens = builder.tokens
        if overdue:
            self._since_oldest_tokens -= (1 / OLDEST_SHARE - 1) * tokens
        else:
            self._since_oldest_tokens += tokens
            self._turns.serve(lane.work(tokens))
        return builder.jobs

    def finish(self, outcomes: Sequence[tuple[Job, Output | EngineError]]) -> None:
        """Pass the outcomes of a batch to every request that waits for them."""
        self._running = max(0, self._running - 1)
        for job, outcome in outcomes:
            if job.state is not JobState.TAKEN:
                continue  # Given up while it ran.
            if isinstance(outcome, Output):
                job.state, job.output = JobState.DONE, outcome
                del self._jobs[job.lane, job.key]
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
            request.progressed = True
            if request.submitted and request.unfinished == 0:
                request.end(None)

    def _fail(self, job: Job, error: EngineError) -> None:
        for request in tuple(job.requests):
            request.end(error)
            self.cancel(request)

    def _admit(self, request: ScoringRequest, tokens: int, later_tokens: int) -> None:
        try:
            if tokens:
                self.check_size(tokens)
                check_room(self._room, request.caller, tokens, self.wait_s)
            if tokens + later_tokens:
                self.check_time(request.lane, tokens + later_tokens, request.deadline, request.caller)
        except QueueFullError:
            self.cancel(request)
            raise

    def _add(self, request: ScoringRequest, job: Job) -> None:
        if job.key not in request.jobs:
            request.jobs[job.key] = job
            request.unfinished += 1
            job.requests.append(request)

    def _next_lead(self, budgets: Mapping[Lane, int]) -> tuple[ScoringRequest | None, bool]:
        """Return the request that leads the next batch, and whether it does as the oldest, before its turn.

        Forget those with nothing left to run or no time for it.
        """
        oldest = self._first(self._arrivals, budgets) if any(budgets.values()) else None
        if oldest is None:
            return None, False
        lead = self._first(self._turns, budgets)
        if lead is oldest:
            self._since_oldest_tokens = min(0, self._since_oldest_tokens)
            return lead, False
        overdue = self._since_oldest_tokens >= (1 / OLDEST_SHARE - 1) * self._usual_limit(oldest)
        return (oldest, True) if overdue else (lead, False)

    def _fill(
        self, builder: BatchBuilder, lead: ScoringRequest, part_tokens: Callable[[Lane, int], int]
    ) -> None:
        """Move rows of a request into a batch, and then those of others in the order of their turns."""
        lane, others = lead.lane, [*self._others(lead)]
        tokens = lead.waiting_tokens + sum(other.waiting_tokens for other in others)
        enough = part_tokens(lane, tokens)
        if self._turns.largest_last_tokens > FILL_RATIO * lead.size_tokens:
            enough = min(enough, enough_tokens(lane, tokens))
        for request in (lead, *others):
            if builder.full or (builder.jobs and builder.cost_tokens >= enough):
                break
            self._move(request, builder)
            if not lane.backend.padded and request.has_waiting():
                break  # Without padding only what is too long does not fit; none behind it is to overtake it.

    def _first(
        self, requests: Iterable[ScoringRequest], budgets: Mapping[Lane, int]
    ) -> ScoringRequest | None:
        """Return the first that can run. Forget those before it that have ended, and give up late ones."""
        first, done, late = None, [], []
        for request in requests:
            if not request.has_waiting():
                done.append(request)
            elif budgets[request.lane] and not self._is_late(request):
                first = request
                break
            elif budgets[request.lane]:
                late.append(request)
        for request in done:
            self._leave_queue(request)
        for request in late:
            request.end(DeadlineUnreachableError("the scores can no longer be there by the deadline"))
            self.cancel(request)
        return first

    def _leave_queue(self, request: ScoringRequest) -> None:
        self._arrivals.pop(request, None)
        self._turns.remove(request)

    def _others(self, lead: ScoringRequest) -> Iterator[ScoringRequest]:
        """Yield the requests that may fill up a batch, in the order of their turns."""
        for request in self._turns:
            if request is lead or request.lane is not lead.lane or not request.has_waiting():
                continue
            if request.size_tokens > FILL_RATIO * lead.size_tokens:
                return  # What comes after it has no right to overtake it.
            if not self._is_late(request):
                yield request

    def _limit_tokens(self, lead: ScoringRequest) -> int:
        """Return how large the batch of a request may be."""
        limit = self._usual_limit(lead)
        if lead.progressed or lead.size_tokens <= limit:
            return limit
        return int(limit * first_part(self._running))

    def _usual_limit(self, request: ScoringRequest) -> int:
        return limit_tokens(request.lane, request.size_tokens, request.lane.most_workers(self.side_by_side))

    def _is_late(self, request: ScoringRequest) -> bool:
        """Return whether a request cannot be done by its deadline even if nothing runs before it."""
        if request.deadline is None:
            return False
        left_s = request.deadline - self._clock()
        if left_s <= 0:
            return True
        lane = request.lane
        return lane.pace.known and self._run_s(lane, request.waiting_tokens) > DEADLINE_MARGIN * left_s

    def _run_s(self, lane: Lane, tokens: float) -> float:
        """Return how long so many tokens run."""
        side_by_side = lane.most_workers(self.side_by_side)
        return lane.pace.seconds(tokens, limit_tokens(lane, ceil(tokens), side_by_side)) / side_by_side

    def _ahead_s(self, lane: Lane, tokens: float, caller: bytes) -> float:
        """Return how long the requests run that have their turns before one with so many tokens."""
        ahead: dict[Lane, int] = {}
        for request in self._turns.ahead_of(caller, lane.work(ceil(tokens))):
            ahead[request.lane] = ahead.get(request.lane, 0) + request.waiting_tokens
        # A row that several requests wait for runs once.
        return sum(
            self._run_s(lane, min(waiting, self._queued_tokens.get(lane, 0)))
            for lane, waiting in ahead.items()
        )

    def _move(self, request: ScoringRequest, builder: BatchBuilder) -> None:
        taken = builder.take(request)
        self._count(request.lane, taken, -1)
        for job in taken:
            for each in job.requests:
                each.waiting_tokens -= job.tokens

    def _count(self, lane: Lane, jobs: Collection[Job], sign: int = 1) -> None:
        """Count jobs of a lane that wait from now on, or, with a negative sign, no longer."""
        tokens = self._room.add_all((job.caller, sign * job.tokens) for job in jobs)
        self._queued_rows[lane] = self._queued_rows.get(lane, 0) + sign * len(jobs)
        self._queued_tokens[lane] = self._queued_tokens.get(lane, 0) + tokens
