"""Calls upstream with the proxy's own account."""

from base64 import b64encode
from typing import Any, Final, TypeVar

import aiohttp
import msgspec
from yarl import URL

from rerank_proxy.http.connection_faults import ConnectionFault, connection_fault, refusal_after_handshake
from rerank_proxy.observe.log_lines import printable
from rerank_proxy.settings import InvalidSettingsError, RegistrySettings, UpstreamSettings
from rerank_proxy.upstream.faults import CLOSED, disconnected_text, unreachable_text
from rerank_proxy.upstream.read_only import is_read_only
from rerank_proxy.upstream.tls import upstream_tls

_JSON: Final = "application/vnd.elasticsearch+json; compatible-with=8"
"""A media type that Elasticsearch 8 and 9 accept."""
_TIMEOUT_S: Final = 10.0
_NEXT_NODE_S: Final = 1.0
"""Seconds after which the next node is tried in place of one that does not answer."""
MAX_ANSWER: Final = 8 * 2**20
NO_ELASTICSEARCH: Final = "no_elasticsearch"
"""The type of a refusal for an answer that is not Elasticsearch's."""
UNREACHED: Final = "unreached"
"""The type of a refusal where there was no answer."""
_MAX_REFUSAL: Final = 64 * 1024
_MAX_REASON: Final = 300
_Answer = TypeVar("_Answer")


class RefusedError(Exception):
    """Upstream did not do what it was asked.

    Attributes:
        status: The status of its answer; 502, there is none, or it is not Elasticsearch's; 504, none came in
            time.
        type, reason: Those of the exception in its answer; the type may be empty.
    """

    def __init__(self, status: int, type_: str, reason: str) -> None:
        super().__init__(reason)
        self.status = status
        self.type = type_
        self.reason = printable(reason[:_MAX_REASON])

    @property
    def is_unanswered(self) -> bool:
        """Return whether upstream itself has not answered, so that it may have done what it was asked."""
        return self.status == 504 or self.type in (UNREACHED, NO_ELASTICSEARCH)


class UnreadableError(Exception):
    """An answer is larger, or nested more deeply, than can be read."""


class IndexClient:
    """Calls the APIs of one index."""

    def __init__(self, upstream: UpstreamSettings, registry: RegistrySettings) -> None:
        """Prepare connections; called in an event loop.

        Raises:
            InvalidSettingsError: The files for TLS are unfit, or the credentials cannot be sent.
        """
        connect_s = upstream.connect_timeout_s
        self._limit = f"[upstream.connect_timeout_s: {connect_s:g}s]"
        self._index: Final = registry.index
        self._server_name: Final = upstream.server_name
        self._nodes = list(upstream.node_urls)  # the one that was reached last comes first
        if len(self._nodes) > 1 and connect_s > _NEXT_NODE_S:
            connect_s, self._limit = _NEXT_NODE_S, f"{_NEXT_NODE_S:g} s"
        headers = {"Accept": _JSON, "Accept-Encoding": "identity"}
        if (authorization := _authorization(registry)) is not None:
            headers["Authorization"] = authorization
        self._tls: Final = upstream_tls(upstream, quiet=True)  # the edge tells of changes
        if self._tls is not None:
            self._tls.follow()
        self._session: Final = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=_TIMEOUT_S, sock_connect=connect_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers=headers,
            auto_decompress=False,
            trust_env=False,
            middlewares=(_repeat_reads_alone,),
        )

    async def close(self) -> None:
        if self._tls is not None:
            await self._tls.close()
        await self._session.close()

    async def call(self, method: str, target: str, body: Any = None, *, answer: type[_Answer]) -> _Answer:
        """Call an API of the index and return its answer.

        Args:
            target: What follows the index in the path, percent-encoded.
            body: Sent as JSON.
            answer: The type of the answer.

        Raises:
            RefusedError: Upstream refuses, cannot be reached, or does not answer as Elasticsearch does.
            UnreadableError: The answer is too large or too deep.
        """
        data = await self._exchange(method, target, body)
        try:
            return msgspec.json.decode(data, type=answer)
        except RecursionError:
            raise UnreadableError("is nested too deeply") from None
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise _not_elasticsearch() from None

    async def _exchange(self, method: str, target: str, body: Any) -> bytes:
        path = f"/{self._index}/{target}" if target else f"/{self._index}"
        data = None if body is None else msgspec.json.encode(body)
        unreached: list[tuple[str, ConnectionFault]] = []
        for node in list(self._nodes):
            try:
                return await self._exchange_with(node, method, URL(node + path, encoded=True), data)
            except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError) as error:
                unreached.append((node, connection_fault(error, self._limit)))  # nothing was sent
        (first, fault), *others = unreached
        words = unreachable_text(first, fault, [node for node, _ in others])
        raise RefusedError(502, UNREACHED, words)

    def _prefer(self, node: str) -> None:
        if node != self._nodes[0]:
            self._nodes.sort(key=lambda each: each != node)

    async def _exchange_with(self, node: str, method: str, url: URL, data: bytes | None) -> bytes:
        """Send a request to a node, and return the body of its answer.

        Raises:
            aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError: It cannot be reached.
        """
        headers = {} if data is None else {"Content-Type": _JSON}
        try:
            async with await self._request(method, url, data=data, headers=headers) as answer:
                self._prefer(node)
                if not answer.ok:
                    raise _refusal(answer.status, await _read(answer, _MAX_REFUSAL))
                if answer.headers.get("X-Elastic-Product") != "Elasticsearch" or answer.status >= 300:
                    raise _not_elasticsearch()
                content = await _read(answer, MAX_ANSWER + 1)
        except (aiohttp.ClientConnectorError, aiohttp.ConnectionTimeoutError):
            raise
        except TimeoutError:
            raise RefusedError(504, "", f"no answer within {_TIMEOUT_S:g} s") from None
        except aiohttp.ClientError as error:
            if self._tls is not None and (refusal := refusal_after_handshake(error)) is not None:
                self._tls.doubt()
                raise RefusedError(502, UNREACHED, unreachable_text(node, refusal)) from None
            text = disconnected_text(
                node, _did(error), spoke_http=isinstance(error, aiohttp.ClientPayloadError)
            )
            raise RefusedError(502, UNREACHED, text) from None
        if len(content) > MAX_ANSWER:
            raise UnreadableError(f"takes more than {MAX_ANSWER} bytes")
        return content

    async def _request(self, method: str, url: URL, **options: Any) -> aiohttp.ClientResponse:
        """Send a request, and again if it met a certificate that newer files fit (see `TcpTarget.open`)."""
        if self._tls is None:
            return await self._session.request(method, url, allow_redirects=False, **options)
        name = self._server_name
        options |= {"allow_redirects": False, "server_hostname": name}
        context = await self._tls.settled()
        try:
            return await self._session.request(method, url, ssl=context, **options)
        except (aiohttp.ClientConnectorSSLError, aiohttp.ClientConnectorCertificateError):
            if not await self._tls.differs_from(context):
                raise
        return await self._session.request(method, url, ssl=self._tls.current, **options)


