"""Read certificates and keys, and say of each file what is wrong with it."""

import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from pydantic import SecretStr

from rerank_proxy.files.regular import UnfitFileError, read
from rerank_proxy.settings import InvalidSettingsError

MAX_FILE: Final = 4 * 1024 * 1024
"""Bytes of a file; the certificate authorities of a system take some 250 KB."""
_SOON: Final = timedelta(days=7)
_SOON_PART: Final = 10
"""A certificate ends soon in the last week, or in the last tenth of its time if that is shorter."""
_KEY_MARK: Final = b"PRIVATE KEY-----"


@dataclass(frozen=True, slots=True)
class NamedFile:
    """A file that a setting names.

    Attributes:
        setting: Its key, such as `tls.cert`.
    """

    setting: str
    path: Path

    def read(self) -> bytes:
        """Return its content.

        Raises:
            InvalidSettingsError: It cannot be read.
        """
        try:
            return read(self.path, MAX_FILE)
        except OSError as error:
            raise self.fault(f"cannot be read: {error.strerror}") from None
        except UnfitFileError as error:
            raise self.fault(error.problem) from None

    def fault(self, problem: str) -> InvalidSettingsError:
        return InvalidSettingsError(f"[{self.setting}]: {self.path}: {problem}")


@dataclass(frozen=True, slots=True)
class CertificateFacts:
    """What the log and the metrics say about a certificate.

    Attributes:
        fingerprint: SHA-256, in hexadecimal digits.
        begins, ends: When it is valid, in UTC.
    """

    file: NamedFile
    fingerprint: str
    begins: datetime
    ends: datetime

    def warning(self, now: datetime) -> str | None:
        """Say that it is not valid now, or not for long; None if it is."""
        if now < self.begins:
            how = f"is not valid before {self.begins:%Y-%m-%d %H:%M} UTC"
        elif now >= self.ends:
            how = f"has expired on {self.ends:%Y-%m-%d %H:%M} UTC"
        elif self.ends - now < min(_SOON, (self.ends - self.begins) / _SOON_PART):
            how = f"expires soon, on {self.ends:%Y-%m-%d %H:%M} UTC"
        else:
            return None
        return f"[{self.file.setting}]: {self.file.path}: the certificate {how}; have it renewed"


def facts(file: NamedFile, certificate: x509.Certificate) -> CertificateFacts:
    return CertificateFacts(
        file,
        sha256(certificate.public_bytes(Encoding.DER)).hexdigest(),
        certificate.not_valid_before_utc,
        certificate.not_valid_after_utc,
    )


def colons(fingerprint: str) -> str:
    """Return a fingerprint as Elasticsearch and openssl print it: in pairs, with colons between."""
    return ":".join(fingerprint[at : at + 2] for at in range(0, len(fingerprint), 2)).upper()


def certificates(file: NamedFile, content: bytes) -> Sequence[x509.Certificate]:
    """Return the certificates of a PEM file, of which there is one at least.

    Raises:
        InvalidSettingsError: There is none, or one is damaged.
    """
    try:
        return x509.load_pem_x509_certificates(content)
    except (ValueError, x509.InvalidVersion):
        damaged = b"-----BEGIN CERTIFICATE-----" in content
        problem = "holds a damaged certificate" if damaged else "holds no certificates in PEM"
        raise file.fault(problem) from None


def trust(context: ssl.SSLContext, file: NamedFile, content: bytes) -> None:
    """Trust the certificate authorities of a PEM file.

    Raises:
        InvalidSettingsError: There is none, or one is damaged.
    """
    try:
        # Comments may be in any language.
        context.load_verify_locations(cadata=content.decode("ascii", "ignore"))
    except (ssl.SSLError, ValueError):
        certificates(file, content)
        raise file.fault("holds a certificate that OpenSSL cannot read") from None


@dataclass(frozen=True, slots=True)
class Identity:
    """A certificate and its key, and the settings that name them.

    Attributes:
        key: The same file if the settings name no other.
        password_setting: The key of the setting with the password.
    """

    cert: NamedFile
    key: NamedFile
    password: SecretStr | None
    password_setting: str

    @property
    def files(self) -> tuple[NamedFile, ...]:
        return (self.cert,) if self.key is self.cert else (self.cert, self.key)

    def load(self, context: ssl.SSLContext, cert: bytes, key: bytes) -> CertificateFacts:
        """Have a context show the certificate. Read by OpenSSL from the files, which must not have changed.

        Raises:
            InvalidSettingsError: One of the files is unfit, or they do not belong together.
        """
        first = certificates(self.cert, cert)[0]
        secret = None if self.password is None else self.password.get_secret_value().encode()
        self._check_key(first, key, secret)
        try:
            # With a password in any case: OpenSSL would ask for one on the terminal.
            context.load_cert_chain(self.cert.path, self.key.path, password=secret or b"-")
        except (ssl.SSLError, OSError) as error:
            why = getattr(error, "reason", None) or error.strerror or "for an unknown reason"
            raise self.cert.fault(f"cannot be used: {why.replace('_', ' ').lower()}") from None
        return facts(self.cert, first)

    def _check_key(self, certificate: x509.Certificate, content: bytes, secret: bytes | None) -> None:
        if _KEY_MARK not in content:
            raise self.key.fault("holds no private key in PEM")
        encrypted = b"BEGIN ENCRYPTED" in content or b"Proc-Type: 4,ENCRYPTED" in content
        if encrypted and secret is None:
            raise self.key.fault(f"the key is encrypted: give its password with [{self.password_setting}]")
        try:
            key = load_pem_private_key(content, secret if encrypted else None)
        except (ValueError, TypeError, UnsupportedAlgorithm):
            if encrypted:
                raise self.key.fault(f"cannot be decrypted with [{self.password_setting}]") from None
            raise self.key.fault("holds a damaged private key") from None
        try:
            certified = certificate.public_key()
        except (ValueError, UnsupportedAlgorithm):
            raise self.cert.fault("the certificate has a key of an unknown kind") from None
        form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        if key.public_key().public_bytes(*form) != certified.public_bytes(*form):
            raise self.key.fault(f"is not the key of the certificate of [{self.cert.setting}]")


def identity(cert: NamedFile, key: NamedFile | None, password: SecretStr | None, setting: str) -> Identity:
    return Identity(cert, key or cert, password, setting)
