"""A context follows its files: all of them as a whole, or not at all."""

import logging
import os
import ssl
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.files.regular import Stamp
from rerank_proxy.settings import InvalidSettingsError, ListenerTlsSettings, Settings
from rerank_proxy.tls import owned as owned_module
from rerank_proxy.tls.listening import listener_tls
from rerank_proxy.tls.owned import Look, OwnedContext, changed, must_read
from tests.support.tls import Authority, Certificate
from tests.support.waiting import until_true


def listening(cert: Path, key: Path, **more: object) -> OwnedContext:
    settings = ListenerTlsSettings.model_validate({"cert": cert, "key": key, **more})
    owned = listener_tls(settings, "tls")
    assert owned is not None
    return owned


def shown(owned: OwnedContext) -> str:
    assert owned.certificate is not None
    return owned.certificate.fingerprint


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


async def test_a_new_pair_is_taken_over_once(authority: Authority, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    first = authority.issue()
    owned = listening(first.path, first.key_path)
    before, context = shown(owned), owned.current
    assert not await owned.refresh()
    second = authority.issue()  # in the same files
    assert await owned.refresh()
    assert shown(owned) == second.fingerprint != before
    assert owned.current is not context
    assert not await owned.refresh()
    (record,) = caplog.records
    assert "[tls.cert], [tls.key]" in record.getMessage()
    assert second.fingerprint in record.getMessage()


async def test_of_many_that_fail_together_each_learns_of_the_new_files(authority: Authority) -> None:
    issued = authority.issue()
    owned = listening(issued.path, issued.key_path)
    used = owned.current
    assert not await owned.differs_from(used)
    authority.issue()
    assert await owned.differs_from(used)  # it looks
    assert await owned.differs_from(used)  # another has looked
    assert not await owned.differs_from(owned.current)


async def test_a_pair_that_does_not_match_waits_for_its_other_half(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    first = authority.issue()
    owned = listening(first.path, first.key_path)
    before, key = shown(owned), first.key_path.read_bytes()
    authority.issue()
    new_key = first.key_path.read_bytes()
    first.key_path.write_bytes(key)
    for _ in range(3):
        assert not await owned.refresh()
        assert shown(owned) == before
    (record,) = caplog.records
    assert record.getMessage().startswith(
        f"[tls.key]: {first.key_path}: is not the key of the certificate of [tls.cert]; "
    )
    first.key_path.write_bytes(new_key)
    assert await owned.refresh()
    assert shown(owned) == first.fingerprint != before


async def test_a_file_that_is_half_written_or_gone_changes_nothing(authority: Authority) -> None:
    first = authority.issue()
    owned = listening(first.path, first.key_path)
    before, whole = shown(owned), first.path.read_bytes()
    for content in (whole[: len(whole) // 2], b""):
        first.path.write_bytes(content)
        assert not await owned.refresh()
    first.path.unlink()
    assert not await owned.refresh()
    assert shown(owned) == before
    first.path.write_bytes(whole)
    assert not await owned.refresh()  # as before
    assert shown(owned) == before


async def test_kubernetes_replaces_the_directory_behind_a_link(authority: Authority, tmp_path: Path) -> None:
    """As the kubelet does it: the files are links through `..data`, which is replaced by a rename."""

    def revision(name: str) -> Certificate:
        directory = tmp_path / name
        directory.mkdir()
        issued = authority.issue()
        (directory / "tls.crt").write_bytes(issued.path.read_bytes())
        (directory / "tls.key").write_bytes(issued.key_path.read_bytes())
        return Certificate(directory / "tls.crt", directory / "tls.key")

    revision("..first")
    (tmp_path / "..data").symlink_to("..first")
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).symlink_to(Path("..data") / name)
    owned = listening(tmp_path / "tls.crt", tmp_path / "tls.key")
    second = revision("..second")
    assert not await owned.refresh()
    (tmp_path / "..data_tmp").symlink_to("..second")
    os.replace(tmp_path / "..data_tmp", tmp_path / "..data")
    assert await owned.refresh()
    assert shown(owned) == second.fingerprint


async def test_it_follows_by_itself(authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(owned_module, "POLL_S", 0.001)
    first = authority.issue()
    owned = listening(first.path, first.key_path)
    owned.follow()
    try:
        second = authority.issue()
        await until_true(lambda: shown(owned) == second.fingerprint)
    finally:
        await owned.close()


async def test_the_end_of_a_certificate_is_told_once(
    authority: Authority, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owned_module, "POLL_S", 0.001)
    old = authority.issue("old", begins_days=-3, ends_days=-1)
    owned = listening(old.path, old.key_path)
    polls = 0
    look = owned._look

    def counted() -> Look | None:
        nonlocal polls
        polls += 1
        return look()

    monkeypatch.setattr(owned, "_look", counted)
    owned.follow()
    try:
        await until_true(lambda: polls > 3)
    finally:
        await owned.close()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert f"[tls.cert]: {old.path}: the certificate has expired on" in record.getMessage()


def test_a_client_authority_that_is_taken_out_is_trusted_no_more(
    authority: Authority, tmp_path: Path
) -> None:
    shown = authority.issue()
    clients = tmp_path / "clients.pem"
    other = Authority(tmp_path, "Other")
    clients.write_bytes(authority.path.read_bytes() + other.path.read_bytes())
    owned = listening(shown.path, shown.key_path, client_ca=clients)
    assert len(owned.current.get_ca_certs()) == 2
    clients.write_bytes(other.path.read_bytes())
    look = owned._look()
    assert look is not None
    assert owned._take(look)
    assert len(owned.current.get_ca_certs()) == 1


def test_a_client_authority_may_be_below_another(authority: Authority) -> None:
    """In the same way in all versions of Python, whose own contexts differ in what they check."""
    shown = authority.issue()
    context = listening(shown.path, shown.key_path, client_ca=authority.path).current
    assert context.verify_flags & ssl.VERIFY_X509_PARTIAL_CHAIN
    assert not context.verify_flags & ssl.VERIFY_X509_STRICT  # which elasticsearch-certutil does not meet


stamps = st.lists(st.none() | st.tuples(st.integers(), st.integers(), st.integers()), max_size=3)


@given(before=stamps, now=stamps, faulty=st.booleans())
def test_files_are_read_if_they_changed_or_were_not_in_order(
    before: Sequence[Stamp | None], now: Sequence[Stamp | None], faulty: bool
) -> None:
    last = Look(before, {}, fault="bad" if faulty else None)
    assert must_read(last, now) == (faulty or before != now)


contents = st.dictionaries(st.sampled_from(["a", "b", "c"]), st.binary(max_size=2))


@given(before=contents, now=contents)
def test_what_has_changed(before: dict[str, bytes], now: dict[str, bytes]) -> None:
    assert set(changed(before, now)) == {name for name in now if (name, now[name]) not in before.items()}


def test_what_needs_a_certificate() -> None:
    for given_, message in (
        ({"key": "/k"}, r"\[tls.key\]: is of no use without a certificate: name one with \[tls.cert\]"),
        ({"client_ca": "/k"}, r"\[tls.client_ca\]: is of no use without a certificate"),
        (
            {"cert": "/c", "client_auth": "required"},
            r"\[tls.client_auth\]: .*name them with \[tls.client_ca\]",
        ),
    ):
        settings = Settings.model_validate({"tls": given_}).tls
        with pytest.raises(InvalidSettingsError, match=message):
            listener_tls(settings, "tls")
    assert listener_tls(Settings().tls, "tls") is None