async def _repeat_reads_alone(
    request: aiohttp.ClientRequest, send: aiohttp.ClientHandlerType
) -> aiohttp.ClientResponse:
    """Send a request again, once, when its connection was lost and it only reads.

    A kept connection may have been closed just before it was used. aiohttp would repeat `PUT` and `DELETE`
    too, which may have been carried out: the second would find the endpoint created, or changed. It repeats
    nothing that fails with the error raised here.
    """
    path = request.url.raw_path.encode("ascii")
    for may_be_repeated in (is_read_only(request.method.encode("ascii"), path), False):
        try:
            return await send(request)
        except aiohttp.ClientConnectorError:
            raise
        except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
            if not may_be_repeated:
                raise aiohttp.ClientConnectionError(str(error)) from None
    raise AssertionError("the second attempt is the last")


async def _read(answer: aiohttp.ClientResponse, max_bytes: int) -> bytes:
    """Return the beginning of the body."""
    content = bytearray()
    while len(content) < max_bytes:
        chunk = await answer.content.read(max_bytes - len(content))
        if not chunk:
            break
        content += chunk
    return bytes(content)


def _refusal(status: int, body: bytes) -> RefusedError:
    try:
        error = msgspec.json.decode(body)["error"]
        if isinstance(error, str):
            return RefusedError(status, "", error)
        reason = error["reason"] or error["caused_by"]["reason"]
        return RefusedError(status, str(error["type"]), str(reason))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, TypeError):
        return RefusedError(status, "", "it gave no reason")


def _not_elasticsearch() -> RefusedError:
    return RefusedError(502, NO_ELASTICSEARCH, "it does not answer as Elasticsearch does")


def _did(error: aiohttp.ClientError) -> str:
    """Return what upstream did instead of answering."""
    if isinstance(error, aiohttp.ClientPayloadError):
        return "broke off its answer"
    if isinstance(error, aiohttp.ClientConnectionError):
        return CLOSED
    return "sent a malformed answer"


def _authorization(registry: RegistrySettings) -> str | None:
    if registry.api_key is not None:
        key = registry.api_key.get_secret_value()
        if not (key.isascii() and key.isprintable()):
            raise InvalidSettingsError("[registry.api_key]: holds characters that no header may have")
        return f"ApiKey {key}"
    if registry.username is not None and registry.password is not None:
        pair = f"{registry.username}:{registry.password.get_secret_value()}"
        return f"Basic {b64encode(pair.encode()).decode('ascii')}"
    return None
