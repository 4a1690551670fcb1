"""Does a search mention the retriever? Decided on decoded bytes, without parsing them.

Only a mention is looked for: the application decides whether it is a retriever. The other way round nothing
may be missed, so the two disguises that Elasticsearch sees through count: compression and JSON escapes.
"""

import re
import zlib
from collections.abc import Iterable, Iterator
from enum import Enum
from urllib.parse import unquote_to_bytes

WORD = b"text_similarity_reranker"

_ESCAPED_WORD = re.compile(
    b"".join(b"(?:%c|\\\\u00(?i:%02x))" % (character, character) for character in WORD)
)
_RETRIEVER = b'"retriever'
_FUSIONS = (b'"rrf"', b'"linear"', b'"pinned"')
_ID = b'"id"'
_LONGEST_SPELLING = 6 * len(WORD)
_STEP = 256 * 1024
"""Bytes decompressed at once."""


class Mention(Enum):
    YES = "yes"
    NO = "no"
    PERHAPS = "perhaps"
    """Not the reranker itself, but what the application has to look at: retrievers that it evaluates where
    upstream does not know them, and stored templates. Upstream may be asked where the application is down.
    """
    UNKNOWN = "unknown"
    """More decoded bytes than were to be looked at."""


class _DecodedTooLongError(Exception):
    pass


def find_in_body(
    content: Iterable[bytes], coding: bytes, limit: int, *, is_template: bool = False
) -> Mention:
    """Look for the word in the content of a body.

    Args:
        content: The body's pieces without chunk framing, in order.
        coding: Its `Content-Encoding` in lower case. Codings that Elasticsearch does not decode are looked at
            as they are, like Elasticsearch parses them as they are.
        is_template: A template that is named by its id may hold anything.
        limit: Decoded bytes to look at, against decompression bombs. An uncompressed body has no limit.
    """
    if coding in (b"gzip", b"x-gzip", b"deflate", b"x-deflate"):
        content = _decompress(content, limit)
    tail = b""
    has_retriever = has_fusion = has_id = False
    try:
        for piece in content:
            seam = tail + piece[:_LONGEST_SPELLING] if tail else b""
            if mentions(piece) or (seam and mentions(seam)):
                return Mention.YES
            has_retriever = has_retriever or _RETRIEVER in piece or _RETRIEVER in seam
            has_fusion = has_fusion or any(word in piece or word in seam for word in _FUSIONS)
            has_id = has_id or (is_template and (_ID in piece or _ID in seam))
            tail = (tail + piece[-_LONGEST_SPELLING:])[-_LONGEST_SPELLING:]
    except _DecodedTooLongError:
        return Mention.UNKNOWN
    return Mention.PERHAPS if has_id or (has_retriever and has_fusion) else Mention.NO


def find_in_query(query: bytes) -> bool:
    """Look for the word in a raw query string, whose `source` may be a body (`RestRequest`)."""
    if b"%" in query:
        query = unquote_to_bytes(query)
    return mentions(query)


def mentions(text: bytes) -> bool:
    """Look for the word, with and without JSON escapes."""
    return WORD in text or (b"\\u00" in text and _ESCAPED_WORD.search(text) is not None)


def _decompress(content: Iterable[bytes], limit: int) -> Iterator[bytes]:
    """Decode gzip or zlib up to its end, or to the first fault: what Elasticsearch could have read."""
    decoder = None
    decoded = 0
    for piece in content:
        if not piece:
            continue
        if decoder is None:
            decoder = zlib.decompressobj(_window_bits(piece))
        rest = piece
        part = b""
        # A full step may have left output inside the decoder even when all input is taken.
        while rest or len(part) == _STEP:
            try:
                part = decoder.decompress(rest, _STEP)
            except zlib.error:
                return
            yield part
            decoded += len(part)
            if decoded > limit:
                raise _DecodedTooLongError
            if decoder.eof:
                return
            rest = decoder.unconsumed_tail


def _window_bits(first: bytes) -> int:
    """For `zlib.decompressobj`: gzip, zlib or, without the header of either, raw deflate, like Netty."""
    if first[:1] == b"\x1f":
        return 31
    is_zlib = first[0] & 0x0F == 8 and (len(first) < 2 or (first[0] << 8 | first[1]) % 31 == 0)
    return 15 if is_zlib else -15
