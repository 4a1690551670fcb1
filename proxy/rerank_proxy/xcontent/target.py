"""The target of a request as Elasticsearch reads it (``RestRequest``, ``RestUtils``, ``PathTrie``).

A target is text with one character for each byte received, as in Netty. It is compared, forwarded and shown
as it is; only values are decoded, and it is never given to a URL library.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

_PATH: Final = re.compile(r"[^?#]*+")
_SEPARATORS: Final = re.compile(r"[&;]")
_BROKEN_ESCAPE: Final = re.compile(r"(?:[^%]++|%%|%[0-9A-Fa-f]{2})*+%")
_ESCAPE: Final = re.compile(rb"%(?:%|([0-9A-Fa-f]{2}))")
_SURROGATE: Final = re.compile(rb"\xed[\xa0-\xbf][\x80-\xbf]")
_REPLACEMENT: Final = "\ufffd".encode()
"""Replaces a surrogate, as a whole as in Java; Python would replace each of its bytes."""


@dataclass(frozen=True, slots=True)
class RequestTarget:
    """The parts of a target.

    Attributes:
        path: Everything before the first `?` or `#`.
        query: Everything after the first `?`, even behind a `#`, up to the next `#`.
    """

    path: str
    query: str

    @classmethod
    def of(cls, raw: str) -> "RequestTarget":
        match = _PATH.match(raw)
        path = match[0] if match else ""
        return cls(path, raw.partition("?")[2].partition("#")[0])

    @property
    def route(self) -> str:
        """The path in the form that routes are compared with: the leading slash is optional, and trailing
        slashes are ignored.
        """
        return "/" + self.path.removeprefix("/").rstrip("/")

    @property
    def is_readable(self) -> bool:
        """True if all escapes are complete. Elasticsearch refuses any other request."""
        if "%" not in self.path and "%" not in self.query:
            return True
        texts = (self.path, *(text for pair in parameters(self.query) for text in pair.split("=", 1)))
        return not any(_BROKEN_ESCAPE.match(text) for text in texts)


def parameters(query: str) -> Iterator[str]:
    """Return the parameters of a query string, each as it was written."""
    return filter(None, _SEPARATORS.split(query))


def decode(text: str, *, plus_is_space: bool = False) -> str:
    """Decode a part of a target (``RestUtils#decode``).

    `%%` is a percent sign, and invalid UTF-8 is replaced. A text with nothing to decode is returned
    unchanged, with one character for each byte.

    Args:
        plus_is_space: Decode `+` to a space, as in a query string.
    """
    if "%" not in text and not (plus_is_space and "+" in text):
        return text
    raw = text.encode("latin-1")
    if plus_is_space:
        raw = raw.replace(b"+", b" ")
    return _SURROGATE.sub(_REPLACEMENT, _ESCAPE.sub(_byte, raw)).decode("utf-8", "replace")


def _byte(match: re.Match[bytes]) -> bytes:
    return b"%" if match[1] is None else bytes((int(match[1], 16),))
