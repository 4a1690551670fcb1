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


def encode(body: bytes, accept_encoding: str | None) -> tuple[bytes, str | None]:
    """Compress an answer when the client takes it: the first of gzip and deflate that it names.

    Like Elasticsearch, which compresses answers of any size at level 3.
    """
    for part in (accept_encoding or "").lower().split(","):
        coding, _, parameters = part.strip().partition(";")
        bits = _WINDOW_BITS.get(coding)
        if bits is None or parameters.replace(" ", "") in ("q=0", "q=0.0"):
            continue
        encoder = zlib.compressobj(3, zlib.DEFLATED, bits)
        return encoder.compress(body) + encoder.flush(), coding
    return body, None
