"""Trust by the fingerprint of a certificate, as Elasticsearch's clients have it.

elasticsearch-py (`ssl_assert_fingerprint`) and go-elasticsearch (`CertificateFingerprint`) compare it with
every certificate of the chain that the server shows, and elasticsearch-js (`caFingerprint`) with the last
one; none compares host names or looks at authorities. All chains that these accept are accepted here too, if
the certificates of the chain have signed one another: the certificate of an authority is public, and showing
it proves nothing.
"""

import ssl
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final, cast

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm

NOT_PINNED: Final = -1
"""The `verify_code` of a chain without the fingerprint; those of OpenSSL are not negative."""
_MAX_CHAIN: Final = 16
_UNUSABLE: Final = (
    x509.ExtensionNotFound,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    InvalidSignature,
    UnsupportedAlgorithm,
    ValueError,
    TypeError,
)
"""What is raised for a certificate that has signed nothing, or that cannot be read."""


class FingerprintError(ssl.SSLCertVerificationError):
    """No certificate of the chain has the fingerprint, or none that has it has signed the others."""

    def __init__(self) -> None:
        super().__init__(1, "no certificate of the chain has the fingerprint")
        self.reason = "CERTIFICATE_VERIFY_FAILED"
        self.verify_code = NOT_PINNED
        self.verify_message = "no certificate in its chain has the fingerprint that is set"


def pin(context: ssl.SSLContext, fingerprint: str) -> None:
    """Have handshakes of a client's context fail unless the server's chain has the fingerprint.

    Args:
        fingerprint: SHA-256, 64 hexadecimal digits in lower case.
    """

    class Pinned(ssl.SSLObject):
        def do_handshake(self) -> None:
            super().do_handshake()
            if not is_pinned(_chain(self), fingerprint):
                raise FingerprintError

    context.sslobject_class = Pinned


def is_pinned(chain: Sequence[bytes], fingerprint: str) -> bool:
    """Return whether the server's own certificate has a fingerprint, or one by which it was signed.

    Args:
        chain: Certificates in DER, the server's own one first.
    """
    if not chain:
        return False
    if _fingerprint(chain[0]) == fingerprint:
        return True
    pinned = [der for der in chain[1:_MAX_CHAIN] if _fingerprint(der) == fingerprint]
    if not pinned:
        return False
    try:
        certificates = [x509.load_der_x509_certificate(der) for der in chain[:_MAX_CHAIN]]
    except (ValueError, x509.InvalidVersion):
        return False
    return any(_fingerprint_of(each) == fingerprint for each in _signers(certificates))


def _signers(chain: Sequence[x509.Certificate]) -> Sequence[x509.Certificate]:
    """Return the certificates of a chain that have signed its first one, by any number of steps."""
    found: list[x509.Certificate] = []
    ahead = [chain[0]]
    while ahead:
        signed = ahead.pop()
        for each in chain[1:]:
            if each not in found and _has_signed(each, signed):
                found.append(each)
                ahead.append(each)
    return found


def _has_signed(issuer: x509.Certificate, certificate: x509.Certificate) -> bool:
    try:
        if not issuer.extensions.get_extension_for_class(x509.BasicConstraints).value.ca:
            return False
        certificate.verify_directly_issued_by(issuer)
    except _UNUSABLE:
        return False
    return True


def _fingerprint(der: bytes) -> str:
    return sha256(der).hexdigest()


def _fingerprint_of(certificate: x509.Certificate) -> str:
    from cryptography.hazmat.primitives.serialization import Encoding

    return _fingerprint(certificate.public_bytes(Encoding.DER))


def _chain(tls: ssl.SSLObject) -> list[bytes]:
    """Return what the server has shown: Python 3.13 has a method, and earlier ones the same below it."""
    public = getattr(tls, "get_unverified_chain", None)
    if public is not None:
        return cast("list[bytes]", public())
    inner: Any = getattr(tls, "_sslobj")  # noqa: B009  # not in the stubs
    return [certificate.public_bytes(_DER) for certificate in inner.get_unverified_chain() or ()]


_DER: Final = 2
