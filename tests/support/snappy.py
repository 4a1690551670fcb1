"""Writes Snappy in its framing format: literals, and copies of what stands before."""

from typing import Final

BEGINNING: Final = b"\xff\x06\x00\x00sNaPpY"
_CHUNK: Final = 60_000
_SHORTEST, _LONGEST = 4, 64


def compress(data: bytes, *, copies: bool = True) -> bytes:
    """Without real checksums, which neither side compares."""
    blocks = (data[at : at + _CHUNK] for at in range(0, len(data), _CHUNK))
    return BEGINNING + b"".join(chunk(0, block(each, copies=copies)) for each in blocks)


def chunk(kind: int, content: bytes) -> bytes:
    return bytes([kind]) + (len(content) + 4).to_bytes(3, "little") + b"\0\0\0\0" + content


def block(data: bytes, *, copies: bool = True) -> bytes:
    out = bytearray(varint(len(data)))
    literal = bytearray()
    at = 0
    while at < len(data):
        length = _LONGEST
        place = -1
        while copies and length >= _SHORTEST and place < 0:
            wanted = data[at : at + length]
            if len(wanted) == length:
                place = data.rfind(wanted, 0, at + length - 1)
            length -= 0 if place >= 0 else 1
        if place < 0:
            literal.append(data[at])
            at += 1
            continue
        out += written_literal(literal)
        literal.clear()
        out += copy(at - place, length)
        at += length
    return bytes(out + written_literal(literal))


def varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def written_literal(text: bytes | bytearray) -> bytes:
    if not text:
        return b""
    size = len(text) - 1
    if size < 60:
        return bytes([size << 2]) + text
    width = (size.bit_length() + 7) // 8
    return bytes([(59 + width) << 2]) + size.to_bytes(width, "little") + text


def copy(offset: int, length: int) -> bytes:
    """Write a copy in the shortest of the three forms that there are."""
    if 4 <= length < 12 and offset < 2048:
        return bytes([1 | (length - 4) << 2 | (offset >> 8) << 5, offset & 0xFF])
    if offset < 65536:
        return bytes([2 | (length - 1) << 2]) + offset.to_bytes(2, "little")
    return bytes([3 | (length - 1) << 2]) + offset.to_bytes(4, "little")
