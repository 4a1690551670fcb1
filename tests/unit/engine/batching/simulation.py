"""A device in virtual time: a batch takes so long for each token, and so long besides. It has no thread."""

import heapq
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from rerank_proxy.engine.batching.jobs import Job, Lane, ScoringRequest
from rerank_proxy.engine.batching.places import Placed, Places
from rerank_proxy.engine.batching.scheduler import Scheduler
from rerank_proxy.engine.errors import EngineError, QueueFullError
from rerank_proxy.engine.rows import Output
from tests.unit.engine.doubles import row

TOKEN_S: Final = 1e-4
BATCH_S: Final = 33 * TOKEN_S
"""A batch costs as much as so many of its tokens besides, as on a CPU with a model of MiniLM-L6's shape."""

BUDGET: Final = 2048


@dataclass(eq=False, repr=False)
class SimulatedCall:
    """A call that comes at some time, and what became of it."""

    lengths: Sequence[int]
    at_s: float = 0.0
    deadline_s: float | None = None
    cancelled_s: float | None = None
    name: str = ""
    caller: bytes = b""
    request: ScoringRequest | None = None
    ends: list[tuple[float, EngineError | None]] = field(default_factory=list)
    refusal: QueueFullError | None = None

    def __repr__(self) -> str:
        return f"SimulatedCall({self.lengths}, {self.at_s}, {self.deadline_s}, {self.cancelled_s})"

    @property
    def tokens(self) -> int:
        return sum(self.lengths)

    @property
    def took_s(self) -> float:
        """The seconds from its coming to its end, which must be a good one."""
        (end,) = self.ends
        assert end[1] is None
        return end[0] - self.at_s


@dataclass(repr=False)
class Simulation:
    """Runs calls on a device.

    Attributes:
        workers: Batches that run at the same time, each as fast as if it were alone.
        now_s: The virtual time.
        batches: All batches with the times at which they began, in their order.
        busy_s: How long workers ran.
    """

    lane: Lane
    workers: int = 1
    batch_s: float = BATCH_S
    now_s: float = 0.0
    batches: list[tuple[float, list[Job]]] = field(default_factory=list)
    busy_s: float = 0.0

    def __post_init__(self) -> None:
        self.scheduler = Scheduler(10**9, lambda: self.now_s, self.workers)
        self._places = Places(self.workers, self.workers)
        self._running: list[tuple[float, int, list[Job], Placed]] = []

    def run(self, calls: Sequence[SimulatedCall]) -> None:
        """Let the calls come, and run everything."""
        events = sorted(self._events(calls), key=lambda event: (event[0], event[1]))
        while events or self._running:
            if self._running and (not events or self._running[0][0] <= events[0][0]):
                self._finish()
            else:
                self.now_s, _, call, comes = events.pop(0)
                self._submit(call) if comes else self._cancel(call)
            if not events or events[0][0] > self.now_s:  # what comes at the same time comes together
                self._take()
        assert not self.scheduler.next_batch()

    @staticmethod
    def _events(calls: Sequence[SimulatedCall]) -> Iterator[tuple[float, int, SimulatedCall, bool]]:
        for number, call in enumerate(calls):
            call.name = call.name or f"call {number}"
            yield call.at_s, 2 * number, call, True
            if call.cancelled_s is not None:
                yield call.at_s + call.cancelled_s, 2 * number + 1, call, False

    def _submit(self, call: SimulatedCall) -> None:
        deadline = None if call.deadline_s is None else self.now_s + call.deadline_s
        rows = {f"{call.name} {at}".encode(): row(length, at) for at, length in enumerate(call.lengths)}
        call.request = self.scheduler.open(
            self.lane, lambda error: call.ends.append((self.now_s, error)), deadline, call.caller
        )
        try:
            self.scheduler.submit(call.request, rows)
        except QueueFullError as refusal:
            call.refusal = refusal

    def _cancel(self, call: SimulatedCall) -> None:
        if call.request is not None:
            self.scheduler.cancel(call.request)

    def _take(self) -> None:
        while jobs := self._next_batch():
            placed = self._places.put(jobs, self._waiting_tokens())
            seconds = TOKEN_S * placed.tokens + self.batch_s
            self.busy_s += seconds
            self.lane.pace.observe(placed.tokens, seconds)
            self.batches.append((self.now_s, jobs))
            heapq.heappush(self._running, (self.now_s + seconds, len(self.batches), jobs, placed))

    def _next_batch(self) -> list[Job]:
        waiting_tokens = self._waiting_tokens()
        places = self._places
        return self.scheduler.next_batch(
            lambda lane: places.budget_tokens(lane, waiting_tokens), places.part_tokens
        )

    def _waiting_tokens(self) -> int:
        return sum(self.scheduler.queued_tokens.values())

    def _finish(self) -> None:
        self.now_s, _, jobs, placed = heapq.heappop(self._running)
        self._places.end(placed)
        self.scheduler.finish([(job, _output(job)) for job in jobs])


def _output(job: Job) -> Output:
    return Output(np.array([job.row.ids.sum()], np.float32), False)


def equal_shares(calls: Sequence[SimulatedCall]) -> Mapping[SimulatedCall, float]:
    """Return when calls would end if those that are there always had equal shares, without batches."""
    left = {call: call.tokens * TOKEN_S for call in calls}
    coming = sorted(calls, key=lambda call: call.at_s)
    there: list[SimulatedCall] = []
    ends: dict[SimulatedCall, float] = {}
    now_s = 0.0
    while coming or there:
        if not there:
            now_s = max(now_s, coming[0].at_s)
        while coming and coming[0].at_s <= now_s:
            there.append(coming.pop(0))
        least = min(there, key=lambda call: left[call])
        until_end = left[least] * len(there)
        until_next = coming[0].at_s - now_s if coming else np.inf
        step = min(until_end, until_next)
        for call in there:
            left[call] -= step / len(there)
        if until_end > until_next:
            now_s = coming[0].at_s
        else:
            now_s += until_end
            there.remove(least)
            ends[least] = now_s
    return ends
