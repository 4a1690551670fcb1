"""aiohttp's server, less what it tells of itself: its version, and pages of text in place of error bodies.

A port answers in Elasticsearch's words or the proxy's own. What serves it would merely tell an attacker which
defects to try.
"""

import asyncio
import logging
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from socket import socket
from typing import Any, Final

from aiohttp import web
from aiohttp.abc import AbstractStreamWriter

from rerank_proxy.errors import encode, error

logger = logging.getLogger(__name__)

_TYPES: Final = {500: "illegal_state_exception", 504: "timeout_exception"}
"""Of an error's body, by its status; what is wrong with the request is an `illegal_argument_exception`."""


class QuietServer:
    """Serves an aiohttp application.

    Args:
        shutdown_timeout: Seconds for requests under way when it stops.
        handler_cancellation: A client that leaves cancels its request.
        connection: Further options of `web.RequestHandler`.
    """

    def __init__(
        self,
        app: web.Application,
        *,
        shutdown_timeout: float,
        handler_cancellation: bool = False,
        **connection: Any,
    ) -> None:
        app.on_response_prepare.append(_drop_added_headers)
        self._runner = web.AppRunner(
            app, shutdown_timeout=shutdown_timeout, handler_cancellation=handler_cancellation
        )
        self._options = connection
        self._listeners: list[asyncio.Server] = []

    async def start(self) -> None:
        """Start the application; then connections may come."""
        await self._runner.setup()

    def connection(self) -> web.RequestHandler:
        """The protocol of a new connection."""
        server = self._runner.server
        assert server is not None
        loop = asyncio.get_running_loop()
        return _Connection(server, loop=loop, access_log=None, **self._options)  # type: ignore[arg-type]

    async def listen(
        self, at: socket | Path, connections: Callable[[], asyncio.BaseProtocol] | None = None
    ) -> None:
        """Take connections from a socket that listens already, or from a UNIX socket that is made.

        Args:
            connections: What makes them, over `connection`.
        """
        loop = asyncio.get_running_loop()
        protocol = connections or self.connection
        if isinstance(at, Path):
            listener = await loop.create_unix_server(protocol, at)
        else:
            listener = await loop.create_server(protocol, sock=at)
        self._listeners.append(listener)

    async def stop(self) -> None:
        for listener in self._listeners:
            listener.close()
        await self._runner.cleanup()


class _Connection(web.RequestHandler):
    """Answers in JSON wherever aiohttp would have made a page."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the answer to what is no HTTP, or to what the application failed at."""
        if status < 500:
            return _Refusal(status, "malformed HTTP request")
        logger.error("a request failed in the proxy itself", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the answer is sent already")
        return _Refusal(status, "rerank-proxy failed; its log has the details")

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer, unless it is a page for an error, which `_Refusal` takes the place of."""
        if isinstance(resp, web.HTTPException):
            resp = _Refusal(resp.status, HTTPStatus(resp.status).phrase, resp.headers.get("Allow"))
        return await super().finish_response(request, resp, start_time)


class _Refusal(web.StreamResponse):
    """A whole answer that is written as it is, and ends the connection."""

    def __init__(self, status: int, reason: str, allow: str | None = None) -> None:
        super().__init__(status=status)
        kind = _TYPES.get(status, "illegal_argument_exception")
        self._json: Final = encode(error(status, kind, reason).body())
        self._allow: Final = allow
        self.force_close()

    async def prepare(self, request: web.BaseRequest) -> AbstractStreamWriter | None:
        lines = [f"HTTP/1.1 {self.status} {HTTPStatus(self.status).phrase}"]
        lines += [f"Allow: {self._allow}"] if self._allow else []
        lines += ["content-type: application/json", f"content-length: {len(self._json)}", "connection: close"]
        head = "\r\n".join([*lines, "\r\n"]).encode()
        if request.transport is not None:
            request.transport.write(head if request.method == "HEAD" else head + self._json)
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """It was sent as a whole."""


async def _drop_added_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Elasticsearch sends neither, and a client must not be able to tell."""
    response.headers.popall("Date", None)
    response.headers.popall("Server", None)
