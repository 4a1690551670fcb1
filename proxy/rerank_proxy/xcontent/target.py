"""A request's target as Elasticsearch reads it (``RestRequest``, ``RestUtils``, ``PathTrie``).

A target is text with one character for each byte that came, as Netty has it. It is compared, forwarded and
shown as it is; only values are decoded, and no library for URLs ever sees it.
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
"""Of a surrogate, which Java replaces as a whole, and Python byte by byte."""


@dataclass(frozen=True, slots=True)
class Target:
    """A target, taken apart.

    Attributes:
        path: Up to the first `?` or `#`.
        query: From the first `?`, be it behind a `#`, up to the first `#` after it.
    """

    path: str
    query: str

    @classmethod
    def of(cls, raw: str) -> "Target":
        match = _PATH.match(raw)
        path = match[0] if match else ""
        return cls(path, raw.partition("?")[2].partition("#")[0])

    @property
    def route(self) -> str:
        """The path as routes are compared with it: the slash at the beginning is optional, and any number of
        them at the end does not matter.
        """
        return "/" + self.path.removeprefix("/").rstrip("/")

    @property
    def is_readable(self) -> bool:
        """Whether its escapes are complete. Elasticsearch refuses all other requests, whatever they are."""
        if "%" not in self.path and "%" not in self.query:
            return True
        texts = (self.path, *(text for pair in parameters(self.query) for text in pair.split("=", 1)))
        return not any(_BROKEN_ESCAPE.match(text) for text in texts)


def parameters(query: str) -> Iterator[str]:
    """The parameters of a query string, each as it was written."""
    return filter(None, _SEPARATORS.split(query))


def decode(text: str, *, plus_is_space: bool = False) -> str:
    """Return the value of a part of a target (``RestUtils#decode``): `%%` is a percent sign, what is no UTF-8
    is replaced. A text with nothing to decode is taken as it is, with one character for each byte.

    Args:
        plus_is_space: As in a query string.
    """
    if "%" not in text and not (plus_is_space and "+" in text):
        return text
    raw = text.encode("latin-1")
    if plus_is_space:
        raw = raw.replace(b"+", b" ")
    return _SURROGATE.sub(_REPLACEMENT, _ESCAPE.sub(_byte, raw)).decode("utf-8", "replace")


def _byte(match: re.Match[bytes]) -> bytes:
    return b"%" if match[1] is None else bytes((int(match[1], 16),))
