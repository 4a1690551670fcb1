"""The ids by which clicks name the search that showed their documents."""

import binascii
import hmac
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from itertools import islice
from typing import Final, Literal

HEADER: Final = "X-Rerank-Search"
"""The header of an answer that has its search's id."""

_PROCESS: Final = 4
_NONCE: Final = 8
_TAG: Final = 6
_LENGTH: Final = 24
"""Characters of an id: 18 bytes in base64 for URLs, without an end of `=`."""
_MOST_LISTED: Final = 100
"""Ids in one header: of 36 characters each, so that they stay far below what clients accept."""

Foreign = Literal["unknown", "elsewhere"]
"""Why an id is not one of this process: it is not an id, or another process seems to have given it."""


class SearchIds:
    """Gives ids, and knows those that it has given.

    An id holds random numbers of the process and of the search, and a tag that only this process can make. It
    tells neither when the search was nor how many there are.
    """

    def __init__(self) -> None:
        self._key: Final = secrets.token_bytes(32)
        self._process: Final = secrets.token_bytes(_PROCESS)

    def new(self) -> str:
        """Return an id for a search."""
        nonce = secrets.token_bytes(_NONCE)
        return urlsafe_b64encode(self._process + nonce + self._tag(nonce)).decode()

    def check(self, given: str) -> Foreign | None:
        """Return why a text is not an id that this process has given; None if it is one."""
        if len(given) != _LENGTH:
            return "unknown"
        try:
            decoded = urlsafe_b64decode(given)
        except (binascii.Error, ValueError):
            return "unknown"
        if urlsafe_b64encode(decoded).decode() != given:  # which passes over what is not base64
            return "unknown"
        process, nonce, tag = decoded[:_PROCESS], decoded[_PROCESS:-_TAG], decoded[-_TAG:]
        if process != self._process:
            return "elsewhere"
        return None if hmac.compare_digest(tag, self._tag(nonce)) else "unknown"

    def _tag(self, nonce: bytes) -> bytes:
        return hmac.digest(self._key, nonce, "sha256")[:_TAG]


def listed(ids: Mapping[int, str]) -> str:
    """Return the value of the header for a request of many searches.

    Args:
        ids: By the numbers of the searches in the request, from 0. Of very many the first are listed.
    """
    return ", ".join(f"{each}; item={number}" for number, each in islice(ids.items(), _MOST_LISTED))
