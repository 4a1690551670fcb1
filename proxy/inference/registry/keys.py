"""What the secrets of endpoints are encrypted with, and where the keys come from."""

import base64
import hashlib
import logging
import os
import re
import secrets
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from proxy.inference.registry import files
from proxy.settings import InvalidSettingsError, RegistrySettings, Settings

logger = logging.getLogger(__name__)

KEY_FILE: Final = "registry.key"
_KEY_BYTES: Final = 32
_KEY: Final = re.compile(r"[A-Za-z0-9+/_-]{43}=?")
_NONCE_BYTES: Final = 12
_FORM: Final = "v1"


class UnknownKeyError(Exception):
    """Something was encrypted with a key that is not among ours; the argument is that key's id."""


class AlteredError(Exception):
    """What was encrypted, or what it belongs to, is not as it was."""


class KeyRing:
    """Encrypts with the first of its keys and decrypts with any.

    AES-GCM rather than Fernet, because it authenticates the settings that a secret belongs to along with it:
    who can write to the registry but has no key cannot have an API key sent to an address of their own.

    Args:
        keys: 32 bytes each; at least one.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._first = key_id(keys[0])
        self._ciphers: Mapping[str, AESGCM] = {key_id(key): AESGCM(key) for key in keys}

    def encrypt(self, text: bytes, belongs_to: bytes) -> str:
        """Text that `decrypt` takes.

        Args:
            belongs_to: What has to be given unchanged to decrypt it; it can be read by anyone.
        """
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._ciphers[self._first].encrypt(nonce, text, belongs_to)
        return ".".join((_FORM, self._first, base64.urlsafe_b64encode(nonce + sealed).decode("ascii")))

    def decrypt(self, token: str, belongs_to: bytes) -> bytes:
        """Raises:
        UnknownKeyError: It takes another key.
        AlteredError: It, or what it belongs to, has been changed.
        """
        form, _, rest = token.partition(".")
        used, _, text = rest.partition(".")
        if form != _FORM:
            raise AlteredError
        cipher = self._ciphers.get(used)
        if cipher is None:
            raise UnknownKeyError(used)
        try:
            sealed = base64.b64decode(text, altchars=b"-_", validate=True)
            return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], belongs_to)
        except (ValueError, InvalidTag):
            raise AlteredError from None


def key_id(key: bytes) -> str:
    """Tells keys apart. It says nothing about a key, which is random."""
    return hashlib.sha256(b"rerank-proxy registry key\0" + key).hexdigest()[:8]


def new_key() -> str:
    return base64.urlsafe_b64encode(secrets.token_bytes(_KEY_BYTES)).decode("ascii")


def parse_keys(text: str) -> list[bytes]:
    """The keys of a file, one a line; empty lines and lines that begin with `#` are none.

    Raises:
        ValueError: One is no key, or there is none. The message does not hold it.
    """
    lines = [line.strip() for line in text.splitlines()]
    keys = [
        _decode(line, number) for number, line in enumerate(lines, 1) if line and not line.startswith("#")
    ]
    if not keys:
        raise ValueError("holds no key")
    return keys


def _decode(line: str, number: int) -> bytes:
    if not _KEY.fullmatch(line):
        raise ValueError(f"line {number} is no key: expected {_KEY_BYTES} random bytes in base64")
    standard = line.rstrip("=").translate(str.maketrans("-_", "+/"))
    return base64.b64decode(standard + "=")


def configured_keys(settings: RegistrySettings) -> KeyRing | None:
    """The keys that the settings give or name.

    Raises:
        InvalidSettingsError: The file that they name cannot be used.
    """
    if settings.key is not None:
        return KeyRing(parse_keys(settings.key.get_secret_value()))
    if settings.key_file is None:
        return None
    try:
        return KeyRing(parse_keys(settings.key_file.read_text(encoding="utf-8")))
    except OSError as error:
        raise InvalidSettingsError(
            f"[registry.key_file]: {settings.key_file}: cannot be read: {error.strerror}"
        ) from None
    except ValueError as error:
        problem = "is not text" if isinstance(error, UnicodeDecodeError) else str(error)
        raise InvalidSettingsError(f"[registry.key_file]: {settings.key_file}: {problem}") from None


def check_registry(settings: Settings) -> None:
    """Whether what the settings say of the registry can be used, without reading it.

    Raises:
        InvalidSettingsError: A file that they name cannot be read, or there is no place to keep anything.
    """
    configured_keys(settings.registry)
    if settings.registry.store == "file":
        files.state_directory(settings)


class OwnKeys:
    """The key file of a single proxy in its state directory, made when it is first needed.

    Raises:
        OSError, ValueError: From both methods: the file cannot be read, or holds no keys.
    """

    def __init__(self, directory: Path) -> None:
        self.path: Final = directory / KEY_FILE

    def read(self) -> KeyRing | None:
        """None when there is no file."""
        try:
            return KeyRing(parse_keys(self.path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from None

    def read_or_make(self) -> KeyRing:
        """Under the lock of the directory: processes that need one at once get the same."""
        found = self.read()
        if found is not None:
            return found
        key = new_key()
        files.replace(self.path, f"{key}\n".encode("ascii"))
        logger.info("a key for the secrets of inference endpoints was made: %s", self.path)
        return KeyRing(parse_keys(key))
