"""Certificates, and servers on 127.0.0.1 whose TLS a client has to refuse."""

import ipaddress
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

LOCAL: Final = ("localhost", "127.0.0.1")
_DAY: Final = timedelta(days=1)


@dataclass(frozen=True)
class Certificate:
    """A certificate and its key, as PEM files.

    Attributes:
        path: With the certificate.
        key_path: With its key.
    """

    path: Path
    key_path: Path

    def server(
        self, *, clients: "Authority | None" = None, version: ssl.TLSVersion | None = None
    ) -> ssl.SSLContext:
        """Return the context by which a server shows it.

        Args:
            clients: Whose certificates clients have to show.
            version: The only one that is spoken.
        """
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(self.path, self.key_path)
        if clients is not None:
            context.load_verify_locations(clients.path)
            context.verify_flags &= ~ssl.VERIFY_X509_STRICT
            context.verify_mode = ssl.CERT_REQUIRED
        if version is not None:
            context.minimum_version = context.maximum_version = version
        return context

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the first certificate, in hexadecimal digits."""
        return fingerprint(self.path)


class Authority:
    """Signs certificates. `path` is a PEM file of its own one, to be trusted.

    They have few extensions, as those of elasticsearch-certutil, which the strictest checks do not accept.
    """

    def __init__(self, directory: Path, name: str = "Test Authority") -> None:
        self._directory: Final = directory
        self._key: Final = ec.generate_private_key(ec.SECP256R1())
        self._name: Final = _named(name)
        now = datetime.now(UTC)
        certificate = _builder(self._name, self._name, self._key.public_key(), now - _DAY, now + _DAY)
        certificate = certificate.add_extension(
            x509.BasicConstraints(ca=True, path_length=None), critical=True
        )
        self.path: Final = _write(
            directory, name, certificate.sign(self._key, hashes.SHA256()), self._key
        ).path

    def client(self, shown: Certificate | None = None) -> ssl.SSLContext:
        """Return the context of a client that trusts this authority, and may show a certificate."""
        context = ssl.create_default_context(cafile=self.path)
        context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # the default from Python 3.13 on
        if shown is not None:
            context.load_cert_chain(shown.path, shown.key_path)
        return context

    @property
    def fingerprint(self) -> str:
        """SHA-256 of its own certificate, in hexadecimal digits."""
        return fingerprint(self.path)

    def below(self, signer: Certificate) -> Certificate:
        """Return a certificate that the key of a server's certificate has signed, as none may."""
        certificate = x509.load_pem_x509_certificate(signer.path.read_bytes())
        signing = load_pem_private_key(signer.key_path.read_bytes(), None)
        assert isinstance(signing, ec.EllipticCurvePrivateKey)
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        times = (now - _DAY, now + _DAY)
        signed = _builder(_named("below"), certificate.subject, key.public_key(), *times)
        return _write(self._directory, "below", signed.sign(signing, hashes.SHA256()), key)

    def issue(
        self,
        name: str = "good",
        *,
        hosts: Sequence[str] = LOCAL,
        begins_days: int = -1,
        ends_days: int = 1,
        purpose: x509.ObjectIdentifier | None = None,
    ) -> Certificate:
        """Sign a certificate.

        Args:
            hosts: Names and addresses that it is for.
            begins_days, ends_days: When it is valid, from now on.
            purpose: The only one that it is for.
        """
        key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
        times = (now + begins_days * _DAY, now + ends_days * _DAY)
        certificate = _builder(_named(name), self._name, key.public_key(), *times).add_extension(
            x509.SubjectAlternativeName([_host(host) for host in hosts]), critical=False
        )
        if purpose is not None:
            certificate = certificate.add_extension(x509.ExtendedKeyUsage([purpose]), critical=False)
        return _write(self._directory, name, certificate.sign(self._key, hashes.SHA256()), key)


@contextmanager
def alerting_server(context: ssl.SSLContext) -> Iterator[int]:
    """Serve on a free port, and yield it. Clients that are refused are told why, as asyncio does not, and can
    read that: the connection is closed after them.
    """
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve() -> None:
            while True:
                try:
                    connection, _ = listener.accept()
                except OSError:
                    return
                tls = context.wrap_socket(connection, server_side=True, do_handshake_on_connect=False)
                try:
                    tls.do_handshake()
                    tls.recv(65536)
                    tls.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok")
                except OSError:
                    pass
                with suppress(OSError), socket.socket(fileno=tls.detach()) as refused:
                    while refused.recv(65536):
                        pass

        threading.Thread(target=serve, daemon=True).start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of the first certificate of a PEM file, in hexadecimal digits."""
    pem = path.read_text().partition("-----END CERTIFICATE-----")
    return sha256(ssl.PEM_cert_to_DER_cert(pem[0] + pem[1])).hexdigest()


def with_authority(certificate: Certificate, authority: Authority) -> Certificate:
    """Have a certificate's file hold that of an authority too, as servers show chains."""
    certificate.path.write_bytes(certificate.path.read_bytes() + authority.path.read_bytes())
    return certificate


def self_signed(directory: Path) -> Certificate:
    """Return a certificate that no authority has signed."""
    key, name, now = ec.generate_private_key(ec.SECP256R1()), _named("self-signed"), datetime.now(UTC)
    certificate = _builder(name, name, key.public_key(), now - _DAY, now + _DAY).add_extension(
        x509.SubjectAlternativeName([_host(host) for host in LOCAL]), critical=False
    )
    return _write(directory, "self-signed", certificate.sign(key, hashes.SHA256()), key)


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _host(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        return x509.DNSName(host)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePublicKey,
    begins: datetime,
    ends: datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(begins)
        .not_valid_after(ends)
    )


def _write(
    directory: Path, name: str, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey
) -> Certificate:
    stem = name.lower().replace(" ", "-")
    written = Certificate(directory / f"{stem}.pem", directory / f"{stem}.key")
    written.path.write_bytes(certificate.public_bytes(Encoding.PEM))
    written.key_path.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    return written
