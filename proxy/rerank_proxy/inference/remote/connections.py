"""aiohttp's connections, guarded against hostile servers.

aiohttp bounds lines, headers and its buffers. It does not bound interim answers (`100 Continue` for ever),
nor what it reads that never becomes part of a body; it takes what comes between two calls for the answer to
the second; and it does not tell whether a connection that broke was kept from an earlier call and had
received anything, which decides whether a call may be sent once more.
"""

from functools import partial
from typing import Any, Final

import aiohttp
from aiohttp.client_proto import ResponseHandler

from rerank_proxy.inference.remote.addresses import GuardedResolver
from rerank_proxy.settings import RemoteSettings

_USER_AGENT: Final = "rerank-proxy"
_MAX_HEAD: Final = 64 * 1024
_MAX_INTERIM: Final = 16
_PIECE: Final = 4096
"""A head is parsed in pieces, so that little of an endless one is parsed before it is noticed."""


class StaleConnectionError(aiohttp.ServerDisconnectedError):
    """A connection that was kept from an earlier call was closed before a byte of an answer came."""


class OverlongAnswerError(aiohttp.ClientPayloadError):
    """A server sends something that is not an answer, without an end."""


class GuardedConnection(ResponseHandler):
    """A guarded connection.

    It overrides three methods that aiohttp calls by these names: `set_response_params` before each request,
    `feed_data` with each head that was parsed, and `set_exception` with what ended the connection.
    """

    def __init__(self, loop: Any) -> None:
        super().__init__(loop)
        self._requests = 0
        self._received = 0
        self._interim = 0
        self._answer: Any = None
        """The body of the answer, once its head has come."""
        self._most: int | None = None
        self._overlong = False

    @property
    def overlong(self) -> bool:
        """Return whether the connection was cut because too much came."""
        return self._overlong

    def allow(self, size: int) -> None:
        """Cut the connection when more bytes than this come from now on, framing included."""
        self._most = self._received + size

    def set_response_params(self, **params: Any) -> None:
        self._requests += 1
        self._received = self._interim = 0
        self._answer = None
        self._most = None
        super().set_response_params(**params)

    def data_received(self, data: bytes) -> None:
        self._received += len(data)
        if data and self._is_idle():
            self.abort()
            return
        while data and self._answer is None:
            piece, data = data[:_PIECE], data[_PIECE:]
            super().data_received(piece)
            if self.exception() is not None:
                return
            head = self._received - len(data)
            if self._interim > _MAX_INTERIM or (head > _MAX_HEAD and self._answer is None):
                self._cut()
                return
        if self._most is not None and self._received > self._most:
            self._cut()
        elif data:
            super().data_received(data)

    def feed_data(self, data: Any, size: int = 0) -> None:
        message, body = data
        if self._answer is not None:
            self.force_close()  # a second answer to one call
            return
        if 100 <= message.code < 200 and message.code != 101:
            self._interim += 1
        else:
            self._answer = body
        super().feed_data(data, size)

    def set_exception(self, exc: BaseException, *cause: BaseException) -> None:
        broke = isinstance(exc, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError)
        if self._overlong:
            exc = OverlongAnswerError("too much that is not an answer")
        elif broke and self._requests > 1 and self._received == 0:
            exc = StaleConnectionError()
        super().set_exception(exc, *cause)

    def _is_idle(self) -> bool:
        """Return whether the last call was answered, and no other has been sent."""
        return self._answer is not None and bool(self._answer.is_eof())

    def _cut(self) -> None:
        self._overlong = True
        if self._answer is None:
            self.set_exception(OverlongAnswerError())
        if self.transport is not None:
            self.transport.abort()


class _Connector(aiohttp.TCPConnector):
    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._factory = partial(GuardedConnection, loop=self._loop)  # type: ignore[assignment]


def open_session(settings: RemoteSettings, *, keep: bool) -> aiohttp.ClientSession:
    """Return a session without cookies, proxies of the environment and coded answers.

    Args:
        keep: Whether connections are kept for further calls; if not, each call opens one.
    """
    resolver = GuardedResolver(allow_private=settings.allow_private_addresses)
    return aiohttp.ClientSession(
        connector=_Connector(limit=0, resolver=resolver, force_close=not keep),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=settings.connect_timeout_s),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": _USER_AGENT, "Accept-Encoding": "identity"},
        auto_decompress=False,
        trust_env=False,
    )
