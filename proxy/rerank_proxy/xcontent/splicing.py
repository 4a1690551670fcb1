"""Take JSON answers apart and put them together, without changing the bytes inside.

The `_source` of a hit is what the user has indexed: numbers of any length, escapes, any spelling. It is never
parsed and printed again here.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

import msgspec

from rerank_proxy.xcontent import source

Raw = bytes | msgspec.Raw
"""JSON as it was written; `msgspec.Raw` is a part of a larger document, not copied."""

UNREADABLE: Final = (msgspec.DecodeError, RecursionError, UnicodeDecodeError)
"""The exceptions of msgspec. It refuses unpaired surrogates and deep nesting, which Elasticsearch may
return."""

_decode_object: Final = msgspec.json.Decoder(dict[str, msgspec.Raw]).decode
_decode_array: Final = msgspec.json.Decoder(list[msgspec.Raw]).decode

_STAND_IN: Final = "\ufdd0"
"""Replaces the `\\u` of surrogates where one is unpaired: a code point that is not a character."""
_STAND_IN_BYTES: Final = _STAND_IN.encode()
_hide_surrogates = re.compile(rb"(?<!\\)((?:\\\\)*+)\\u(?=[dD][89a-fA-F][0-9a-fA-F]{2})").sub
_beyond: Final = re.compile(r"[\ud800-\udfff\U00010000-\U0010ffff]")
_find_hidden = re.compile(_STAND_IN + "([0-9a-fA-F]{4})").sub


def members(raw: Raw) -> dict[str, bytes]:
    """Return the members of an object, each value as it was written.

    Raises:
        ElasticsearchError: The text is not JSON.
        TypeError: It is not an object.
    """
    try:
        return {name: bytes(value) for name, value in _decode_object(raw).items()}
    except UNREADABLE:
        return _odd_members(bytes(raw))


def names(raw: Raw) -> list[str]:
    """Return the names of the members of an object."""
    try:
        return [*_decode_object(raw)]
    except UNREADABLE:
        return [*_odd_members(bytes(raw))]


def elements(raw: Raw) -> list[bytes]:
    """Return the elements of an array, each as it was written.

    Raises:
        ElasticsearchError: The text is not JSON.
        TypeError: It is not an array.
    """
    return [bytes(value) for value in parts(raw)]


def parts(raw: Raw | memoryview) -> Sequence[Raw]:
    """Return the elements of an array without copying them; raises as `elements` does."""
    try:
        return _decode_array(raw)
    except UNREADABLE:
        return _odd_elements(bytes(raw))


def _odd_members(raw: bytes) -> dict[str, bytes]:
    if _STAND_IN_BYTES not in raw:
        try:
            found = _decode_object(_hide_surrogates(rb"\1" + _STAND_IN_BYTES, raw))
        except UNREADABLE:
            pass
        else:
            return {_restore_name(name): _restore(value) for name, value in found.items()}
    node = source.parse(raw, strict=False)
    if node.kind != source.OBJECT:
        raise TypeError("not an object")
    return {name: value.raw for name, value in node.members.items()}


def _odd_elements(raw: bytes) -> list[bytes]:
    if _STAND_IN_BYTES not in raw:
        try:
            return [*map(_restore, _decode_array(_hide_surrogates(rb"\1" + _STAND_IN_BYTES, raw)))]
        except UNREADABLE:
            pass
    if not raw.lstrip().startswith(b"["):
        raise TypeError("not an array")
    return source.parse_array(raw)


def _restore(value: Raw) -> bytes:
    return bytes(value).replace(_STAND_IN_BYTES, rb"\u")


def _restore_name(name: str) -> str:
    halves = _find_hidden(lambda found: chr(int(found[1], 16)), name)
    return halves.encode("utf-16", "surrogatepass").decode("utf-16", "surrogatepass")


def text(raw: bytes) -> str:
    """Return the value of a string.

    Raises:
        TypeError: It is not a string.
    """
    if not raw.startswith(b'"'):
        raise TypeError("not a string")
    if b"\\" not in raw:
        return raw[1:-1].decode()
    value: str = json.loads(raw)  # which, unlike msgspec, reads unpaired surrogates
    return value


class Printer:
    """Prints new objects and arrays in the style of the answer that they become part of.

    `pretty` is Jackson's ``DefaultPrettyPrinter`` as Elasticsearch sets it up: two spaces a level, ` : `
    after names. Values keep their layout, so they must stay at the depth that they came from.
    """

    def __init__(self, pretty: bool) -> None:
        self.pretty = pretty

    @classmethod
    def like(cls, answer: bytes) -> "Printer":
        """Return a printer with the style of an object that Elasticsearch has printed."""
        return cls(answer.startswith(b"{\n"))

    def object(self, values: Mapping[str, bytes], depth: int) -> bytes:
        separator = b" : " if self.pretty else b":"
        pairs = [_name(name) + separator + value for name, value in values.items()]
        return self._enclose(b"{", pairs, b"}", depth)

    def array(self, values: Iterable[bytes], depth: int) -> bytes:
        return self._enclose(b"[", list(values), b"]", depth)

    def value(self, value: Any, depth: int = 0) -> bytes:
        """Print a Python value, such as an error."""
        if isinstance(value, Mapping):
            return self.object({name: self.value(item, depth + 1) for name, item in value.items()}, depth)
        if isinstance(value, list | tuple):
            return self.array((self.value(item, depth + 1) for item in value), depth)
        return _quoted(value)

    def end(self) -> bytes:
        return b"\n" if self.pretty else b""

    def _enclose(self, opening: bytes, parts: list[bytes], closing: bytes, depth: int) -> bytes:
        """Join the parts in a single step, since they may be megabytes."""
        if not parts:
            return opening + (b" " if self.pretty else b"") + closing
        inner = b"\n" + b"  " * (depth + 1) if self.pretty else b""
        outer = b"\n" + b"  " * depth if self.pretty else b""
        parts[0] = opening + inner + parts[0]
        parts[-1] += outer + closing
        return (b"," + inner).join(parts)


@lru_cache(maxsize=1024)
def _name(name: str) -> bytes:
    return _quoted(name)


def _quoted(value: Any) -> bytes:
    """Print a scalar as Jackson does, with two escapes for a character beyond the basic plane."""
    printed = json.dumps(value, ensure_ascii=False)
    return printed.encode() if printed.isascii() else _beyond.sub(_escaped, printed).encode()


def _escaped(match: re.Match[str]) -> str:
    units = match[0].encode("utf-16-be", "surrogatepass").hex().upper()
    return "".join(f"\\u{units[at : at + 4]}" for at in range(0, len(units), 4))
