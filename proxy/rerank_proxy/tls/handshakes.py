"""The handshakes that clients are in the middle of."""

import asyncio
import logging
import ssl
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Final, Literal, get_args

from rerank_proxy.http.tls_layer import HANDSHAKE_S, TlsLayer
from rerank_proxy.observe.events import event
from rerank_proxy.observe.log_limiter import LogLimiter
from rerank_proxy.tls.owned import OwnedContext

logger = logging.getLogger(__name__)

_LAST_S: Final = 1.0
"""Seconds that handshakes have to end when the listener does."""
Why = Literal[
    "timeout",
    "closed",
    "not_tls",
    "no_common_version",
    "no_client_certificate",
    "client_certificate",
    "not_trusted",
    "other",
]
"""Why a handshake failed, as metrics count it:

- `timeout`: it took too long;
- `closed`: the client closed the connection in the middle of it, as looks at an open port do;
- `not_tls`: what came is not TLS, but plain HTTP for example;
- `no_common_version`: there is no version or cipher that both sides allow;
- `no_client_certificate`: the client shows no certificate, and has to;
- `client_certificate`: its certificate is not trusted, or has ended;
- `not_trusted`: the client does not trust the certificate of this proxy;
- `other`: anything else.
"""

_REASONS: Final[dict[str, tuple[Why, str]]] = {
    "HTTP_REQUEST": ("not_tls", "it sends plain HTTP to a port with TLS"),
    "PACKET_LENGTH_TOO_LONG": ("not_tls", "it does not speak TLS"),
    "RECORD_LAYER_FAILURE": ("not_tls", "it does not speak TLS"),
    "UNKNOWN_PROTOCOL": ("not_tls", "it does not speak TLS"),
    "WRONG_VERSION_NUMBER": ("not_tls", "it does not speak TLS"),
    "NO_SHARED_CIPHER": ("no_common_version", "it shares no cipher with this proxy"),
    "UNSUPPORTED_PROTOCOL": ("no_common_version", "it speaks only versions of TLS that are too old"),
    "VERSION_TOO_LOW": ("no_common_version", "it speaks only versions of TLS that are too old"),
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": (
        "no_client_certificate",
        "it shows no certificate, which is required",
    ),
    "CERTIFICATE_VERIFY_FAILED": ("client_certificate", "its certificate is not trusted"),
    "TLSV1_ALERT_UNKNOWN_CA": (
        "not_trusted",
        "it does not trust the authority of the certificate of this proxy",
    ),
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": ("not_trusted", "it does not trust the certificate of this proxy"),
    "SSLV3_ALERT_BAD_CERTIFICATE": ("not_trusted", "it does not trust the certificate of this proxy"),
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": (
        "not_trusted",
        "it says that the certificate of this proxy has expired",
    ),
}


class Handshakes:
    """Makes a layer of TLS for each new connection, and forgets it when its protocol has it.

    Args:
        factory: Makes the protocol above TLS.
        failed: Called for each connection that ends before its protocol was told of it.

    Attributes:
        failures: How many have failed, by the reason.
    """

    def __init__(
        self,
        tls: OwnedContext,
        factory: Callable[[], asyncio.Protocol],
        failed: Callable[[], None] = lambda: None,
    ) -> None:
        self._tls: Final = tls
        self._factory: Final = factory
        self._failed: Final = failed
        self._open: Final[dict[object, TlsLayer]] = {}
        self._none_open: Final = asyncio.Event()
        self.failures: Final[dict[Why, int]] = dict.fromkeys(get_args(Why), 0)
        self._log: Final = LogLimiter()

    def begin(self) -> TlsLayer:
        """Return the protocol of a new connection, with the certificate of this moment."""
        key = object()
        layer = TlsLayer(
            self._tls.current,
            self._factory(),
            server_side=True,
            handshake_s=HANDSHAKE_S,
            done=partial(self._done, key),
        )
        self._open[key] = layer
        return layer

    async def finish(self) -> None:
        """Wait for the handshakes under way, but not long: those of clients that do nothing are aborted."""
        self._none_open.clear()
        if self._open:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._none_open.wait(), _LAST_S)
        for layer in list(self._open.values()):
            layer.abandon()
        if self._open:
            await self._none_open.wait()

    def _done(self, key: object, failure: Exception | None) -> None:
        layer = self._open.pop(key)
        if not self._open:
            self._none_open.set()
        if failure is None:
            return
        why, words = _reason(failure)
        self._failed()
        self.failures[why] += 1
        if why == "closed":
            return  # as load balancers do that look whether a port is open
        if self._log.admit(words) is not None:
            fields = event("handshake-failed", "network", failed=True)
            logger.info("the TLS handshake of a client at %s failed: %s", layer.peer, words, extra=fields)


def _reason(failure: Exception) -> tuple[Why, str]:
    """Return why a handshake failed, as metrics count it and in words."""
    if isinstance(failure, TimeoutError):
        return "timeout", f"it was not complete within {HANDSHAKE_S:g} s"
    if isinstance(failure, ConnectionError | ssl.SSLEOFError):
        return "closed", "the client closed the connection"
    reason = getattr(failure, "reason", None)
    if not isinstance(reason, str):
        return "other", "for an unknown reason"
    why, words = _REASONS.get(reason, ("other", reason.replace("_", " ").lower()))
    detail = getattr(failure, "verify_message", None)
    return why, f"{words}: {detail}" if detail else words
