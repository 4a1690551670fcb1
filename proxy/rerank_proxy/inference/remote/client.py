"""The HTTP client that all remote endpoints share, with their rate limits, tokens and metrics."""

import codecs
import hashlib
import socket
from contextlib import suppress
from typing import Any, Final
from weakref import WeakValueDictionary

import aiohttp
import msgspec
from prometheus_client import CollectorRegistry
from yarl import URL

from rerank_proxy.http.connection_faults import connection_fault
from rerank_proxy.inference.remote.addresses import HostNotAllowedError, HostRules, PrivateAddressError
from rerank_proxy.inference.remote.calls import HttpAnswer, HttpCall
from rerank_proxy.inference.remote.clock import Clock, LoopClock
from rerank_proxy.inference.remote.connections import (
    GuardedConnection,
    OverlongAnswerError,
    StaleConnectionError,
    open_session,
)
from rerank_proxy.inference.remote.headers import check_headers
from rerank_proxy.inference.remote.limits import AnswerLimit, Measured, UnusableAnswerError
from rerank_proxy.inference.remote.metrics import RemoteMetrics, outcome
from rerank_proxy.inference.remote.rate_limit import RateLimit
from rerank_proxy.inference.remote.retries import Retries
from rerank_proxy.inference.remote.tokens import TokenCache
from rerank_proxy.observe import stages
from rerank_proxy.observe.stages import Span
from rerank_proxy.settings import RemoteSettings

