"""Undoes the codings that Elasticsearch undoes, in pieces: a body is never decoded as a whole here.

The rules are Netty's (``HttpContentDecompressor``, ``JdkZlibDecoder``): a gzip member may follow another, for
example. `decoded_limit` says how long a body may become: the edge measures by it, and the application decodes
no further.
"""

import zlib
from collections.abc import Generator, Iterable, Iterator
from typing import Final

from rerank_proxy.http import snappy

STEP: Final = 64 * 1024
"""Bytes decoded in one step."""
SNAPPY: Final = b"snappy"
ALWAYS_ALLOWED: Final = 1024 * 1024
"""Decoded bytes that any compressed body may have: a short one may be very repetitive."""

_GZIP: Final = (b"gzip", b"x-gzip")
_DEFLATE: Final = (b"deflate", b"x-deflate")
_GZIP_BITS: Final = 31
_GZIP_HEADER: Final = 10
"""Netty begins a gzip member with so many bytes; fewer at the end are ignored."""
_FIRST_STEP: Final = 512
"""Bytes of a member, doubled from step to step: the rest of the last is copied, and members may be tiny."""


class CodingError(ValueError):
    """A body does not have the coding that it claims. The message says in a few words why."""


class EndsTooEarlyError(CodingError):
    """A body is valid, but ends too early. Elasticsearch accepts that in a request."""


def is_compressed(coding: bytes) -> bool:
    """Return whether Elasticsearch decodes this `Content-Encoding`; it parses bodies of others as they are.

    Args:
        coding: In lower case.
    """
    return coding in _GZIP or coding in _DEFLATE or coding == SNAPPY


def decoded_limit(coded: int, max_inflation: int, max_body: int) -> int:
    """Return the decoded bytes that a body of `coded` compressed bytes may have.

    Args:
        max_inflation: The setting `edge.max_inflation`.
        max_body: The setting `edge.max_body`, which bounds every body, decoded or not.
    """
    return min(max(coded * max_inflation, ALWAYS_ALLOWED), max_body)


def decompress(content: Iterable[bytes], coding: bytes) -> Iterator[bytes]:
    """Decode a body for which `is_compressed` is true, up to its end or its first fault.

    Args:
        content: The pieces of a body without chunk framing, in order.
        coding: In lower case.

    Raises:
        CodingError: The first fault. Elasticsearch closes the connection there.
        EndsTooEarlyError: After what could be decoded.
    """
    undo = snappy.decompress if coding == SNAPPY else _gzip if coding in _GZIP else _deflate
    try:
        is_complete = yield from undo(content)
    except (zlib.error, snappy.SnappyError) as fault:
        raise CodingError(str(fault)) from None
    if not is_complete:
        raise EndsTooEarlyError("it ends too early")


def _gzip(content: Iterable[bytes]) -> Generator[bytes, None, bool]:
    """Decode one or more members. Return whether the last one is complete."""
    decoder = zlib.decompressobj(_GZIP_BITS)
    rest = b""
    step = _FIRST_STEP
    is_complete = False
    for piece in content:
        rest += piece
        at = 0
        while at < len(rest) and not (step == _FIRST_STEP and len(rest) - at < _GZIP_HEADER):
            part = rest[at : at + step]
            if step == _FIRST_STEP:
                part = _with_magic(part)
            yield from _steps(decoder, part)
            at += len(part) - len(decoder.unused_data)
            step = min(2 * step, STEP)
            is_complete = decoder.eof
            if is_complete:
                decoder = zlib.decompressobj(_GZIP_BITS)
                step = _FIRST_STEP
        rest = rest[at:]
    return is_complete


def _with_magic(beginning: bytes) -> bytes:
    """Return the beginning of a member with the second byte that zlib expects; Netty does not look at it."""
    return beginning[:1] + b"\x8b" + beginning[2:]


def _deflate(content: Iterable[bytes]) -> Generator[bytes, None, bool]:
    """Decode a stream with or without the header of zlib, which its first two bytes tell. Ignore what follows
    its end. Return whether that was reached.
    """
    decoder = None
    rest = b""
    for piece in content:
        rest += piece
        if decoder is None:
            if len(rest) < 2:
                continue
            decoder = zlib.decompressobj(_window_bits(rest))
        yield from _steps(decoder, rest)
        if decoder.eof:
            return True
        rest = b""
    return False


def _steps(decoder: "zlib._Decompress", data: bytes) -> Iterator[bytes]:
    """Yield all that `data` decodes to, up to the end of the stream."""
    part = b""
    # A full step may have left output inside the decoder even when all input is taken.
    while (data or len(part) == STEP) and not decoder.eof:
        part = decoder.decompress(data, STEP)
        yield part
        data = decoder.unconsumed_tail


def _window_bits(first: bytes) -> int:
    """Return the argument of `zlib.decompressobj` for a stream that has zlib's header, or for raw deflate."""
    is_zlib = first[0] & 0x0F == 8 and (first[0] << 8 | first[1]) % 31 == 0
    return 15 if is_zlib else -15
