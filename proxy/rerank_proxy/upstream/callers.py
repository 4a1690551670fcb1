"""Callers: told apart without keeping their secrets, and authenticated by upstream."""

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
        """Return the digest of a caller's credentials; that of all callers without any is the same.

        Args:
            headers: Of a request, with repeats.
        """
        lines = [f"{name.lower()}:{value}" for name, value in headers.items() if name.lower() in _IDENTITY]
        # No value of a header holds a line end, so different lists are different texts.
        return hmac.digest(self._key, "\n".join(lines).encode("utf-8", "surrogateescape"), "sha256")


async def authenticate(upstream: Upstream) -> None:
    """Have Elasticsearch check a caller's credentials before it is asked for anything else.

    Without security it does not know this request, and any caller passes.

    Raises:
        UpstreamRefusedError: The credentials are not valid, or Elasticsearch refuses other headers.
    """
    reply = await upstream.request("GET", "/_security/_authenticate", b"")
    if reply.status == 401 or is_refusal(reply.status, reply.body):
        raise UpstreamRefusedError(reply)
