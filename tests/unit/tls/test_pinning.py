"""A fingerprint pins the server's certificate, or an authority that has signed it."""

import ssl
from pathlib import Path

import pytest

from rerank_proxy.tls.pinning import is_pinned
from tests.support.tls import Authority, self_signed


def der(path: Path) -> bytes:
    return ssl.PEM_cert_to_DER_cert(path.read_text())


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


def test_the_servers_own_certificate(authority: Authority) -> None:
    issued = authority.issue()
    assert is_pinned([der(issued.path)], issued.fingerprint)
    assert not is_pinned([der(issued.path)], "00" * 32)
    assert not is_pinned([], issued.fingerprint)


def test_the_authority_that_has_signed_it(authority: Authority) -> None:
    chain = [der(authority.issue().path), der(authority.path)]
    assert is_pinned(chain, authority.fingerprint)


def test_an_authority_that_is_only_shown(authority: Authority, tmp_path: Path) -> None:
    """Its certificate is public: anyone can put it behind a certificate of their own."""
    stranger = Authority(tmp_path, "Stranger")
    impostor = Authority(tmp_path, "Test Authority of another")
    for forged in (stranger.issue("theirs"), impostor.issue("same"), self_signed(tmp_path)):
        assert not is_pinned([der(forged.path), der(authority.path)], authority.fingerprint)


def test_a_certificate_of_a_server_signs_no_others(authority: Authority, tmp_path: Path) -> None:
    issued = authority.issue()
    below = authority.below(issued)
    assert not is_pinned([der(below.path), der(issued.path), der(authority.path)], authority.fingerprint)


def test_what_cannot_be_read(authority: Authority) -> None:
    shown = der(authority.issue().path)
    of_no_version = shown.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x03")
    assert of_no_version != shown
    for first in (b"no", of_no_version):
        assert not is_pinned([first, der(authority.path)], authority.fingerprint)
