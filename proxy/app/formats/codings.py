"""Content codings of bodies on the wire."""

import zlib
from typing import Final

from proxy.errors import error

_GZIP: Final = 16 + zlib.MAX_WBITS
_ZLIB: Final = zlib.MAX_WBITS
_RAW_DEFLATE: Final = -zlib.MAX_WBITS
_WINDOW_BITS: Final = {"gzip": _GZIP, "x-gzip": _GZIP, "deflate": _ZLIB, "x-deflate": _ZLIB}


def decode(body: bytes, coding: str | None, limit: int) -> bytes:
    """Undo `Content-Encoding` as Elasticsearch does: gzip, and deflate with or without the header of zlib;
    any other coding is left as it is.

    Raises:
        ElasticsearchError: 413 beyond `limit` decoded bytes, 400 for a corrupt body.
    """
    bits = _WINDOW_BITS.get((coding or "").strip().lower())
    if bits is None:
        return body
    if bits == _ZLIB and not _has_zlib_header(body):
        bits = _RAW_DEFLATE
    decoder = zlib.decompressobj(bits)
    try:
        decoded = decoder.decompress(body, limit + 1)
    except zlib.error as failure:
        raise error(400, "zip_exception", f"the [{coding}] body cannot be decoded: {failure}") from None
    if len(decoded) > limit:
        raise error(413, "content_too_long_exception", f"the decoded body is larger than [{limit}] bytes")
    if not decoder.eof:
        raise error(400, "zip_exception", f"the [{coding}] body ends too early")
    return decoded


def _has_zlib_header(body: bytes) -> bool:
    """RFC 1950, 2.2."""
    return len(body) >= 2 and body[0] & 0x0F == 8 and (body[0] << 8 | body[1]) % 31 == 0


def choose(accept_encoding: str | None) -> str | None:
    """The coding of an answer: the first of gzip and deflate that the client names; None for none."""
    for part in (accept_encoding or "").lower().split(","):
        coding, _, parameters = part.strip().partition(";")
        if coding in _WINDOW_BITS and parameters.replace(" ", "") not in ("q=0", "q=0.0"):
            return coding
    return None


def encode(body: bytes, coding: str) -> bytes:
    """Compress an answer; like Elasticsearch, which does so at any size, at level 3."""
    encoder = zlib.compressobj(3, zlib.DEFLATED, _WINDOW_BITS[coding])
    return encoder.compress(body) + encoder.flush()
