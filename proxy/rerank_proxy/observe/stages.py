"""What is done for a request, stage by stage: each part says what it does and when, and knows no listener.

The activity of a request belongs to its task and to the tasks that this one starts. Without one, as outside
of requests, nothing is noted. Stages are disjoint within one task, and those of several tasks may overlap.
"""

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Final, Literal, Protocol

from rerank_proxy.observe import recording

Stage = Literal["parse", "upstream", "tokenise", "queue", "score", "splice"]
"""What a reranked search spends its time with:

- `parse`: reading the request, until it is known what is searched for;
- `upstream`: requests to Elasticsearch, inferences excepted;
- `tokenise`: cutting texts into chunks and tokens;
- `queue`: waiting for the model to be loaded, for a worker while none runs a text of the call, or for the
  rate limit of a remote service;
- `score`: the model, a lookup in the shared cache, calls of a remote service with their retries, or
  inferences by Elasticsearch;
- `splice`: writing the answer.
"""
STAGES: Final[tuple[Stage, ...]] = ("parse", "upstream", "tokenise", "queue", "score", "splice")

Attribute = str | int | float | bool
Attributes = Mapping[str, Attribute]

clock: Final = time.perf_counter
"""Tells the times of stages, in seconds."""


class Times(Protocol):
    """Takes note of when stages were under way."""

    def add(self, stage: Stage, began: float, ended: float) -> None:
        """Note that a stage was under way from one time to another, on `clock`."""

    def miss(self, limit: str) -> None:
        """Note that something was not done in time.

        Args:
            limit: The name of the limit.
        """


class Span(Protocol):
    """A span of a trace that is recorded. It ends once; what is said of it later is lost."""

    def child(
        self,
        name: str,
        began: float | None = None,
        attributes: Attributes | None = None,
        *,
        is_client: bool = False,
    ) -> "Span":
        """Return a further span within this one.

        Args:
            began: On `clock`; None for now.
            is_client: Whether it is a request to another server.
        """

    def rename(self, name: str) -> None:
        """Give the span another name."""

    def set(self, attributes: Attributes) -> None:
        """Add attributes."""

    def event(self, name: str, attributes: Attributes | None = None) -> None:
        """Note that something happened now."""

    def separate(self, name: str) -> "Span":
        """Return a span within this one that may outlive it."""

    def fail(self, kind: str) -> None:
        """Mark the span as that of a failure, unless it is one already.

        Args:
            kind: The type of the failure, one of few.
        """

    def headers(self) -> Mapping[str, str]:
        """Return the headers by which another server continues the trace from here."""

    def end(self, ended: float | None = None) -> None:
        """End the span.

        Args:
            ended: On `clock`; None for now.
        """


class Recorder(Protocol):
    """Records one request. It hears of all that is done for it, and changes nothing of it."""

    def stage(self, stage: Stage, began: float, ended: float, label: str | None) -> None:
        """Record that a stage was under way from one time to another, on `clock`.

        Args:
            label: What was done; None, the stage says all.
        """

    def chunked(self, spans: Sequence[Sequence[recording.Span]], values: Sequence[float]) -> None:
        """Record that texts were cut, and their chunks scored in place of them.

        Args:
            spans: The chunks of each text.
            values: The raw scores of all chunks, text by text.
        """

    def looked_up(self, texts: Sequence[str], known: Sequence[bool]) -> None:
        """Record of texts whether their outputs were in a cache."""

    def read_by(self, read: recording.Read) -> None:
        """Record what finds out what the model reads of texts."""


@dataclass(frozen=True, slots=True)
class Activity:
    """What is being done, and what hears of its stages.

    Attributes:
        trace_id: That of the client's trace, or else of the proxy's own; None without one.
    """

    times: Times | None = None
    span: Span | None = None
    trace_id: str | None = None
    recorder: Recorder | None = None


_IDLE: Final = Activity()
_current: Final[ContextVar[Activity]] = ContextVar("activity", default=_IDLE)


def current() -> Activity:
    """Return the activity of this task."""
    return _current.get()


def enter(activity: Activity) -> None:
    """Make this the activity of this task, and of those that it starts from now on."""
    _current.set(activity)


def miss(limit: str) -> None:
    """Note that something of this activity was not done in time.

    Args:
        limit: The name of the limit.
    """
    activity = _current.get()
    if activity.times is not None:
        activity.times.miss(limit)
    if activity.span is not None:
        activity.span.event("deadline missed", {"rerank_proxy.limit": limit})


def exemplar() -> dict[str, str] | None:
    """Return what leads from a sample of a histogram to this activity's trace; None without one."""
    trace = _current.get().trace_id
    return None if trace is None else {"trace_id": trace}


def recorder() -> Recorder | None:
    """Return what records this activity; None, nothing does."""
    return _current.get().recorder


@contextmanager
def recorded_by(recorder: Recorder) -> Iterator[None]:
    """Have another recorder hear of the block."""
    outer = _current.set(replace(_current.get(), recorder=recorder))
    try:
        yield
    finally:
        _current.reset(outer)


def note(stage: Stage, began: float, ended: float) -> None:
    """Note a stage that is over, without a span."""
    activity = _current.get()
    if activity.times is not None:
        activity.times.add(stage, began, ended)
    if activity.recorder is not None:
        activity.recorder.stage(stage, began, ended, None)


def stage(name: Stage | None, span: str | None = None, label: str | None = None) -> "Block":
    """Return a context for one stage.

    Args:
        name: None for a part that belongs to no stage, or to those within it.
        span: The name of its span; None for a stage without a span of its own.
        label: What a recording says of it; None for what the span is named by.
    """
    return Block(name, span, label)


def request_to(title: str) -> "Block":
    """Return a context for a request to another server, whose time belongs to the stage around it.

    Args:
        title: The name of its span.
    """
    return Block(None, title, None, is_client=True)


@contextmanager
def outliving(name: str) -> Iterator[None]:
    """Have the block's spans below one that may outlive that of the request."""
    activity = _current.get()
    if activity.span is None:
        yield
        return
    span = activity.span.separate(name)
    outer = _current.set(replace(activity, span=span))
    try:
        yield
    except BaseException as failure:
        span.fail(_kind(type(failure)))
        raise
    finally:
        span.end()
        _current.reset(outer)


def _kind(failure: type[BaseException]) -> str:
    return "cancelled" if issubclass(failure, asyncio.CancelledError) else failure.__name__


class Block:
    """A stage that is under way while the block is entered.

    Attributes:
        span: Its span, inside of the block; None where none is recorded.
    """

    def __init__(
        self, name: Stage | None, title: str | None, label: str | None, *, is_client: bool = False
    ) -> None:
        self.span: Span | None = None
        self._name = name
        self._title = title
        self._label = label
        self._is_client = is_client
        self._times: Times | None = None
        self._recorder: Recorder | None = None
        self._began = 0.0
        self._outer: Token[Activity] | None = None

    def __enter__(self) -> "Block":
        activity = _current.get()
        self._times = activity.times
        self._recorder = activity.recorder
        self._began = clock()
        if activity.span is not None and self._title is not None:
            self.span = activity.span.child(self._title, self._began, is_client=self._is_client)
            self._outer = _current.set(replace(activity, span=self.span))
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        failure: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        ended = clock()
        if self._name is not None and self._times is not None:
            self._times.add(self._name, self._began, ended)
        if self._name is not None and self._recorder is not None:
            self._recorder.stage(self._name, self._began, ended, self._label or self._title)
        if self.span is not None:
            if kind is not None:
                self.span.fail(_kind(kind))
            self.span.end(ended)
        if self._outer is not None:
            _current.reset(self._outer)
