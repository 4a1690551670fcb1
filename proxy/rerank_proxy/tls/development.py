"""Make an authority and a certificate of a server for development, as PEM."""

import ipaddress
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_EARLIER: Final = timedelta(hours=1)
"""By which it is valid before it is made: clocks differ."""
_DNS_NAME: Final = re.compile(r"(\*\.)?([0-9A-Za-z_]([0-9A-Za-z_-]{0,61}[0-9A-Za-z_])?(\.(?!$)|$))+")
_MAX_NAME: Final = 253
_EXPECTED: Final = "expected host names or addresses, without scheme, port and brackets"


@dataclass(frozen=True, slots=True)
class Development:
    """What was made, as PEM.

    Attributes:
        authority: Its certificate. Its key is not kept, so that it can sign nothing else.
        chain: The server's certificate, and the authority's, so that clients may pin that.
        fingerprint: The authority's, SHA-256 in hexadecimal digits.
    """

    authority: bytes
    chain: bytes
    key: bytes
    fingerprint: str


def make_development(names: Sequence[str], days: int) -> Development:
    """Return an authority and a certificate for names and addresses.

    Raises:
        ValueError: A name cannot be in a certificate.
    """
    alternatives = x509.SubjectAlternativeName([_general(name) for name in names])
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_name = _named("rerank-proxy development authority")
    authority = (
        _builder(authority_name, authority_name, authority_key.public_key(), days)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign=True), critical=True)
        .add_extension(_identifier(authority_key), critical=False)
        .sign(authority_key, hashes.SHA256())
    )
    certificate = (
        _builder(_named(names[0][:64]), authority_name, key.public_key(), days)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(alternatives, critical=False)
        .add_extension(_usage(sign=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(_identifier(key), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
        )
        .sign(authority_key, hashes.SHA256())
    )
    pem = authority.public_bytes(Encoding.PEM)
    return Development(
        authority=pem,
        chain=certificate.public_bytes(Encoding.PEM) + pem,
        key=key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
        fingerprint=sha256(authority.public_bytes(Encoding.DER)).hexdigest(),
    )


def _named(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _general(name: str) -> x509.GeneralName:
    if "%" not in name:  # the zone of an address is this machine's affair
        with suppress(ValueError):
            return x509.IPAddress(ipaddress.ip_address(name))
    dns = name.removesuffix(".")
    try:
        dns = dns if dns.isascii() else dns.encode("idna").decode()
    except UnicodeError:
        raise ValueError(_EXPECTED) from None
    if len(dns) > _MAX_NAME or _DNS_NAME.fullmatch(dns) is None:
        raise ValueError(_EXPECTED)
    return x509.DNSName(dns)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _EARLIER)
        .not_valid_after(now + timedelta(days=days))
    )


def _identifier(key: ec.EllipticCurvePrivateKey) -> x509.SubjectKeyIdentifier:
    return x509.SubjectKeyIdentifier.from_public_key(key.public_key())


def _usage(*, sign: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not sign,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=sign,
        crl_sign=sign,
        encipher_only=False,
        decipher_only=False,
    )
