"""Undoing the codings that Elasticsearch undoes, in pieces: a body is never decoded as a whole here.

What Netty makes of them counts (``HttpContentDecompressor``, ``JdkZlibDecoder``): a gzip member may follow
another, for example.
"""

import zlib
from collections.abc import Generator, Iterable, Iterator
from typing import Final

from rerank_proxy.http import snappy

STEP: Final = 64 * 1024
"""Bytes decoded at once."""
SNAPPY: Final = b"snappy"

_GZIP: Final = (b"gzip", b"x-gzip")
_DEFLATE: Final = (b"deflate", b"x-deflate")
_GZIP_BITS: Final = 31
_GZIP_HEADER: Final = 10
"""Netty takes a gzip member up with so many bytes; fewer at the end are not looked at."""
_FIRST_STEP: Final = 512
"""Of a member, doubled from step to step: what is left of the last one is copied, and members may be tiny."""


class CodingError(ValueError):
    """A body is not of the coding that it is said to be. The message says in a few words why not."""


class EndsTooEarlyError(CodingError):
    """All is right, but for what is missing at the end. To Elasticsearch that is no fault of a request."""


def is_compressed(coding: bytes) -> bool:
    """True for a `Content-Encoding` that Elasticsearch decodes; bodies of others it parses as they are.

    Args:
        coding: In lower case.
    """
    return coding in _GZIP or coding in _DEFLATE or coding == SNAPPY


def decompress(content: Iterable[bytes], coding: bytes) -> Iterator[bytes]:
    """Decode what `is_compressed`, up to its end or as far as it goes.

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
    """One member, or several. Returns whether the last one is complete."""
    decoder = zlib.decompressobj(_GZIP_BITS)
    rest = b""
    step = _FIRST_STEP
    is_complete = False
    for piece in content:
        rest += piece
        at = 0
        while at < len(rest) and not (step == _FIRST_STEP and len(rest) - at < _GZIP_HEADER):
            part = rest[at : at + step]
            yield from _steps(decoder, part)
            at += len(part) - len(decoder.unused_data)
            step = min(2 * step, STEP)
            is_complete = decoder.eof
            if is_complete:
                decoder = zlib.decompressobj(_GZIP_BITS)
                step = _FIRST_STEP
        rest = rest[at:]
    return is_complete


def _deflate(content: Iterable[bytes]) -> Generator[bytes, None, bool]:
    """With or without the header of zlib, which its first two bytes tell; what follows its end is ignored.
    Returns whether it comes to that.
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
    """All that `data` decodes to, up to the end of the stream."""
    part = b""
    # A full step may have left output inside the decoder even when all input is taken.
    while (data or len(part) == STEP) and not decoder.eof:
        part = decoder.decompress(data, STEP)
        yield part
        data = decoder.unconsumed_tail


def _window_bits(first: bytes) -> int:
    """For `zlib.decompressobj`: zlib's header is there, or it is raw deflate."""
    is_zlib = first[0] & 0x0F == 8 and (first[0] << 8 | first[1]) % 31 == 0
    return 15 if is_zlib else -15