_MARKS: Final = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),  # which begins with that of UTF-16
    (codecs.BOM_UTF32_BE, "utf-32-be"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_VERSIONS: Final = (aiohttp.HttpVersion10, aiohttp.HttpVersion11)
_REFUSAL: Final = AnswerLimit(64 * 1024, 10_000, "")
_FRAMING: Final = 8
"""Bytes on the wire for a byte of the body, at most: a chunk of one byte takes six."""
_FRAMING_AT_LEAST: Final = 64 * 1024


class ConnectionFailedError(Exception):
    """A call failed on its connection. The message is for people and holds no address.

    Attributes:
        transient: Whether nothing was sent and another attempt may succeed.
    """

    def __init__(self, message: str, *, transient: bool = False) -> None:
        super().__init__(message)
        self.transient = transient


class RemoteClient:
    """Calls remote services. It opens connections when it needs them, and may be made before the event loop.

    Args:
        clock: For waiting and measuring; connections and deadlines use the event loop's.
    """

    def __init__(
        self, settings: RemoteSettings, registry: CollectorRegistry | None = None, clock: Clock | None = None
    ) -> None:
        self.settings = settings
        self.clock: Clock = clock if clock is not None else LoopClock()
        self.hosts = HostRules(settings)
        self.metrics = RemoteMetrics(registry if registry is not None else CollectorRegistry())
        self.retries = Retries(settings, self.clock)
        self.tokens = TokenCache(self.clock)
        self._limits: WeakValueDictionary[tuple[str, str, str], RateLimit] = WeakValueDictionary()
        self._sessions: dict[bool, aiohttp.ClientSession] = {}
        """The session that keeps its connections, and the one that does not."""

    def rate_limit(self, service: str, account: str, model: str) -> RateLimit:
        """Return the rate limit that all endpoints of an account share for a model. It lives as long as they
        do.

        Args:
            account: Made by `digest`.
        """
        key = (service, account, model)
        limit = self._limits.get(key)
        if limit is None:
            limit = self._limits[key] = RateLimit(self.clock, self.settings.rate_limit_queue)
        return limit

    async def send(self, service: str, call: HttpCall, limit: AnswerLimit) -> HttpAnswer:
        """Send a call and return its answer, without following redirections.

        Raises:
            HostNotAllowedError: Its host turned out not to be allowed.
            HeaderNotAllowedError: A header may not be sent.
            ConnectionFailedError: No whole answer came.
            UnusableAnswerError: The answer is larger than allowed, or coded.
        """
        check_headers(call.headers.items())
        with stages.request_to("POST") as block:
            if block.span is not None:
                _describe(block.span, service, call)
            answer = await self._counted(service, call, limit)
            if block.span is not None:
                block.span.set({"http.response.status_code": answer.status})
                if answer.status >= 400:
                    block.span.fail(str(answer.status))
            return answer

    async def _counted(self, service: str, call: HttpCall, limit: AnswerLimit) -> HttpAnswer:
        began = self.clock.now()
        became = "abandoned"
        try:
            answer = await self._exchange(service, call, limit)
            became = outcome(answer.status)
            return answer
        except (ConnectionFailedError, HostNotAllowedError, UnusableAnswerError):
            became = "no_answer"
            raise
        finally:
            self.metrics.calls.labels(service, became).inc()
            self.metrics.seconds.labels(service).observe(self.clock.now() - began)

    async def close(self) -> None:
        await self.tokens.close()
        for session in self._sessions.values():
            await session.close()
        self._sessions.clear()

    async def _exchange(self, service: str, call: HttpCall, limit: AnswerLimit) -> HttpAnswer:
        try:
            try:
                return await self._post(call, limit, keep=True)
            except StaleConnectionError:
                # The server most likely closed it for being idle, just before it was used again. Scoring
                # changes nothing, and on a new connection this cannot happen again.
                self.metrics.resent.labels(service).inc()
                return await self._post(call, limit, keep=False)
        except aiohttp.ClientError as failure:
            told = _told(failure, call, self.settings.connect_timeout_s)
        raise told  # out here, where aiohttp's error, which holds the headers, is not its context

    async def _post(self, call: HttpCall, limit: AnswerLimit, *, keep: bool) -> HttpAnswer:
        async with self._session(keep=keep).post(
            URL(call.url), data=call.body, headers=call.headers, allow_redirects=False
        ) as answer:
            if answer.version not in _VERSIONS:
                raise ConnectionFailedError("the answer is not HTTP/1.1")
            if 200 <= answer.status < 300:
                body = await _read(answer, Measured(limit, call.body), limit.size)
            else:
                body = await _read_refusal(answer)
            return HttpAnswer(answer.status, answer.headers, _in_utf_8(body))

    def _session(self, *, keep: bool) -> aiohttp.ClientSession:
        session = self._sessions.get(keep)
        if session is None:
            session = self._sessions[keep] = open_session(self.settings, keep=keep)
        return session


def _describe(span: Span, service: str, call: HttpCall) -> None:
    """Say what is called: no more of the URL than its host, since paths and queries may hold secrets.

    The service is not sent the trace: it is another's server, which has no use for it.
    """
    span.set({"http.request.method": "POST", "rerank_proxy.service": service})
    with suppress(ValueError):
        url = URL(call.url)
        if url.host is not None and url.port is not None:
            span.set({"server.address": url.host, "server.port": url.port})


async def _read(answer: aiohttp.ClientResponse, measured: Measured, size: int) -> bytes | bytearray:
    """Return a body, read as far as its limit.

    Raises:
        UnusableAnswerError: It is longer, or coded.
    """
    if _is_coded(answer):
        raise UnusableAnswerError("it has a [Content-Encoding], which was not asked for")
    connection = answer.connection
    protocol = connection.protocol if connection is not None else None
    if isinstance(protocol, GuardedConnection):
        protocol.allow(_FRAMING * size + _FRAMING_AT_LEAST)
    try:
        async for chunk in answer.content.iter_any():
            measured.add(chunk)
    except aiohttp.ClientPayloadError:
        if not _is_cut(protocol):
            raise
    if _is_cut(protocol):
        raise UnusableAnswerError("it is framed in far more bytes than it has")
    return measured.body


async def _read_refusal(answer: aiohttp.ClientResponse) -> bytes | bytearray:
    """Return the body of a refusal, which only says why; an empty one where it is longer than people read."""
    try:
        return await _read(answer, Measured(_REFUSAL, b""), _REFUSAL.size)
    except UnusableAnswerError:
        return b""


def _in_utf_8(body: bytes | bytearray) -> bytes | bytearray:
    """Return a body in UTF-8, without the byte order mark that some servers begin with."""
    for mark, coding in _MARKS:
        if body.startswith(mark):
            try:
                return body.decode(coding).removeprefix("\ufeff").encode()
            except UnicodeError:
                return body
    return body


def _is_coded(answer: aiohttp.ClientResponse) -> bool:
    codings = ",".join(answer.headers.getall("Content-Encoding", ())).lower().split(",")
    return any(coding.strip() not in ("", "identity") for coding in codings)


def _is_cut(protocol: object) -> bool:
    return isinstance(protocol, GuardedConnection) and protocol.overlong


def digest(*parts: Any) -> str:
    """Return a name for secrets that does not give them away."""
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()


def _told(failure: aiohttp.ClientError, call: HttpCall, connect_timeout_s: float) -> Exception:
    """Return the failure in words of this proxy: aiohttp's may repeat headers or the whole URL."""
    if isinstance(failure, aiohttp.ServerTimeoutError):
        reason = f"there was no connection within [remote.connect_timeout_s: {connect_timeout_s:g}s]"
        return ConnectionFailedError(reason, transient=True)
    if isinstance(failure, aiohttp.InvalidURL):
        return HostNotAllowedError("this is not a URL")
    if isinstance(failure, aiohttp.ClientConnectorCertificateError):
        return ConnectionFailedError(connection_fault(failure).words)
    if isinstance(failure, aiohttp.ClientConnectorError):
        return _unopened(failure, call)
    if isinstance(failure, OverlongAnswerError):
        return ConnectionFailedError("an endless head came instead of an answer")
    if isinstance(
        failure, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError | aiohttp.ClientPayloadError
    ):
        return ConnectionFailedError("the connection was closed before the whole answer came")
    if isinstance(failure, aiohttp.ClientResponseError):
        return ConnectionFailedError("the answer is not HTTP/1.1")
    return ConnectionFailedError(f"the exchange failed ({type(failure).__name__})")


def _unopened(failure: aiohttp.ClientConnectorError, call: HttpCall) -> Exception:
    error = failure.os_error
    if isinstance(error, PrivateAddressError):
        return HostNotAllowedError(error.told(call.shown))
    hopeless = isinstance(failure, aiohttp.ClientConnectorSSLError) or (
        isinstance(error, socket.gaierror) and error.errno != socket.EAI_AGAIN
    )
    return ConnectionFailedError(connection_fault(error).words, transient=not hopeless)
