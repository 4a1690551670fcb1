"""What waits in the queue: rows to run (jobs), the requests that wait for them, and the lanes of models."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from enum import Enum
from operator import attrgetter
from typing import Final

from rerank_proxy.engine.backends.protocol import Backend
from rerank_proxy.engine.batching.pace import Pace
from rerank_proxy.engine.errors import EngineError
from rerank_proxy.engine.rows import Output, Row
from rerank_proxy.observe import request_id

_USUAL_PACE_S: Final = 1e-4


@dataclass(slots=True, eq=False)
class Lane:
    """A model's part of the queue. Rows of different lanes never share a batch."""

    model: str
    backend: Backend
    budget_tokens: int
    """Tokens of one batch, padding included; one row alone may be longer."""
    threads: int | None = None
    """The most CPU threads of all its batches at a time; None: as many as there are. May change any time."""
    pace_s: float = 0.0
    """Seconds that the model needs for a token, as its first batch showed."""
    precision: str = "fp32"
    """The precision that it calculates in."""
    pace: Pace = field(default_factory=Pace)
    """How long its batches take, for predictions."""
    copies: Sequence[Backend] = ()
    """The same on further devices, for a serial backend. The worker at the second place runs the first …"""

    def at(self, place: int) -> Backend | None:
        """Return what the worker at a place runs; None if it has nothing to run the model on."""
        if not self.backend.serial or place == 0:
            return self.backend
        return self.copies[place - 1] if place <= len(self.copies) else None

    def most_workers(self, workers: int) -> int:
        """Return how many of so many workers may run its batches side by side."""
        return min(workers, 1 + len(self.copies)) if self.backend.serial else workers

    def work(self, tokens: int) -> float:
        """Return the work of so many tokens, to be compared with that of other lanes."""
        return tokens * (self.pace_s or _USUAL_PACE_S)


class JobState(Enum):
    QUEUED = "queued"
    TAKEN = "taken"
    DONE = "done"
    DROPPED = "dropped"


@dataclass(slots=True, eq=False)
class Job:
    """A row to run once, for every request that asks for it meanwhile."""

    key: bytes
    row: Row
    lane: Lane
    caller: bytes = b""
    """Of the request that brought it."""
    state: JobState = JobState.QUEUED
    requests: list["ScoringRequest"] = field(default_factory=list)
    output: Output | None = None
    began: float | None = None
    """When the batch that runs it began, in seconds on `stages.clock`."""
    tokens: int = field(init=False)
    """Of the row. They are asked for often: counting them each time took a fifth of the queue's time."""

    def __post_init__(self) -> None:
        self.tokens = len(self.row)


@dataclass(slots=True, eq=False)
class ScoringRequest:
    """The jobs of one call. `on_end` is called at most once: with None, or with what went wrong."""

    lane: Lane
    on_end: Callable[[EngineError | None], None]
    deadline: float | None = None
    """On the scheduler's clock, in seconds."""
    caller: bytes = b""
    """Whose it is: callers have equal parts of the device."""
    request_id: str | None = field(default_factory=request_id.current.get)
    """Of the client's request that it is for."""
    size_tokens: int = 0
    """Tokens that waited when it was submitted."""
    waiting_tokens: int = 0
    """Tokens of those that wait still."""
    fair_end: float = 0.0
    """When it would end with an equal share of the device, on the clock of `EqualShares`."""
    progressed: bool = False
    """Whether a job of it is done."""
    jobs: dict[bytes, Job] = field(default_factory=dict)
    queue: list[Job] = field(default_factory=list)
    """The jobs that may still wait, shortest first. One that is shared may have been taken already."""
    ran: list[tuple[float, float]] = field(default_factory=list)
    """When batches with jobs of it ran, as begin and end in seconds on `stages.clock`."""
    unfinished: int = 0
    submitted: bool = False
    ended: bool = False

    def has_waiting(self) -> bool:
        """Return whether a job of it is still queued. Drop jobs at the end of `queue` that are not."""
        while self.queue and self.queue[-1].state is not JobState.QUEUED:
            self.queue.pop()
        return bool(self.queue)

    def end(self, error: EngineError | None) -> None:
        """Say how the request ended, unless it has ended already."""
        if not self.ended:
            self.ended = True
            self.on_end(error)


length: Final = attrgetter("tokens")
"""What jobs are ordered by."""


def fair_end(request: ScoringRequest) -> float:
    """Return what requests are ordered by."""
    return request.fair_end


def about(jobs: Iterable[Job]) -> dict[str, list[str]]:
    """Return the fields of a record of the log about jobs: for which requests they are."""
    return request_id.about(request.request_id for job in jobs for request in job.requests)
