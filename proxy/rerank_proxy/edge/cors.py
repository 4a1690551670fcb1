"""What upstream answers to the origin of a browser's request (CORS), for the answers of edge and application.

Upstream's settings are not repeated here. It is asked, by a request with the same `Origin` and `Host` that
needs no credentials and is not a preflight, and asked again after a while. Its answer does not depend on the
path.
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
from rerank_proxy.upstream.targets import Target, TargetError

MAX_KEPT: Final = 256
"""Origins whose answers are remembered."""
MAX_ORIGIN: Final = 4096
"""The most bytes of an origin and a host together; about longer ones nothing is asked."""
VALID_S: Final = 60.0
"""How long an answer is valid before it is asked for again."""
ANSWER_S: Final = 10.0
"""How long an answer is awaited. Without one, upstream is assumed not to use CORS."""

_MAX_HEADS: Final = 64 * 1024
_fields_of = re.compile(rb"\r\n((?:access-control-[^:\r]*|vary):[^\r]*)", re.IGNORECASE).findall
_allows = re.compile(rb"\r\naccess-control-allow-origin:", re.IGNORECASE).search


class OriginAnswer(NamedTuple):
    """Upstream's answer to an origin.

    Attributes:
        fields: Lines for the head of each answer, with their line ends.
        refused: Upstream answers every request with 403.
    """

    fields: bytes = b""
    refused: bool = False

    def fields_beside(self, head: ResponseHead) -> bytes:
        """Return the lines for an answer of the application, so that scripts may also read what it adds."""
        if not self.fields or head.field(b"x-rerank") is None:
            return self.fields
        added = b"X-Rerank" if head.field(b"x-rerank-search") is None else b"X-Rerank, X-Rerank-Search"
        return self.fields + b"access-control-expose-headers: %b\r\n" % added


NOTHING: Final = OriginAnswer()
Then = Callable[[OriginAnswer], None]
_Key = tuple[bytes, bytes]


class Origins:
    """Asks upstream, and remembers its answers."""

    def __init__(self, loop: asyncio.AbstractEventLoop, upstream: Pool) -> None:
        self._loop = loop
        self._upstream = upstream
        self._known: OrderedDict[_Key, tuple[OriginAnswer, float]] = OrderedDict()
        self._asked: dict[_Key, list[Then]] = {}

    def known(self, request: RequestHead) -> OriginAnswer:
        """Return what upstream last answered to the origin of a request, even if that is no longer valid."""
        key = self._key(request)
        return NOTHING if key is None else self._last(key)

    def ask(self, request: RequestHead, then: Then) -> None:
        """Call `then` with the answer: before this returns if nothing has to be asked, else later."""
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
        """Return origin and host as upstream sees them, or None if there is nothing to ask about."""
        origin = request.field(b"origin")
        if not origin:
            return None
        host = self._upstream.nodes[0].target.host_header or request.field(b"host") or b""
        return None if len(origin) + len(host) > MAX_ORIGIN else (origin, host)

    def _ask(self, key: _Key, *, with_origin: bool) -> None:
        origin, host = key

        def head(target: Target) -> bytes:
            lines = [b"OPTIONS / HTTP/1.1", b"Host: " + (target.host_header or host)]
            if with_origin:
                lines.append(b"Origin: " + origin)
            return b"\r\n".join(lines) + b"\r\n\r\n"

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
        """Remember an answer and pass it on, or pass on the last one if there is none."""
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
    """Sends one request without a body, and reads the head of its answer.

    Args:
        request: Returns what to send to a node.
        done: Called once, with the head, or with None if there is no answer.
    """

    _attempt: Attempt | None = None
    _connection: UpstreamConnection | None = None
    _timer: asyncio.TimerHandle
    _begun = False

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        pool: Pool,
        request: Callable[[Target], bytes],
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
        connection.transport.write(self._request(connection.owner.target))

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
            self._attempt = self._pool.connect(self)  # it was closed before the request arrived
        else:
            self._end(None)

    def upstream_blocked(self) -> None:
        """Do nothing: all was sent."""

    def upstream_unblocked(self) -> None:
        """Do nothing, as above."""

    def _end(self, head: ResponseHead | None) -> None:
        self._timer.cancel()
        if self._attempt is not None:
            self._attempt.abandon()
            self._attempt = None
        connection, self._connection = self._connection, None
        if connection is not None:
            if head is not None and head.keep_alive and head.length == 0 and not self._heads:
                connection.owner.release(connection)
            else:
                connection.abort()
        self._done(head)
