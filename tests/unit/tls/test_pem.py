"""What is wrong with a file is said of that file, and by the setting that names it."""

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)

from rerank_proxy.settings import InvalidSettingsError, ListenerTlsSettings
from rerank_proxy.tls.listening import listener_tls
from rerank_proxy.tls.pem import CertificateFacts, NamedFile, colons
from tests.support.tls import Authority, Certificate

PASSWORD = "a password"


def encrypt(issued: Certificate) -> None:
    key = load_pem_private_key(issued.key_path.read_bytes(), None)
    issued.key_path.write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(PASSWORD.encode()))
    )


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b"\n", b"\n!", 3))


def patch(path: Path, before: bytes, after: bytes) -> None:
    der = ssl.PEM_cert_to_DER_cert(path.read_text())
    assert before in der
    path.write_text(ssl.DER_cert_to_PEM_cert(der.replace(before, after)))


def make_directory(path: Path) -> None:
    path.unlink()
    path.mkdir()


FAULTS: dict[str, tuple[Callable[[Certificate], object], dict[str, str], str]] = {
    "absent certificate": (
        lambda issued: issued.path.unlink(),
        {},
        "[tls.cert]: CERT: cannot be read: No such file or directory",
    ),
    "absent key": (
        lambda issued: issued.key_path.unlink(),
        {},
        "[tls.key]: KEY: cannot be read: No such file or directory",
    ),
    "a directory": (
        lambda issued: make_directory(issued.key_path),
        {},
        "[tls.key]: KEY: is a directory, not a file",
    ),
    "not PEM": (
        lambda issued: issued.path.write_bytes(b"\x30\x82"),
        {},
        "[tls.cert]: CERT: holds no certificates in PEM",
    ),
    "damaged certificate": (
        lambda issued: cut(issued.path),
        {},
        "[tls.cert]: CERT: holds a damaged certificate",
    ),
    "a certificate of no version that there is": (
        lambda issued: patch(issued.path, b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x03"),
        {},
        "[tls.cert]: CERT: holds a damaged certificate",
    ),
    "a certificate with another kind of key": (
        lambda issued: patch(issued.path, b"\x06\x07*\x86H\xce=\x02\x01", b"\x06\x07*\x86H\xce=\x02\x09"),
        {},
        "[tls.cert]: CERT: the certificate has a key of an unknown kind",
    ),
    "a certificate for a key": (
        lambda issued: issued.key_path.write_bytes(issued.path.read_bytes()),
        {},
        "[tls.key]: KEY: holds no private key in PEM",
    ),
    "damaged key": (
        lambda issued: cut(issued.key_path),
        {},
        "[tls.key]: KEY: holds a damaged private key",
    ),
    "encrypted key": (
        encrypt,
        {},
        "[tls.key]: KEY: the key is encrypted: give its password with [tls.key_password]",
    ),
    "wrong password": (
        encrypt,
        {"key_password": "another"},
        "[tls.key]: KEY: cannot be decrypted with [tls.key_password]",
    ),
}


@pytest.mark.parametrize(("spoil", "more", "message"), FAULTS.values(), ids=FAULTS)
def test_faults(
    tmp_path: Path, spoil: Callable[[Certificate], object], more: dict[str, str], message: str
) -> None:
    issued = Authority(tmp_path).issue()
    spoil(issued)
    settings = ListenerTlsSettings.model_validate({"cert": issued.path, "key": issued.key_path, **more})
    with pytest.raises(InvalidSettingsError) as raised:
        listener_tls(settings, "tls")
    assert raised.value.faults == (
        message.replace("CERT", str(issued.path)).replace("KEY", str(issued.key_path)),
    )


def test_a_key_of_another_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.issue("one").path, authority.issue("two").key_path
    settings = ListenerTlsSettings(cert=cert, key=key, client_ca=None)
    with pytest.raises(
        InvalidSettingsError, match=r"two.key: is not the key of the certificate of \[tls.cert\]"
    ):
        listener_tls(settings, "tls")


def test_an_encrypted_key_with_its_password(tmp_path: Path) -> None:
    issued = Authority(tmp_path).issue()
    encrypt(issued)
    given = {"cert": issued.path, "key": issued.key_path, "key_password": PASSWORD}
    assert listener_tls(ListenerTlsSettings.model_validate(given), "tls") is not None


def test_one_file_with_both(tmp_path: Path) -> None:
    issued = Authority(tmp_path).issue()
    issued.path.write_bytes(issued.path.read_bytes() + issued.key_path.read_bytes())
    assert listener_tls(ListenerTlsSettings(cert=issued.path), "tls") is not None


@pytest.mark.parametrize(
    ("days", "left", "told"),
    [
        (365, 8, None),
        (365, 6, "expires soon"),
        (1, 0.2, None),
        (1, 0.05, "expires soon"),
        (90, -1, "expired"),
    ],
)
def test_when_its_end_is_told(days: float, left: float, told: str | None) -> None:
    now = datetime(2030, 1, 1, tzinfo=UTC)
    ends = now + timedelta(days=left)
    facts = CertificateFacts(NamedFile("tls.cert", Path("c")), "00", ends - timedelta(days=days), ends)
    warning = facts.warning(now)
    assert warning is None if told is None else told in (warning or "")


def test_colons() -> None:
    assert colons("00aaff") == "00:AA:FF"
