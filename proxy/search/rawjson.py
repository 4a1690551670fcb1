"""Taking JSON answers apart and putting them together without touching the bytes inside.

A hit's `_source` is what the user indexed: numbers of any length, escapes, any spelling. Nothing here parses
and prints it again.
"""

import json
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

import msgspec

from proxy.search import source

_decode_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_array: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode


def members(raw: bytes) -> dict[str, bytes]:
    """The members of an object, each value as it was written."""
    try:
        return {name: bytes(value) for name, value in _decode_object(raw).items()}
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        # msgspec refuses unpaired surrogates and deep nesting; Elasticsearch stores and returns both.
        node = source.parse(raw, strict=False)
        return {name: value.raw for name, value in node.members.items()}


def elements(raw: bytes) -> list[bytes]:
    """The elements of an array, each as it was written."""
    try:
        return [bytes(value) for value in _decode_array(raw)]
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError):
        return source.parse_array(raw)


def text(raw: bytes) -> str:
    """The value of a string."""
    if b"\\" not in raw:
        return raw[1:-1].decode()
    value: str = json.loads(raw)  # which, unlike msgspec, reads unpaired surrogates
    return value


class Printer:
    """Prints the objects and arrays that are put together anew, in the style of the answer they belong to.

    `pretty` is Jackson's ``DefaultPrettyPrinter`` as Elasticsearch sets it up: two spaces a level, ` : `
    after names. Values keep their own inner layout, so they must stay at the depth they came from.
    """

    def __init__(self, pretty: bool) -> None:
        self.pretty = pretty

    @classmethod
    def like(cls, answer: bytes) -> "Printer":
        """The style of an object printed by Elasticsearch."""
        return cls(answer.startswith(b"{\n"))

    def object(self, values: Mapping[str, bytes], depth: int) -> bytes:
        separator = b" : " if self.pretty else b":"
        pairs = [_name(name) + separator + value for name, value in values.items()]
        return b"{" + self._join(pairs, depth) + b"}"

    def array(self, values: Iterable[bytes], depth: int) -> bytes:
        return b"[" + self._join(list(values), depth) + b"]"

    def value(self, value: Any, depth: int = 0) -> bytes:
        """A value of our own making, such as an error."""
        if isinstance(value, Mapping):
            return self.object({name: self.value(item, depth + 1) for name, item in value.items()}, depth)
        if isinstance(value, list | tuple):
            return self.array((self.value(item, depth + 1) for item in value), depth)
        return json.dumps(value, ensure_ascii=False).encode("utf-8", "replace")

    def end(self) -> bytes:
        return b"\n" if self.pretty else b""

    def _join(self, parts: list[bytes], depth: int) -> bytes:
        if not self.pretty:
            return b",".join(parts)
        if not parts:
            return b" "
        inner, outer = b"\n" + b"  " * (depth + 1), b"\n" + b"  " * depth
        return inner + (b"," + inner).join(parts) + outer


@lru_cache(maxsize=1024)
def _name(name: str) -> bytes:
    return json.dumps(name, ensure_ascii=False).encode("utf-8", "surrogatepass")
