"""Elasticsearch over aiohttp, with everything switched off that would add to or change a request."""

import os
from io import BytesIO
from typing import Final

import aiohttp
from multidict import CIMultiDict
from yarl import URL

from proxy.app.credentials import CallerDigests
from proxy.app.headers import content_type_beside, for_client
from proxy.errors import error
from proxy.settings import SearchSettings, UpstreamSettings
from proxy.upstream import Reply
from proxy.upstream_address import host_header, tls_context

_MAX_HEAD: Final = 64 * 1024
_AT_ONCE: Final = 256 * 1024


class UpstreamClient:
    """One pool of connections to upstream, shared by all callers."""

    def __init__(self, upstream: UpstreamSettings, search: SearchSettings) -> None:
        self._base = upstream.url
        self._callers = CallerDigests()
        self._host = host_header(upstream)
        self._max_response = search.max_response
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, ssl=tls_context(upstream) or True, keepalive_timeout=15),
            timeout=aiohttp.ClientTimeout(total=search.deadline_s, sock_connect=upstream.connect_timeout_s),
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Accept", "Accept-Encoding", "Content-Type", "User-Agent"),
            trust_env=False,
            max_line_size=_MAX_HEAD,
            max_field_size=_MAX_HEAD,
        )

    def for_caller(self, headers: CIMultiDict[str]) -> "CallerUpstream":
        """Upstream as one caller sees it."""
        if self._host is not None:
            headers = headers.copy()
            headers["Host"] = self._host.decode()
        return CallerUpstream(self, headers, self._callers.of(headers))

    async def request(self, method: str, target: str, body: bytes, headers: CIMultiDict[str]) -> Reply:
        """Send one request; see `proxy.upstream.Upstream`.

        A kept connection may have been closed just before it was used again. All that is sent here merely
        reads, so it is sent once more then.
        """
        url = URL(self._base + target, encoded=True)
        try:
            try:
                return await self._send(method, url, body, headers)
            except aiohttp.ServerDisconnectedError:
                return await self._send(method, url, body, headers)
        except TimeoutError:
            reason = f"upstream [{self._base}] did not answer an inner search in time"
            raise error(504, "status_exception", reason) from None
        except aiohttp.ClientError as failure:
            reason = f"upstream [{self._base}] cannot be reached: {_describe(failure)}"
            raise error(502, "status_exception", reason) from failure

    async def _send(self, method: str, url: URL, body: bytes, headers: CIMultiDict[str]) -> Reply:
        async with self._session.request(
            method, url, data=_in_pieces(body), headers=headers, allow_redirects=False
        ) as answer:
            return Reply(answer.status, for_client(answer.raw_headers), await self._read(answer))

    async def close(self) -> None:
        await self._session.close()

    async def _read(self, answer: aiohttp.ClientResponse) -> bytes:
        chunks, size = [], 0
        async for chunk in answer.content.iter_any():
            chunks.append(chunk)
            size += len(chunk)
            if size > self._max_response:
                reason = (
                    f"the answer of an inner search is larger than [search.max_response: "
                    f"{self._max_response}] bytes; ask for a smaller [rank_window_size] or less [_source]"
                )
                raise error(400, "illegal_argument_exception", reason)
        return b"".join(chunks)


class CallerUpstream:
    """`proxy.upstream.Upstream` with the caller's own headers."""

    def __init__(self, client: UpstreamClient, headers: CIMultiDict[str], caller: bytes) -> None:
        self.caller = caller
        self._client = client
        self._headers = headers

    async def request(self, method: str, target: str, body: bytes) -> Reply:
        headers = self._headers
        if body and "Content-Type" not in headers:  # the caller sent none, and this one is ours
            headers = headers.copy()
            headers["Content-Type"] = content_type_beside(headers.get("Accept"))
        if not body and "Content-Type" in headers:
            # Elasticsearch refuses some requests that name a media type for a body they do not have.
            headers = headers.copy()
            headers.popall("Content-Type")
        return await self._client.request(method, target, body, headers)


def _in_pieces(body: bytes) -> bytes | BytesIO | None:
    """A long body as a file: aiohttp writes a file in pieces, and bytes at once."""
    return BytesIO(body) if len(body) > _AT_ONCE else body or None


def _describe(failure: aiohttp.ClientError) -> str:
    if isinstance(failure, aiohttp.ClientConnectorError):
        number = failure.os_error.errno or 0
        return os.strerror(number) if number > 0 else failure.strerror or str(failure.os_error)
    return str(failure) or type(failure).__name__
