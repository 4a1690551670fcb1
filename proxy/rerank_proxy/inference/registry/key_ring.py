"""Encrypts the secrets of endpoints."""

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
    """The key that is needed to decrypt is not in the ring; the argument is its id."""


class AlteredError(Exception):
    """A token, or what it belongs to, was altered."""


class KeyRing:
    """Encrypts with the first of its keys and decrypts with any.

    It uses AES-GCM rather than Fernet, which could not authenticate the settings that a secret belongs to:
    those who can write to the registry and have no key must not be able to have an API key sent to their own
    address.

    Args:
        keys: 32 bytes each; at least one.
    """

    def __init__(self, keys: Sequence[bytes]) -> None:
        self._first = key_id(keys[0])
        self._ciphers: Mapping[str, AESGCM] = {key_id(key): AESGCM(key) for key in keys}

    def encrypt(self, text: bytes, belongs_to: bytes) -> str:
        """Return a token that `decrypt` takes.

        Args:
            belongs_to: What has to be given unchanged to decrypt it; it is not encrypted itself.
        """
        nonce = os.urandom(_NONCE_BYTES)
        sealed = self._ciphers[self._first].encrypt(nonce, text, belongs_to)
        return ".".join((_FORM, self._first, base64.urlsafe_b64encode(nonce + sealed).decode("ascii")))

    def decrypt(self, token: str, belongs_to: bytes) -> bytes:
        """Return the text of a token.

        Raises:
            UnknownKeyError: It takes a key that is not in the ring.
            AlteredError: It, or what it belongs to, was altered.
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
    """Return the id of the key that a token of `KeyRing.encrypt` needs; None for what is not such a token."""
    found = _TOKEN.match(token)
    return found[1] if found else None


def key_id(key: bytes) -> str:
    """Return an id that tells keys apart. It gives nothing away of a key, which is random."""
    return hashlib.sha256(b"rerank-proxy registry key\0" + key).hexdigest()[:8]
