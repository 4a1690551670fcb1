"""Decodes Snappy's framing format as Netty's ``SnappyFrameDecoder`` does: checksums are not compared."""

from collections.abc import Generator, Iterable
from typing import Final

_BEGINS_WITH: Final = b"\xff\x06\x00\x00sNaPpY"
_COMPRESSED: Final = 0x00
_PLAIN: Final = 0x01
_SKIPPABLE: Final = range(0x80, 0xFF)
_STREAM: Final = 0xFF
_CHECKSUM: Final = 4
_MOST: Final = 64 * 1024
"""Decoded bytes of one chunk."""


class SnappyError(ValueError):
    """A body is not Snappy. The message says in a few words why."""


def decompress(content: Iterable[bytes]) -> Generator[bytes, None, bool]:
    """Decode chunk by chunk. Leave out an incomplete one, and return whether there was none.

    Raises:
        SnappyError: The first fault.
    """
    rest = bytearray()
    begun = False
    for piece in content:
        rest += piece
        at = 0
        while len(rest) - at >= 4:
            kind, size = rest[at], int.from_bytes(rest[at + 1 : at + 4], "little")
            _check(kind, size, begun=begun)
            end = at + 4 + size
            if end > len(rest):
                break
            if kind == _STREAM:
                if rest[at:end] != _BEGINS_WITH:
                    raise SnappyError("another format than that of its framing")
                begun = True
            elif kind == _PLAIN:
                yield bytes(rest[at + 4 + _CHECKSUM : end])
            elif kind == _COMPRESSED:
                yield _block(rest, at + 4 + _CHECKSUM, end)
            at = end
        del rest[:at]
    return begun and not rest


def _check(kind: int, size: int, *, begun: bool) -> None:
    """Refuse a chunk by its header, before its content has arrived."""
    if kind == _STREAM:
        if size != 6:
            raise SnappyError("a stream identifier of another length")
        return
    if kind not in (_COMPRESSED, _PLAIN) and kind not in _SKIPPABLE:
        raise SnappyError("a chunk of an unknown type")
    if not begun:
        raise SnappyError("a chunk before the stream identifier")
    if kind in (_COMPRESSED, _PLAIN) and size < _CHECKSUM:
        raise SnappyError("a chunk without a checksum")
    if kind == _PLAIN and size > _MOST + _CHECKSUM:
        raise SnappyError("a chunk that is too long")


def _block(data: bytearray, at: int, end: int) -> bytes:
    """Decode one chunk: literals, and copies of what was decoded before."""
    size, at = _varint(data, at, end)
    if size > _MOST:
        raise SnappyError("a chunk that is too long")
    out = bytearray()
    while at < end and len(out) < size:
        tag = data[at]
        at += 1
        kind = tag & 3
        if kind == 0:
            length, at = _literal_length(tag, data, at)
            out += data[at : min(at + length, end)]
            at += length
            continue
        if kind == 1:
            length, offset = 4 + ((tag >> 2) & 7), (tag & 0xE0) << 3 | data[at] if at < end else 0
            at += 1
        else:
            width = 2 if kind == 2 else 4
            length, offset = 1 + (tag >> 2), int.from_bytes(data[at : at + width], "little")
            at += width
        if at > end or not 0 < offset <= len(out):
            raise SnappyError("a copy of what is not there")
        _copy(out, offset, length)
    if at > end or len(out) != size:
        raise SnappyError("a chunk of another length than it says")
    return bytes(out)


def _copy(out: bytearray, offset: int, length: int) -> None:
    start = len(out) - offset
    if length <= offset:
        out += out[start : start + length]
    else:  # it continues with what it has just copied
        repeated = bytes(out[start:])
        out += (repeated * (length // offset + 1))[:length]


def _literal_length(tag: int, data: bytearray, at: int) -> tuple[int, int]:
    """Return the length, and where the literal begins."""
    length = tag >> 2
    if length < 60:
        return length + 1, at
    width = length - 59
    return int.from_bytes(data[at : at + width], "little") + 1, at + width


def _varint(data: bytearray, at: int, end: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 35, 7):
        if at >= end:
            break
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise SnappyError("a length that does not end")
