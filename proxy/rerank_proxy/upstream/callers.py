"""Callers: told apart without keeping their secrets, and authenticated by upstream."""

import hmac
import secrets
from collections.abc import Callable, Mapping
from contextvars import ContextVar
from hashlib import blake2b
from typing import Final

from rerank_proxy.http.negotiation import is_refusal
from rerank_proxy.upstream.protocol import Upstream, UpstreamRefusedError

_IDENTITY: Final = ("authorization", "es-secondary-authorization", "es-security-runas-user")
"""The headers by which Elasticsearch knows a caller."""


_PURPOSE: Final = b"callers"
_KEY_BYTES: Final = 32

_current: Final[ContextVar[Callable[[], bytes] | None]] = ContextVar("caller", default=None)


def enter(caller: Callable[[], bytes]) -> None:
    """Take note of whose request is answered from now on, in this task and in those that it starts.

    Args:
        caller: Returns the digest; called only where it is needed.
    """
    _current.set(caller)


def current() -> bytes:
    """Return the digest of the caller whose request is answered; nothing outside of requests."""
    caller = _current.get()
    return b"" if caller is None else caller()


class CallerDigests:
    """Digests of callers' credentials, under a key.

    Args:
        secret: What the key is made of, where several processes must have the same digests. None: it ends
            with this process.
    """

    def __init__(self, secret: bytes | None = None) -> None:
        self._key: Final = (
            secrets.token_bytes(_KEY_BYTES)
            if secret is None
            else blake2b(secret, digest_size=_KEY_BYTES, person=_PURPOSE).digest()
        )

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
