"""Callers: told apart without keeping their secrets, and authenticated by upstream."""

import binascii
import hmac
import secrets
from collections.abc import Callable
from contextvars import ContextVar
from hashlib import blake2b
from typing import Final

from multidict import CIMultiDict

from rerank_proxy.http.negotiation import is_refusal
from rerank_proxy.upstream.protocol import Upstream, UpstreamRefusedError

_CREDENTIALS: Final = ("authorization", "es-secondary-authorization")
_IDENTITY: Final = (*_CREDENTIALS, "es-security-runas-user")
"""The headers by which Elasticsearch knows a caller."""
_IN_BASE64: Final = ("basic", "apikey")
_GROUP: Final = 4  # characters of Base64

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

    def of(self, headers: CIMultiDict[str]) -> bytes:
        """Return the digest of a caller's credentials; that of all callers without any is the same.

        Elasticsearch reads the same credentials in many spellings, none of which makes another caller.

        Args:
            headers: Of a request.
        """
        shown: dict[str, None] = {}  # Elasticsearch takes equal values of a header for one
        for name in _IDENTITY:
            for value in headers.getall(name, ()):
                shown[f"{name}:{_plain(value) if name in _CREDENTIALS else value}"] = None
        # No value of a header holds a line end, so different lists are different texts.
        return hmac.digest(self._key, "\n".join(shown).encode("utf-8", "surrogateescape"), "sha256")


def _plain(credentials: str) -> str:
    """Return credentials in one spelling: that of the scheme, of the blanks, and of Base64, in which several
    texts stand for the same bytes.
    """
    scheme, _, shown = credentials.strip(" \t").partition(" ")
    scheme, shown = scheme.lower(), shown.strip(" \t")
    if scheme not in _IN_BASE64:
        return f"{scheme} {shown}"
    missing = -len(shown) % _GROUP
    try:
        if missing and "=" in shown:
            raise ValueError
        return f"{scheme}:{binascii.a2b_base64(shown + '=' * missing, strict_mode=True).hex()}"
    except ValueError:  # Elasticsearch does not read it either
        return f"{scheme} {shown}"


async def authenticate(upstream: Upstream) -> None:
    """Have Elasticsearch check a caller's credentials before it is asked for anything else.

    Without security it does not know this request, and any caller passes.

    Raises:
        UpstreamRefusedError: The credentials are not valid, or Elasticsearch refuses other headers.
    """
    reply = await upstream.request("GET", "/_security/_authenticate", b"")
    if reply.status == 401 or is_refusal(reply.status, reply.body):
        raise UpstreamRefusedError(reply)
