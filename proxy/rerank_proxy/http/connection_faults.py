"""Says why a server cannot be connected to, in the same words for all HTTP clients of the proxy.

Errors of the system have a number, and so have those of TLS, where it means something else: read as the
system's, each of these would be 1, "Operation not permitted".
"""

import os
import re
import socket
import ssl
from dataclasses import dataclass
from enum import Enum
from typing import Final

_WRAPPED: Final = ("certificate_error", "os_error", "reason")
"""Attributes in which HTTP clients keep the error that they wrap."""
_OTHER_HOST: Final = frozenset({62, 64})
_OTHER_TIME: Final = frozenset({9, 10})
_UNFIT: Final = frozenset({24, 25, 26, 66, 67, 68, 79})
"""An authority that is none or is below too many, another purpose, weak keys and signatures."""
_NO_TLS: Final = frozenset(
    {
        "HTTP_REQUEST",
        "PACKET_LENGTH_TOO_LONG",
        "RECORD_LAYER_FAILURE",
        "UNKNOWN_PROTOCOL",
        "WRONG_VERSION_NUMBER",
    }
)
_NOT_PINNED: Final = -1
_TOO_OLD: Final = frozenset(
    {"TLSV1_ALERT_PROTOCOL_VERSION", "UNSUPPORTED_PROTOCOL", "VERSION_TOO_LOW", "WRONG_SSL_VERSION"}
)
_CLIENT: Final = {
    "SSLV3_ALERT_BAD_CERTIFICATE": "it requires a client certificate, or another one",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "it says that the client certificate has expired",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "it says that the client certificate is revoked",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "it does not accept the client certificate",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "it refuses what it was offered, or requires a client certificate",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "it does not accept the client certificate",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "it requires a client certificate",
    "TLSV1_ALERT_ACCESS_DENIED": "it does not accept the client certificate",
    "TLSV1_ALERT_DECRYPT_ERROR": "it does not accept the client certificate",
    "TLSV1_ALERT_UNKNOWN_CA": "it does not trust the authority of the client certificate",
}
"""What a server says to a client certificate, or to none, by OpenSSL's name of the alert."""
_NUMBERED: Final = re.compile(r"\[Errno (\d+)\]")


class Kind(Enum):
    """A kind of fault, by what has to be corrected."""

    AUTHORITY = "the certificate is signed by no authority that is trusted"
    HOST = "the certificate is for another host"
    TIME = "the certificate is not valid today"
    UNFIT = "the certificate, or one above it, may not be used for this"
    FINGERPRINT = "no certificate has the fingerprint that is set"
    CLIENT = "the server wants another client certificate"
    VERSION = "no version of TLS suits both sides"
    NO_TLS = "the server does not speak TLS"
    OTHER = "anything else"


@dataclass(frozen=True, slots=True)
class ConnectionFault:
    """Why a connection failed.

    Attributes:
        words: They do not name the host, which may be a secret.
    """

    words: str
    kind: Kind = Kind.OTHER


def connection_fault(error: BaseException, limit: str | None = None) -> ConnectionFault:
    """Return the fault that made an attempt to connect fail.

    Args:
        error: The system's or TLS's, or that of an HTTP client which wraps one.
        limit: How long the attempt might take, and what sets this.
    """
    error = _innermost(error)
    if isinstance(error, ssl.SSLCertVerificationError):
        return _of_certificate(error)
    if isinstance(error, ssl.SSLError):
        return _of_tls(error)
    return ConnectionFault(_of_system(error, limit))


def refusal_after_handshake(error: BaseException | None) -> ConnectionFault | None:
    """Return the fault if a connection ended because the server did not like the client's certificate.

    With TLS 1.3 a client has finished its handshake, and may have sent a request, before the server has
    looked at its certificate (RFC 8446 §2).
    """
    for each in (error, error and error.__cause__):
        if isinstance(each, ssl.SSLError) and _reason(each) in _CLIENT:
            return _of_tls(each)
    return None


def _innermost(error: BaseException) -> BaseException:
    for name in _WRAPPED:
        wrapped = getattr(error, name, None)
        if isinstance(wrapped, BaseException):
            return _innermost(wrapped)
    return error


def _of_certificate(error: ssl.SSLCertVerificationError) -> ConnectionFault:
    kind, why = Kind.AUTHORITY, error.verify_message
    if error.verify_code in _OTHER_HOST:
        kind, why = Kind.HOST, "it is for another host"
    elif error.verify_code in _OTHER_TIME:
        kind = Kind.TIME
    elif error.verify_code in _UNFIT:
        kind = Kind.UNFIT
    elif error.verify_code == _NOT_PINNED:
        kind = Kind.FINGERPRINT
    return ConnectionFault(f"its certificate is not trusted: {why}", kind)


def _of_tls(error: ssl.SSLError) -> ConnectionFault:
    failed = "the TLS handshake failed"
    if isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError):
        return ConnectionFault(f"{failed}: it closed the connection")
    reason = _reason(error)
    if reason in _NO_TLS:
        return ConnectionFault(f"{failed}: it does not speak TLS", Kind.NO_TLS)
    if reason in _TOO_OLD:
        return ConnectionFault(
            f"{failed}: there is no version of TLS that both sides may speak", Kind.VERSION
        )
    if reason in _CLIENT:
        return ConnectionFault(f"{failed}: {_CLIENT[reason]}", Kind.CLIENT)
    why = reason.replace("_", " ").lower() or "for an unknown reason"
    return ConnectionFault(f"{failed}: {why}")


def _reason(error: ssl.SSLError) -> str:
    """Return OpenSSL's name of a fault; empty for those that Python raises itself."""
    return getattr(error, "reason", None) or ""


def _of_system(error: BaseException, limit: str | None) -> str:
    if isinstance(error, TimeoutError):
        return "no connection in time" if limit is None else f"no connection within {limit}"
    if isinstance(error, socket.gaierror):
        return f"its host name cannot be resolved: {(error.strerror or 'unknown').lower()}"
    if isinstance(error, UnicodeError):
        return "its host name cannot be resolved: it is not a valid one"
    if isinstance(error, FileNotFoundError):
        return "no such socket"
    if isinstance(error, OSError) and error.errno is not None and error.errno > 0:
        return os.strerror(error.errno).lower()
    # One name may have several addresses, each of which was tried.
    if numbers := dict.fromkeys(map(int, _NUMBERED.findall(str(error)))):
        return ", ".join(os.strerror(number).lower() for number in numbers)
    if isinstance(error, ConnectionError) and not str(error):
        return "the TLS handshake failed: it closed the connection"  # nothing else is sent so early
    return str(error) or type(error).__name__
