"""What waits in the queue: rows to run (jobs), the requests that wait for them, and the lanes of models."""

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum

from rerank_proxy.engine.backends.protocol import Backend
from rerank_proxy.engine.errors import EngineError
from rerank_proxy.engine.rows import Output, Row


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
    """Seconds that the model needs for a token, as its first batch showed."""
    precision: str = "fp32"
    """The precision that it calculates in."""


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
    state: JobState = JobState.QUEUED
    requests: list["ScoringRequest"] = field(default_factory=list)
    output: Output | None = None


@dataclass(slots=True, eq=False)
class ScoringRequest:
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


def length(job: Job) -> int:
    """Return the tokens of a job."""
    return len(job.row)
