"""The application's HTTP server, for the edge alone.

It reads requests by the edge's grammar: what the edge lets through is never refused here, and no client ever
sees an error page of a library's.
"""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final, cast

from rerank_proxy.concurrency.tasks import BackgroundTasks
from rerank_proxy.edge import answers
from rerank_proxy.errors import ElasticsearchError, internal_error
from rerank_proxy.http import handover
from rerank_proxy.http.framing import Body, FramingError, SizedBody, request_body
from rerank_proxy.http.head import HeadError, RequestHead, parse_request
from rerank_proxy.http.inbox import Inbox
from rerank_proxy.http.messages import Request, Response
from rerank_proxy.observe import request_id
from rerank_proxy.settings import Settings

logger = logging.getLogger(__name__)

Handle = Callable[[Request], Awaitable[Response]]
"""Answers a request. It is cancelled when the client leaves."""

_MAX_HEAD: Final = 16 * 1024 * 1024
"""Bytes of a request's head. Those that clients may send are fewer: `edge.max_head`."""
_MAX_PIPELINED: Final = 64 * 1024
"""Bytes of further requests that are taken in while one is answered."""


class Listener:
    """Serves one socket.

    Args:
        shutdown_timeout_s: Seconds that requests under way may take once it closes.

    Attributes:
        closing: Whether connections close after the answer under way.
        tasks: Those that answer requests.
    """

    def __init__(self, handle: Handle, shutdown_timeout_s: float) -> None:
        self.handle = handle
        self.closing = False
        self._shutdown_timeout_s = shutdown_timeout_s
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self.tasks = BackgroundTasks()

    async def start(self, at: socket.socket | Path | str) -> None:
        """Serve on a bound socket, or on a UNIX socket at a path, which is made."""
        loop = asyncio.get_running_loop()
        if isinstance(at, socket.socket):
            self._server = await loop.create_server(self._connection, sock=at)
        else:
            self._server = await loop.create_unix_server(self._connection, str(at))

    def _connection(self) -> "_Connection":
        return _Connection(self, self._connections)

    def use(self, settings: Settings) -> None:
        """Use another time for the answers that are under way when it is closed."""
        self._shutdown_timeout_s = settings.lifecycle.shutdown_timeout_s

    async def close(self) -> None:
        """Accept no more connections. Finish the answers under way, but cut off those that take too long."""
        self.closing = True
        if self._server is not None:
            self._server.close()
        open_ = list(self._connections)
        for connection in open_:
            connection.finish()
        if open_:
            await asyncio.wait([each.lost for each in open_], timeout=self._shutdown_timeout_s)
        late = [each for each in open_ if not each.lost.done()]
        for connection in late:
            connection.abort()
        for connection in late:
            await connection.lost
        await self.tasks.finish()


class _Connection(asyncio.Protocol):
    """A connection from the edge, whose requests are answered one after the other."""

    _transport: asyncio.Transport
    task: asyncio.Task[None] | None = None
    lost: asyncio.Future[None]
    _head: RequestHead | None = None
    _body: Body | None = None
    _paused = False

    def __init__(self, listener: Listener, connections: "set[_Connection]") -> None:
        self.lost = asyncio.get_running_loop().create_future()
        self._listener = listener
        self._connections = connections
        self._inbox = Inbox()
        self._pieces: list[bytes] = []

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.discard(self)
        self.lost.set_result(None)
        if self.task is not None:
            self.task.cancel()

    def data_received(self, data: bytes) -> None:
        self._inbox.append(data)
        if self.task is None:
            self._read()
        elif len(self._inbox) > _MAX_PIPELINED and not self._paused:
            self._paused = True
            self._transport.pause_reading()

    # Requests

    def _read(self) -> None:
        """Take the next request from what has come, if it is complete."""
        try:
            if self._head is None:
                self._read_head()
            if self._head is not None:
                self._read_body(self._head)
        except HeadError as problem:
            self._refuse(answers.malformed(problem.reason, problem.status))
        except FramingError as problem:
            self._refuse(answers.malformed(f"the body: {problem}"))

    def _read_head(self) -> None:
        raw = self._inbox.take_head(_MAX_HEAD)
        if raw is None:
            return
        self._head = head = parse_request(raw)
        self._pieces = []
        self._body = request_body(head) or SizedBody(0)

    def _read_body(self, head: RequestHead) -> None:
        assert self._body is not None
        inbox = self._inbox
        while not self._body.done and (inbox.at < len(inbox.block) or inbox.next_block()):
            inbox.at = self._body.feed(inbox.block, inbox.at, self._pieces)
        if self._body.done:
            self._head = None
            request = Request.of(head, b"".join(self._pieces))
            self._pieces = []
            self.task = self._listener.tasks.start(self._answer(request, head))

    async def _answer(self, request: Request, head: RequestHead) -> None:
        close = not head.keep_alive
        request_id.current.set(request.headers.get(handover.REQUEST_ID))
        try:
            response = await self._listener.handle(request)
            printed = response.printed(close=close or self._listener.closing)
        except Exception:
            # A defect must not reach the client as a closed connection or a bare text.
            logger.exception("a request failed with an internal error")
            self._refuse(internal_error(), head)
            return
        finally:
            self.task = None
        self._transport.writelines(printed)
        if close or self._listener.closing:
            self._transport.close()
            return
        if self._paused:
            self._paused = False
            self._transport.resume_reading()
        if self._inbox:
            self._read()

    def _refuse(self, failure: ElasticsearchError, request: RequestHead | None = None) -> None:
        self._transport.write(answers.render(failure, close=True, request=request))
        self._transport.close()

    def finish(self) -> None:
        """Close after the answer under way; without one, now."""
        if self.task is None:
            self._transport.close()

    def abort(self) -> None:
        """Close now, even with an answer under way."""
        self._transport.abort()
