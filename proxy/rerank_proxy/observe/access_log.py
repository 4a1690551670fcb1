"""The access log: a line about each request that has ended, or about those that failed and slow ones.

Nothing in it is secret: of the target, the values of the query string and what stands before an `@` are left
out. Every value that a client sends is bounded and escaped.
"""

import asyncio
import os
import re
import time
import zlib
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Final

import msgspec

from rerank_proxy import __version__
from rerank_proxy.observe import request_id
from rerank_proxy.observe.events import ACCESS, ECS_VERSION, SERVICE
from rerank_proxy.observe.log import form, write_lines
from rerank_proxy.observe.log_lines import printable, short
from rerank_proxy.observe.log_times import local_time, utc_time
from rerank_proxy.settings import LogSettings

MAX_PATH: Final = 1024
MAX_QUERY: Final = 512
MAX_OUTCOME: Final = 1024
"""The most characters of a path, of the names in a query string, and of an `X-Rerank`."""
HIDDEN: Final = "*"
"""What stands for the value of a parameter."""

FLUSHED_AFTER_S: Final = 0.1
"""Lines are written together after so long: each by itself would wake the thread that writes."""
_FLUSHED_AT: Final = 64 * 1024
"""Characters that are written at once."""

_USER_INFO: Final = re.compile(rb"((?:[a-zA-Z][a-zA-Z0-9+.-]*+:)?//)[^/?#]*@")
_VALUE: Final = re.compile(r"=[^&]*")
_NS: Final = 10**9


class Access(msgspec.Struct, frozen=True):
    """A request that has ended.

    Attributes:
        kind: `plain`, `search` or `rerank`.
        status: That of the answer; 499, the client left before it began.
        seconds: From the request's head to the end of its answer.
        method: None, like the target, for a head that could not be read.
        received, sent: Bytes of the request and of the answer, heads included.
        ended: How it ended if not in order: `cut` if the answer broke off, `left` if the client did.
        node: Which node answered, as `HOST:PORT`; None if none did.
        reason: The type of the error, if the proxy answered with one.
        outcome: The `X-Rerank` of the answer.
        times: Seconds by stage.
    """

    kind: str
    status: int
    seconds: float
    method: str | None = None
    target: bytes = b""
    http10: bool = False
    received: int = 0
    sent: int = 0
    ended: str | None = None
    client: str | None = None
    node: str | None = None
    reason: str | None = None
    outcome: str | None = None
    times: Mapping[str, float] | None = None
    request_id: str | None = None
    opaque_id: str | None = None
    trace_id: str | None = None

    @property
    def has_failed(self) -> bool:
        """Return whether it failed by no fault of the client's, or was refused for lack of room."""
        return self.status >= 500 or self.status == 429 or self.ended == "cut"


def shown_target(target: bytes) -> tuple[str, str]:
    """Return the path of a target, and its query string with the names of the parameters alone."""
    target = target[: MAX_PATH + 4 * MAX_QUERY]
    if b"@" in target:
        target = _USER_INFO.sub(rb"\1", target, count=1)
    if b"#" in target:
        target = target.partition(b"#")[0]
    path, _, query = target.decode("utf-8", "backslashreplace").partition("?")
    return short(path, MAX_PATH), short(_VALUE.sub(f"={HIDDEN}", query), MAX_QUERY) if query else ""


