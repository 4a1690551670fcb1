"""The access log: a line about each request that has ended, or about those that failed and slow ones.

Nothing in it is secret: of the target, the values of the query string and what stands before an `@` are left
out. Every value that a client sends is bounded and escaped.
"""

import re
import time
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from rerank_proxy.observe import request_id
from rerank_proxy.observe.events import ACCESS
from rerank_proxy.observe.log import form, stamp, write_lines
from rerank_proxy.observe.log_lines import printable, short
from rerank_proxy.settings import LogSettings

MAX_PATH: Final = 1024
MAX_QUERY: Final = 512
MAX_OUTCOME: Final = 1024
"""The most characters of a path, of the names in a query string, and of an `X-Rerank`."""
HIDDEN: Final = "*"
"""What stands for the value of a parameter."""

_USER_INFO: Final = re.compile(rb"((?:[a-zA-Z][a-zA-Z0-9+.-]*+:)?//)[^/?#]*@")
_NS: Final = 10**9


@dataclass(frozen=True, slots=True)
class Access:
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
    target = _USER_INFO.sub(rb"\1", target[: MAX_PATH + 4 * MAX_QUERY], count=1)
    path, _, query = target.partition(b"#")[0].partition(b"?")
    shown = short(path.decode("utf-8", "backslashreplace"), MAX_PATH)
    if not query:
        return shown, ""
    pairs = (pair.partition("=") for pair in query.decode("utf-8", "backslashreplace").split("&"))
    return shown, short(
        "&".join(f"{name}={HIDDEN}" if equals else name for name, equals, _ in pairs), MAX_QUERY
    )


class AccessLog:
    """Writes the lines of one process.

    Args:
        write: Takes whole lines.
        clock: UNIX time, in seconds.
    """

    def __init__(
        self,
        settings: LogSettings,
        write: Callable[[str], None] = write_lines,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._write = write
        self._clock = clock
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
        text = _json(access, at) if form.is_json else _text(access, at)
        self._write(f"{text}\n")

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
    target = f"{path}?{query}" if query else path
    line = f"{access.method} {target}" if access.method else "-"
    pairs = [
        ("time", f"{access.seconds:.3f}"),
        *((stage, f"{seconds:.3f}") for stage, seconds in (access.times or {}).items()),
        ("in", str(access.received)),
        ("out", str(access.sent)),
        ("kind", access.kind),
        ("node", access.node),
        ("id", access.request_id),
        ("trace", access.trace_id),
        ("ended", access.ended),
        ("reason", access.reason),
    ]
    words = [f"{name}={value}" for name, value in pairs if value is not None]
    quoted = [("opaque", access.opaque_id), ("rerank", access.outcome)]
    words += [f"{name}={_quoted(value)}" for name, value in quoted if value is not None]
    return (
        f"{stamp(at)} {level(access).upper()} access: {access.client or '-'} {_quoted(line)} "
        f"{access.status} {' '.join(words)}"
    )


def _quoted(text: str) -> str:
    return '"' + printable(text).replace("\\", "\\\\").replace('"', '\\"') + '"'


def _json(access: Access, at: float) -> str:
    from rerank_proxy.observe.log_json import line

    return line(form.process, level(access), message(access), ACCESS, fields(access), at)


def message(access: Access) -> str:
    """Return a line in a few words, for people who read JSON."""
    path, _ = shown_target(access.target)
    return f"{access.method or '-'} {path} {access.status}".replace("  ", " ")


def fields(access: Access) -> dict[str, Any]:
    """Return what is known of a request by the names of the Elastic Common Schema."""
    path, query = shown_target(access.target)
    request = {"method": access.method, "id": access.request_id, "bytes": access.received}
    known = {
        "event": {
            "kind": "event",
            "category": ["web"],
            "type": ["access"],
            "outcome": "failure" if access.status >= 400 or access.ended else "success",
            "duration": int(access.seconds * _NS),
        },
        "http": {
            "request": _given(request),
            "response": {"status_code": access.status, "bytes": access.sent},
            "version": "1.0" if access.http10 else "1.1",
        },
        "url": _given({"path": path or None, "query": query or None}),
        "source": _given({"ip": access.client}),
        "trace": _given({"id": access.trace_id}),
        "error": _given({"type": access.reason}),
        "rerank_proxy": _given(
            {
                "kind": access.kind,
                "node": access.node,
                "ended": access.ended,
                "opaque_id": access.opaque_id,
                "outcome": access.outcome,
                "times": {name: round(each, 6) for name, each in access.times.items()}
                if access.times
                else None,
            }
        ),
    }
    return _given(known)


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out what is not there."""
    return {name: value for name, value in values.items() if value is not None and value != {}}
