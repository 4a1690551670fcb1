"""Undoing the codings that Elasticsearch undoes, in pieces: a body is never decoded as a whole here."""

import zlib
from collections.abc import Iterable, Iterator

STEP = 64 * 1024
"""Bytes decoded at once."""

_CODINGS = (b"gzip", b"x-gzip", b"deflate", b"x-deflate")


def is_compressed(coding: bytes) -> bool:
    """True for a `Content-Encoding` that Elasticsearch decodes; bodies of others it parses as they are."""
    return coding in _CODINGS


def decompress(content: Iterable[bytes]) -> Iterator[bytes]:
    """Decode gzip, zlib or raw deflate up to its end, or to the first fault: what Elasticsearch could read.

    Args:
        content: The pieces of a body without chunk framing, in order.
    """
    decoder = None
    rest = b""
    for piece in content:
        rest += piece
        if decoder is None:
            if len(rest) < 2:
                continue  # of the two bytes that tell which format it is
            decoder = zlib.decompressobj(_window_bits(rest))
        part = b""
        # A full step may have left output inside the decoder even when all input is taken.
        while rest or len(part) == STEP:
            try:
                part = decoder.decompress(rest, STEP)
            except zlib.error:
                return
            yield part
            if decoder.eof:
                return
            rest = decoder.unconsumed_tail


def _window_bits(first: bytes) -> int:
    """For `zlib.decompressobj`: gzip, zlib or, without the header of either, raw deflate, like Netty."""
    if first[:1] == b"\x1f":
        return 31
    is_zlib = first[0] & 0x0F == 8 and (first[0] << 8 | first[1]) % 31 == 0
    return 15 if is_zlib else -15
