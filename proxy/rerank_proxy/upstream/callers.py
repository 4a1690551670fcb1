"""Telling callers apart without keeping their secrets."""

import hmac
import secrets
from collections.abc import Mapping
from typing import Final

from rerank_proxy.http.negotiation import is_refusal
from rerank_proxy.upstream.protocol import Upstream, UpstreamRefusedError

_IDENTITY: Final = ("authorization", "es-security-runas-user")
"""The headers by which Elasticsearch knows a caller."""


class CallerDigests:
    """Digests of callers' credentials, under a key that ends with this process."""

    def __init__(self) -> None:
        self._key: Final = secrets.token_bytes(32)

    def of(self, headers: Mapping[str, str]) -> bytes:
        """Equal for requests with equal credentials; all callers without any are one.

        Args:
            headers: With repeats, where there are some.
        """
        lines = [f"{name.lower()}:{value}" for name, value in headers.items() if name.lower() in _IDENTITY]
        # No value of a header holds a line end, so different lists are different texts.
        return hmac.digest(self._key, "\n".join(lines).encode("utf-8", "surrogateescape"), "sha256")


async def authenticate(upstream: Upstream) -> None:
    """Have Elasticsearch look at the credentials, before it is asked for anything else.

    Without security it does not know the request, and that is all the same.

    Raises:
        UpstreamRefusedError: They are no good, or no longer; or the headers of the request are none for it.
    """
    reply = await upstream.request("GET", "/_security/_authenticate", b"")
    if reply.status == 401 or is_refusal(reply.status, reply.body):
        raise UpstreamRefusedError(reply)