class AccessLog:
    """Writes the lines of one process.

    Args:
        loop: Its lines wait a moment for others; None, each is written at once.
        write: Takes whole lines.
        clock: UNIX time, in seconds.
    """

    def __init__(
        self,
        settings: LogSettings,
        loop: asyncio.AbstractEventLoop | None = None,
        write: Callable[[str], None] = write_lines,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._loop = loop
        self._write = write
        self._clock = clock
        self._waiting: list[str] = []
        self._waiting_characters = 0
        self._timer: asyncio.TimerHandle | None = None
        self.use(settings)

    def use(self, settings: LogSettings) -> None:
        """Use other settings, for requests that end from now on."""
        exclude = settings.access_exclude
        self.is_on = settings.access != "off"
        self._all = settings.access == "all"
        self._slow_s = settings.slow_s
        self._sample = settings.access_sample
        self._paths = frozenset(path.encode() for path in exclude if not path.endswith("*"))
        self._prefixes = tuple(path[:-1].encode() for path in exclude if path.endswith("*"))

    def may_have_line(self, status: int, seconds: float, *, cut: bool) -> bool:
        """Return whether a request may have a line, before anything else of it is looked at."""
        if not self.is_on:
            return False
        return self._all or cut or self._is_notable(status, seconds)

    def _is_notable(self, status: int, seconds: float) -> bool:
        return status >= 500 or status == 429 or (self._slow_s is not None and seconds >= self._slow_s)

    def request(self, access: Access) -> None:
        """Write a line about a request, if it is to have one."""
        if not self.may_have_line(access.status, access.seconds, cut=access.ended == "cut"):
            return
        if (self._paths or self._prefixes) and self._is_excluded(access.target):
            return
        notable = access.has_failed or self._is_notable(access.status, access.seconds)
        if not notable and self._sample < 1 and not self._is_drawn(access):
            return
        at = self._clock()
        self._put(_json(access, at) if form.is_json else _text(access, at))

    def _put(self, line: str) -> None:
        if self._loop is None:
            self._write(f"{line}\n")
            return
        self._waiting.append(line)
        self._waiting_characters += len(line)
        if self._waiting_characters >= _FLUSHED_AT:
            self.flush()
        elif self._timer is None:
            self._timer = self._loop.call_later(FLUSHED_AFTER_S, self.flush)

    def flush(self) -> None:
        """Write what waits."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        waiting, self._waiting, self._waiting_characters = self._waiting, [], 0
        if waiting:
            waiting.append("")
            self._write("\n".join(waiting))

    def _is_excluded(self, target: bytes) -> bool:
        path = target.partition(b"?")[0]
        return path in self._paths or path.startswith(self._prefixes)

    def _is_drawn(self, access: Access) -> bool:
        """Decide by the id of the trace, so that every proxy decides alike; without one, by the request's."""
        drawn_by = access.trace_id or access.request_id or request_id.new()
        return zlib.crc32(drawn_by.encode()) < self._sample * 2**32


def level(access: Access) -> str:
    return "warning" if access.has_failed else "info"


def _text(access: Access, at: float) -> str:
    path, query = shown_target(access.target)
    line = "-" if access.method is None else f"{access.method} {path}{'?' if query else ''}{query}"
    words = [
        f"{local_time(at)} {level(access).upper()} access: "
        f"{access.client or '-'} {_quoted(line)} {access.status} time={access.seconds:.3f}"
    ]
    if access.times:
        words += [f"{stage}={seconds:.3f}" for stage, seconds in access.times.items()]
    words.append(f"in={access.received} out={access.sent} kind={access.kind}")
    for name, value in (
        ("node", access.node),
        ("id", access.request_id),
        ("trace", access.trace_id),
        ("ended", access.ended),
        ("reason", access.reason),
    ):
        if value is not None:
            words.append(f"{name}={value}")
    if access.opaque_id is not None:
        words.append(f"opaque={_quoted(access.opaque_id)}")
    if access.outcome is not None:
        words.append(f"rerank={_quoted(access.outcome)}")
    return " ".join(words)


def _quoted(text: str) -> str:
    if '"' in text or "\\" in text:
        text = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{printable(text)}"'


class _Event(msgspec.Struct):
    outcome: str
    duration: int
    dataset: str = ACCESS
    kind: str = "event"
    category: tuple[str, ...] = ("web",)
    type: tuple[str, ...] = ("access",)


class _Request(msgspec.Struct, omit_defaults=True):
    method: str | None
    id: str | None
    bytes: int


class _Response(msgspec.Struct):
    status_code: int
    bytes: int


class _Http(msgspec.Struct):
    request: _Request
    response: _Response
    version: str


class _Url(msgspec.Struct, omit_defaults=True):
    path: str | None = None
    query: str | None = None


class _Ip(msgspec.Struct):
    ip: str


class _Id(msgspec.Struct):
    id: str


class _Type(msgspec.Struct):
    type: str


class _Own(msgspec.Struct, omit_defaults=True):
    kind: str
    node: str | None = None
    ended: str | None = None
    opaque_id: str | None = None
    outcome: str | None = None
    times: dict[str, float] | None = None


class _Line(msgspec.Struct, omit_defaults=True):
    """What is known of a request by the names of the Elastic Common Schema; what is not there is left out."""

    message: str
    event: _Event
    http: _Http
    rerank_proxy: _Own
    url: _Url | None = None
    source: _Ip | None = None
    trace: _Id | None = None
    error: _Type | None = None


@lru_cache(2)
def _same_in_all(process: str) -> str:
    known = {
        "ecs.version": ECS_VERSION,
        "service": {"name": SERVICE, "version": __version__},
        "process": {"name": process, "pid": os.getpid()},
    }
    return msgspec.json.encode(known)[1:-1].decode()


_encode: Final = msgspec.json.Encoder().encode


def _json(access: Access, at: float) -> str:
    path, query = shown_target(access.target)
    has_failed = access.status >= 400 or access.ended is not None
    line = _Line(
        f"{access.method} {path} {access.status}" if access.method is not None else f"- {access.status}",
        _Event("failure" if has_failed else "success", int(access.seconds * _NS)),
        _Http(
            _Request(access.method, access.request_id, access.received),
            _Response(access.status, access.sent),
            "1.0" if access.http10 else "1.1",
        ),
        _Own(
            access.kind,
            access.node,
            access.ended,
            access.opaque_id,
            access.outcome,
            {name: round(each, 6) for name, each in access.times.items()} if access.times else None,
        ),
        _Url(path, query or None) if path else None,
        None if access.client is None else _Ip(access.client),
        None if access.trace_id is None else _Id(access.trace_id),
        None if access.reason is None else _Type(access.reason),
    )
    # The rest is the same in every line.
    return (
        f'{{"@timestamp":"{utc_time(at)}",'
        f'"log":{{"level":"{level(access)}"}},{_same_in_all(form.process)},{_encode(line)[1:].decode()}'
    )
