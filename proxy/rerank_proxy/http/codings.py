"""Content codings of bodies on the wire."""

import zlib

from rerank_proxy.errors import ElasticsearchError, error
from rerank_proxy.http.inflate import CodingError, EndsTooEarlyError, decompress, is_compressed
from rerank_proxy.http.recoding import LEVEL, WINDOW_BITS


def decode(body: bytes, coding: str | None, limit: int, *, of_request: bool = True) -> bytes:
    """Undo `Content-Encoding` as Elasticsearch does, which ignores codings that it does not know.

    Args:
        of_request: Return what could be decoded of a body that ends too early, as for requests.

    Raises:
        ElasticsearchError: 413 beyond `limit` decoded bytes, 400 for a corrupt body.
    """
    name = (coding or "").strip().lower().encode("ascii", "replace")
    if not is_compressed(name):
        return body
    decoded = bytearray()
    try:
        for piece in decompress([body], name):
            decoded += piece
            if len(decoded) > limit:
                reason = f"the decoded body is larger than [{limit}] bytes"
                raise error(413, "content_too_long_exception", reason)
    except CodingError as failure:
        if not (of_request and isinstance(failure, EndsTooEarlyError)):
            raise undecodable(name, failure) from None
    return bytes(decoded)


def undecodable(coding: bytes, fault: CodingError) -> ElasticsearchError:
    """Return the error for a request whose body does not have the coding that it claims."""
    reason = f"the [{coding.decode('latin-1')}] body cannot be decoded: {fault}"
    return error(400, "zip_exception", reason)


def choose(accept_encoding: str) -> str | None:
    """Choose the coding of an answer (``HttpContentCompressor#determineEncoding``): of gzip and deflate the
    one that the client prefers, or gzip; None if it accepts neither.
    """
    wanted = {"gzip": 0.0, "deflate": 0.0}
    for part in accept_encoding.split(","):
        for coding, most in wanted.items():
            if coding in part:
                wanted[coding] = max(most, _quality(part))
                break
    best = "gzip" if wanted["gzip"] >= wanted["deflate"] else "deflate"
    return best if wanted[best] > 0 else None


def _quality(part: str) -> float:
    _, equals, value = part.partition("=")
    try:
        return float(value) if equals else 1.0
    except ValueError:
        return 0.0


def encode(body: bytes, coding: str) -> bytes:
    """Compress an answer of any size, at Elasticsearch's level."""
    encoder = zlib.compressobj(LEVEL, zlib.DEFLATED, WINDOW_BITS[coding])
    return encoder.compress(body) + encoder.flush()
