"""Keys: where they come from, and what only they open."""

import base64
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.inference.registry.key_ring import AlteredError, KeyRing, UnknownKeyError, key_id
from rerank_proxy.inference.registry.keys import OwnKeys, check_registry, configured_keys, new_key, parse_keys
from rerank_proxy.settings import InvalidSettingsError, RegistrySettings, load
from tests.support.raw_http import TIMEOUT_S

KEYS = st.binary(min_size=32, max_size=32)


@given(KEYS, st.binary(max_size=200), st.binary(max_size=50))
def test_what_is_encrypted_is_decrypted(key: bytes, text: bytes, belongs_to: bytes) -> None:
    ring = KeyRing([key])
    assert ring.decrypt(ring.encrypt(text, belongs_to), belongs_to) == text


@given(KEYS, KEYS, st.binary(max_size=50))
def test_older_keys_still_open(old: bytes, new: bytes, text: bytes) -> None:
    """A key is replaced by putting a new one before it."""
    token = KeyRing([old]).encrypt(text, b"")
    both = KeyRing([new, old])
    assert both.decrypt(token, b"") == text
    assert both.encrypt(text, b"").split(".")[1] == key_id(new)


@given(KEYS, KEYS, st.binary(max_size=50))
def test_another_key_does_not_open_and_its_id_is_told(key: bytes, other: bytes, text: bytes) -> None:
    if key == other:
        return
    with pytest.raises(UnknownKeyError, match=f"^{key_id(key)}$"):
        KeyRing([other]).decrypt(KeyRing([key]).encrypt(text, b""), b"")


@given(KEYS, st.binary(max_size=50), st.data())
def test_nothing_altered_is_decrypted(key: bytes, text: bytes, data: st.DataObject) -> None:
    ring = KeyRing([key])
    token = ring.encrypt(text, b"mine")
    head, _, sealed = token.rpartition(".")
    raw = bytearray(base64.urlsafe_b64decode(sealed))
    raw[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    with pytest.raises(AlteredError):
        ring.decrypt(f"{head}.{base64.urlsafe_b64encode(raw).decode()}", b"mine")
    with pytest.raises(AlteredError):
        ring.decrypt(token, b"another's")


@pytest.mark.parametrize(
    "token", ["", ".", "v1", "v2.{id}.AAAA", "v1.{id}.", "v1.{id}.AAAA", "v1.{id}.%%%", "v1.{id}.é"]
)
def test_what_is_not_a_token(token: str) -> None:
    key = b"k" * 32
    with pytest.raises((AlteredError, UnknownKeyError)):
        KeyRing([key]).decrypt(token.format(id=key_id(key)), b"")


@given(st.lists(KEYS, min_size=1, max_size=4), st.booleans(), st.booleans())
def test_a_file_of_keys(keys: list[bytes], urlsafe: bool, padded: bool) -> None:
    encode = base64.urlsafe_b64encode if urlsafe else base64.b64encode
    lines = [encode(key).decode().rstrip("=") + ("=" if padded else "") for key in keys]
    assert parse_keys("# ours\n\n" + "\r\n".join(lines) + "\n") == keys


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no key"),
        ("# none\n", "holds no key"),
        ("s3cret\n", "line 1 is not a key: expected 32 random bytes in base64"),
        (new_key() + "\ns3cret", "line 2 is not a key: expected 32 random bytes in base64"),
    ],
)
def test_what_is_not_a_file_of_keys(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message) as raised:
        parse_keys(text)
    assert "s3cret" not in str(raised.value)


def test_new_keys_are_keys_and_differ() -> None:
    one, other = new_key(), new_key()
    assert one != other
    assert len(parse_keys(f"{one}\n{other}")) == 2


class TestConfigured:
    def test_in_the_settings(self) -> None:
        key = new_key()
        assert configured_keys(load(None, {"registry": {"key": key}}, {}).registry) == parse_keys(key)

    def test_in_a_file(self, tmp_path: Path) -> None:
        file = tmp_path / "key"
        keys = [new_key(), new_key()]
        file.write_text("\n".join(keys))
        assert configured_keys(RegistrySettings(key_file=file)) == [parse_keys(key)[0] for key in keys]

    def test_nowhere(self) -> None:
        assert configured_keys(RegistrySettings()) is None

    @pytest.mark.parametrize(
        ("content", "problem"),
        [
            (None, "cannot be read: No such file or directory"),
            (b"nothing", "line 1 is not a key: expected 32 random bytes in base64"),
            (b"\xff\xfe", "is not text"),
            (b"#" * 70_000, "is larger than 65536 bytes"),
        ],
    )
    def test_in_a_file_that_cannot_be_used(self, tmp_path: Path, content: bytes | None, problem: str) -> None:
        file = tmp_path / "key"
        if content is not None:
            file.write_bytes(content)
        with pytest.raises(InvalidSettingsError) as raised:
            check_registry(load(None, {"registry": {"key_file": str(file)}}, {}))
        assert str(raised.value) == f"[registry.key_file]: {file}: {problem}"

    def test_in_a_fifo_which_is_not_waited_for(self, tmp_path: Path) -> None:
        os.mkfifo(tmp_path / "key")
        with pytest.raises(InvalidSettingsError, match=r"key: is a named pipe, not a file$"):
            configured_keys(RegistrySettings(key_file=tmp_path / "key"))


class TestOwn:
    def test_a_file_is_made_for_its_owner_alone(self, tmp_path: Path) -> None:
        own = OwnKeys(tmp_path)
        assert own.read() is None
        made = own.make()
        assert stat.S_IMODE(own.path.stat().st_mode) == 0o600
        assert OwnKeys(tmp_path).read() == made
        assert [path.name for path in tmp_path.iterdir()] == ["registry.key"]

    def test_a_damaged_file_is_named_and_left_alone(self, tmp_path: Path) -> None:
        own = OwnKeys(tmp_path)
        own.path.write_text("s3cret")
        with pytest.raises(ValueError, match=r"^registry\.key: line 1 is not a key"):
            own.read()
        assert own.path.read_text() == "s3cret"


def test_nothing_heavy_is_imported() -> None:
    """The process that relays looks at the keys before it starts, and keeps what that imports."""
    script = (
        "import sys, rerank_proxy.inference.registry.keys;"
        "heavy = {'torch', 'numpy', 'elasticsearch', 'cryptography', 'filelock', 'rerank_proxy.engine'};"
        "print(sorted(heavy & set(sys.modules)))"
    )
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert (done.stdout, done.stderr) == ("[]\n", "")
