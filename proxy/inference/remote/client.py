"""The one HTTP client of all remote endpoints, and what they share: limits, tokens, metrics."""

import hashlib
import os
from typing import Any, Final
from weakref import WeakValueDictionary

import aiohttp
import msgspec
from prometheus_client import CollectorRegistry
from yarl import URL

from proxy.inference.remote.addresses import GuardedResolver, HostRules, PrivateAddressError
from proxy.inference.remote.calls import HttpAnswer, HttpCall
from proxy.inference.remote.clock import Clock, LoopClock
from proxy.inference.remote.metrics import RemoteMetrics, outcome
from proxy.inference.remote.rate_limit import RateLimit
from proxy.inference.remote.retries import Retries
from proxy.inference.remote.tokens import TokenCache
from proxy.settings import RemoteSettings

_USER_AGENT: Final = "rerank-proxy"


class ConnectionFailedError(Exception):
    """The message is for people and holds no address but the host's.

    Attributes:
        transient: Whether another try may go well.
    """

    def __init__(self, message: str, *, transient: bool = True) -> None:
        super().__init__(message)
        self.transient = transient


class AnswerTooLargeError(Exception):
    """The message names the setting."""


class RemoteClient:
    """Connections are opened when they are needed, so that it may be made before there is an event loop.

    Args:
        clock: For waiting and measuring; connections and deadlines are on the event loop's.
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
        self._session: aiohttp.ClientSession | None = None

    def rate_limit(self, service: str, account: str, model: str) -> RateLimit:
        """The limit that all endpoints of an account share for a model; it lives as long as they do.

        Args:
            account: As of `digest`.
        """
        key = (service, account, model)
        limit = self._limits.get(key)
        if limit is None:
            limit = self._limits[key] = RateLimit(self.clock, self.settings.rate_limit_queue)
        return limit

    async def send(self, service: str, call: HttpCall) -> HttpAnswer:
        """One exchange, without redirections.

        Raises:
            ConnectionFailedError: No whole answer came.
            AnswerTooLargeError: It is larger than the settings allow.
        """
        began = self.clock.now()
        became = "abandoned"
        try:
            answer = await self._exchange(call)
            became = outcome(answer.status)
            return answer
        except (ConnectionFailedError, AnswerTooLargeError):
            became = "no_answer"
            raise
        finally:
            self.metrics.calls.labels(service, became).inc()
            self.metrics.seconds.labels(service).observe(self.clock.now() - began)

    async def close(self) -> None:
        await self.tokens.close()
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _exchange(self, call: HttpCall) -> HttpAnswer:
        try:
            try:
                return await self._post(call)
            except aiohttp.ServerDisconnectedError:
                # A kept connection was closed just before it was used again. A ranking changes nothing.
                return await self._post(call)
        except aiohttp.ServerTimeoutError:
            raise ConnectionFailedError("the connection could not be opened in time") from None
        except aiohttp.InvalidURL:
            raise ConnectionFailedError("this is not a URL", transient=False) from None
        except ValueError:  # not from aiohttp's own exceptions: a header that HTTP cannot carry
            raise ConnectionFailedError("a header holds a line break", transient=False) from None
        except aiohttp.ClientError as failure:
            private = isinstance(failure, aiohttp.ClientConnectorError) and isinstance(
                failure.os_error, PrivateAddressError
            )
            raise ConnectionFailedError(_describe(failure), transient=not private) from None

    async def _post(self, call: HttpCall) -> HttpAnswer:
        async with self._opened().post(
            URL(call.url), data=call.body, headers=call.headers, allow_redirects=False
        ) as answer:
            return HttpAnswer(answer.status, answer.headers, await self._read(answer))

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        chunks, size = [], 0
        async for chunk in answer.content.iter_any():
            chunks.append(chunk)
            size += len(chunk)
            if size > self.settings.max_answer:
                raise AnswerTooLargeError(
                    f"it is larger than [remote.max_answer: {self.settings.max_answer}] bytes"
                )
        return b"".join(chunks)

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            resolver = GuardedResolver(allow_private=self.settings.allow_private_addresses)
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0, resolver=resolver),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.settings.connect_timeout_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": _USER_AGENT},
                skip_auto_headers=("Accept-Encoding",),
                trust_env=False,
            )
        return self._session


def digest(*parts: Any) -> str:
    """A name for secrets that does not give them away."""
    return hashlib.sha256(msgspec.json.encode(parts, order="deterministic")).hexdigest()


def _describe(failure: aiohttp.ClientError) -> str:
    """Not in aiohttp's words, which may repeat headers or the whole URL."""
    if isinstance(failure, aiohttp.ClientConnectorCertificateError):
        return "its certificate cannot be trusted"
    if isinstance(failure, aiohttp.ClientConnectorDNSError | aiohttp.ClientConnectorError):
        error = failure.os_error
        number = error.errno or 0
        return os.strerror(number) if number > 0 else error.strerror or "the connection could not be opened"
    if isinstance(
        failure, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError | aiohttp.ClientPayloadError
    ):
        return "the connection was closed before the whole answer came"
    return f"the exchange failed ({type(failure).__name__})"
