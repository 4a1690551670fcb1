"""What upstream says to the origin of a browser's request (CORS), for the answers that others than it make.

Its settings are not repeated here. It is asked, by a request of the same `Origin` and `Host` that needs no
credentials and is no preflight, and asked again after a while. What it answers does not depend on the path.
"""

import asyncio
import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Final, NamedTuple

from rerank_proxy.http.answer_reader import AnswerHeads
from rerank_proxy.http.head import HeadError, RequestHead, ResponseHead
from rerank_proxy.upstream.connection import UpstreamConnection
from rerank_proxy.upstream.pool import Attempt, Pool
from rerank_proxy.upstream.targets import TargetError

MAX_KEPT: Final = 256
"""Origins whose answers are remembered."""
MAX_ORIGIN: Final = 4096
"""Bytes of an origin and of a host that are asked about."""
VALID_S: Final = 60.0
"""How long an answer is not asked for again."""
ANSWER_S: Final = 10.0
"""How long is waited for an answer. Without one it is as if there were no CORS."""

_MAX_HEADS: Final = 64 * 1024
_fields_of = re.compile(rb"\r\n((?:access-control-[^:\r]*|vary):[^\r]*)", re.IGNORECASE).findall
_allows = re.compile(rb"\r\naccess-control-allow-origin:", re.IGNORECASE).search


class OriginAnswer(NamedTuple):
    """
    Attributes:
        fields: Lines for the head of each answer, with their ends.
        refused: Upstream answers 403, whatever the request is.
    """

    fields: bytes = b""
    refused: bool = False

    def fields_beside(self, head: ResponseHead) -> bytes:
        """The lines for an answer of ours, whose own header is of use only where a script may read it."""
        if not self.fields or head.field(b"x-rerank") is None:
            return self.fields
        return self.fields + b"access-control-expose-headers: X-Rerank\r\n"


NOTHING: Final = OriginAnswer()
Then = Callable[[OriginAnswer], None]
_Key = tuple[bytes, bytes]


class Origins:
    """Asks upstream, and remembers what it answered."""

    def __init__(self, loop: asyncio.AbstractEventLoop, upstream: Pool) -> None:
        self._loop = loop
        self._upstream = upstream
        self._known: OrderedDict[_Key, tuple[OriginAnswer, float]] = OrderedDict()
        self._asked: dict[_Key, list[Then]] = {}

    def known(self, request: RequestHead) -> OriginAnswer:
        """What upstream has answered, be it a while ago."""
        key = self._key(request)
        return NOTHING if key is None else self._last(key)

    def ask(self, request: RequestHead, then: Then) -> None:
        """Call `then` with the answer, at once where there is nothing to ask."""
        key = self._key(request)
        if key is None:
            then(NOTHING)
            return
        answer, valid_until = self._known.get(key, (NOTHING, 0.0))
        if valid_until > self._loop.time():
            then(answer)
        elif key in self._asked:
            self._asked[key].append(then)
        else:
            self._asked[key] = [then]
            self._ask(key, with_origin=True)

    def _last(self, key: _Key) -> OriginAnswer:
        return self._known[key][0] if key in self._known else NOTHING

    def _key(self, request: RequestHead) -> _Key | None:
        """Origin and host, as upstream sees them."""
        origin = request.field(b"origin")
        if not origin:
            return None
        host = self._upstream.target.host_header or request.field(b"host") or b""
        return None if len(origin) + len(host) > MAX_ORIGIN else (origin, host)

    def _ask(self, key: _Key, *, with_origin: bool) -> None:
        origin, host = key
        lines = [b"OPTIONS / HTTP/1.1", b"Host: " + host]
        if with_origin:
            lines.append(b"Origin: " + origin)
        head = b"\r\n".join(lines) + b"\r\n\r\n"
        done = self._answered if with_origin else self._answered_without_origin
        _Question(self._loop, self._upstream, head, lambda answer: done(key, answer)).ask()

    def _answered(self, key: _Key, head: ResponseHead | None) -> None:
        if head is not None and head.status == 403 and not _allows(head.raw):
            self._ask(key, with_origin=False)  # which tells whether it is about the origin
        elif head is None:
            self._tell(key, None)
        else:
            lines = _fields_of(head.raw) if _allows(head.raw) else []
            self._tell(key, OriginAnswer(b"".join(line + b"\r\n" for line in lines)))

    def _answered_without_origin(self, key: _Key, head: ResponseHead | None) -> None:
        if head is None:
            self._tell(key, None)
        else:
            self._tell(key, OriginAnswer(refused=head.status != 403))

    def _tell(self, key: _Key, answer: OriginAnswer | None) -> None:
        """Remember an answer and pass it on; without one the last that there was."""
        if answer is None:
            answer = self._last(key)
        else:
            self._known[key] = (answer, self._loop.time() + VALID_S)
            self._known.move_to_end(key)
            if len(self._known) > MAX_KEPT:
                self._known.popitem(last=False)
        for then in self._asked.pop(key):
            then(answer)


class _Question:
    """One request without a body, and the head of its answer.

    Args:
        done: Is told once, with None where there is no answer.
    """

    _attempt: Attempt | None = None
    _connection: UpstreamConnection | None = None
    _timer: asyncio.TimerHandle
    _begun = False

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pool: Pool,
        request: bytes,
        done: Callable[[ResponseHead | None], None],
    ) -> None:
        self._loop = loop
        self._pool = pool
        self._request = request
        self._done = done
        self._heads = AnswerHeads()
        self._heads.limit = _MAX_HEADS

    def ask(self) -> None:
        self._timer = self._loop.call_later(ANSWER_S, self._end, None)
        connection = self._pool.acquire()
        if connection is not None:
            self.connected(connection)
        else:
            self._attempt = self._pool.connect(self)

    # What the pool and the connection call

    def connected(self, connection: UpstreamConnection) -> None:
        self._attempt = None
        self._connection = connection
        connection.receiver = self
        connection.transport.write(self._request)

    def connect_failed(self, error: TargetError) -> None:
        self._attempt = None
        self._end(None)

    def response_received(self, data: bytes) -> None:
        self._begun = True
        self._heads.append(data)
        try:
            while head := self._heads.take():
                if head.status >= 200:
                    self._end(head)
                    return
        except HeadError:
            self._end(None)

    def upstream_lost(self, error: Exception | None) -> None:
        connection, self._connection = self._connection, None
        if connection is not None and connection.reused and not self._begun:
            self._attempt = self._pool.connect(self)  # it was closed before the request came
        else:
            self._end(None)

    def upstream_blocked(self) -> None:
        """There is nothing more to send."""

    def upstream_unblocked(self) -> None:
        """As above."""

    def _end(self, head: ResponseHead | None) -> None:
        self._timer.cancel()
        if self._attempt is not None:
            self._attempt.abandon()
            self._attempt = None
        connection, self._connection = self._connection, None
        if connection is not None:
            if head is not None and head.keep_alive and head.length == 0 and not self._heads:
                self._pool.release(connection)
            else:
                connection.abort()
        self._done(head)
