"""What the secrets of endpoints are encrypted with."""

import base64
import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES: Final = 12
_FORM: Final = "v1"
_TOKEN: Final = re.compile(_FORM + r"\.([0-9a-f]{8})\.[^.]*\Z")


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
        used = used_key(token)
        if used is None:
            raise AlteredError
        cipher = self._ciphers.get(used)
        if cipher is None:
            raise UnknownKeyError(used)
        try:
            sealed = base64.b64decode(token.rpartition(".")[2], altchars=b"-_", validate=True)
            return cipher.decrypt(sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:], belongs_to)
        except (ValueError, InvalidTag):
            raise AlteredError from None


def used_key(token: str) -> str | None:
    """Return the id of the key that a token of `KeyRing.encrypt` takes; None for what is no such token."""
    found = _TOKEN.match(token)
    return found[1] if found else None


def key_id(key: bytes) -> str:
    """Tells keys apart. It says nothing about a key, which is random."""
    return hashlib.sha256(b"rerank-proxy registry key\0" + key).hexdigest()[:8]
