"""aiohttp's server without what it reveals of itself: its version, and pages of text as error bodies.

A port answers in the words of Elasticsearch or of the proxy. The name of a library would only tell an
attacker which defects to try.
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
"""Types of errors by status; other errors are the request's, `illegal_argument_exception`."""


class QuietServer:
    """Serves an aiohttp application.

    Args:
        shutdown_timeout: Seconds that requests under way have when it stops.
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
        """Start the application, so that connections can be made."""
        await self._runner.setup()

    def connection(self) -> web.RequestHandler:
        """Return the protocol of a new connection."""
        server = self._runner.server
        assert server is not None
        loop = asyncio.get_running_loop()
        return _Connection(server, loop=loop, access_log=None, **self._options)  # type: ignore[arg-type]

    async def listen(
        self, at: socket | Path, connections: Callable[[], asyncio.BaseProtocol] | None = None
    ) -> None:
        """Accept connections on a listening socket, or on a UNIX socket that is made here.

        Args:
            connections: Makes the protocols in place of `connection`, which it calls.
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
    """Answers in JSON where aiohttp would have made a page."""

    __slots__ = ()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the answer to what is not HTTP, or to a request at which the application failed."""
        if status < 500:
            return _Refusal(status, "malformed HTTP request")
        logger.error("a request failed with an internal error", exc_info=exc)
        if request.writer.output_size > 0:
            raise ConnectionError("a part of the answer was already sent")
        return _Refusal(status, "rerank-proxy failed; its log has the details")

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer, or a `_Refusal` in place of a page for an error."""
        if isinstance(resp, web.HTTPException):
            resp = _Refusal(resp.status, HTTPStatus(resp.status).phrase, resp.headers.get("Allow"))
        return await super().finish_response(request, resp, start_time)


class _Refusal(web.StreamResponse):
    """A complete error answer, which ends the connection."""

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
        """Do nothing: `prepare` sent all of it."""


async def _drop_added_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Drop headers that Elasticsearch does not send, so that clients cannot tell what answers."""
    response.headers.popall("Date", None)
    response.headers.popall("Server", None)
