"""Detection: does a search name the retriever? Decided on decoded bytes, without parsing them.

Only the name is searched for: the application decides whether it is a retriever. The other way round nothing
may be missed, so every spelling counts that Elasticsearch reads as the name: UTF-16 and UTF-32, escapes of
JSON and YAML, strings of CBOR in chunks. Compression is undone before. (`rfind` takes half the time of
`find`, which takes half that of `in`.)
"""

import re
from collections.abc import Callable
from enum import Enum
from functools import partial
from typing import Final
from urllib.parse import unquote_to_bytes

WORD: Final = b"text_similarity_reranker"
KNOWN_RETRIEVERS: Final = (
    "diversify",
    "knn",
    "linear",
    "pinned",
    "random_reranker",
    "rescorer",
    "rrf",
    "rule",
    "standard",
    "text_similarity_reranker",
)
"""The retrievers of a complete Elasticsearch."""

_RETRIEVER: Final = b"retriever"
_FUSIONS: Final = (b"rrf", b"linear", b"pinned")
_ID: Final = b"id"
_LONGEST_ESCAPE: Final = len(rb"\U00000074")
_LONGEST_CHARACTER: Final = 4
"""Bytes, in UTF-32."""
_KEPT: Final = 2 * len(WORD) * _LONGEST_ESCAPE * _LONGEST_CHARACTER
"""Bytes that are kept from one search to the next: a spelling may begin in them."""
_SEARCH_BYTES: Final = 8 * 1024
"""Pieces are joined up to this size before they are searched: a body may come byte by byte."""

_has_escapes: Final = re.compile(rb"\\(?:u00|x|U0)").search
_join: Final = re.compile(rb"\\(?:\r\n|[\r\n]|\xc2\x85|\xe2\x80[\xa8\xa9])[ \t]*+")
"""What YAML removes from a quoted text that is continued in the next line."""
_chunked: Final = re.compile(rb"\x7f[\x60-\x7b]|\x5f[\x40-\x5b]")
"""The beginning of a text, or of bytes, in chunks."""
_unknown: Final = re.compile(
    rb'"retriever"\s{0,99}:\s{0,99}\{\s{0,99}"(?!(?:%b)")([A-Za-z0-9_.-]{1,64})"'
    % "|".join(KNOWN_RETRIEVERS).encode()
)


def _pattern(word: bytes) -> re.Pattern[bytes]:
    """Return a pattern for a word of which any character may be escaped as in JSON or YAML."""
    spellings = (rb"(?:%c|\\(?:x|u00|U000000)(?i:%02x))" % (character, character) for character in word)
    return re.compile(b"".join(spellings) + (rb"(?![A-Za-z0-9_])" if word in _FUSIONS else b""))


_PATTERNS: Final = {word: _pattern(word) for word in (WORD, _RETRIEVER, *_FUSIONS, _ID)}


class Detection(Enum):
    """A decision whether the application has to be asked."""

    FOUND = "the name of the reranker is in the body"
    ABSENT = "upstream can answer the request by itself"
    POSSIBLE = "the application has to decide"
    """For retrievers that are evaluated here where upstream does not do it, unknown names of retrievers,
    and stored templates. If the application is down, such a request goes upstream.
    """


class Scanner:
    """Searches the decoded content of a body that comes in pieces, and keeps little of it.

    Args:
        is_template: A template that is named by its id may hold anything.
        is_cbor: Its strings may come in chunks.
    """

    _found = _has_retriever = _has_fusion = _has_id = _has_unknown = False

    def __init__(self, *, is_template: bool = False, is_cbor: bool = False) -> None:
        self._is_template = is_template
        self._is_cbor = is_cbor
        self._text = bytearray()

    def feed(self, piece: bytes) -> None:
        """Take the next piece."""
        if self._found:
            return
        self._text += piece
        if len(self._text) >= _SEARCH_BYTES:
            self._search()

    @property
    def result(self) -> Detection:
        """Return what was detected, after the last piece."""
        if not self._is_harmless():
            self._search(is_last=True)
        if self._found:
            return Detection.FOUND
        possible = self._has_id or self._has_unknown or (self._has_retriever and self._has_fusion)
        return Detection.POSSIBLE if possible else Detection.ABSENT

    def _is_harmless(self) -> bool:
        """Return whether what is left to search is plain text without a word that matters.

        So it is with nearly all searches, which need no closer look.
        """
        looks_closer = self._has_retriever or self._is_template or self._is_cbor
        return not looks_closer and is_harmless(self._text, 0, len(self._text))

    def _search(self, *, is_last: bool = False) -> None:
        if self._text.rfind(b"\\") >= 0:
            self._text = bytearray(_join.sub(_joined, self._text))
        text = _without_zeros(self._text)
        holds = _finder(text)
        self._found = self._found or holds(WORD) or (self._is_cbor and _has_word_in_chunks(self._text))
        self._has_retriever = self._has_retriever or holds(_RETRIEVER)
        if self._has_retriever or not is_last:  # a fusion matters beside a retriever alone
            self._has_fusion = self._has_fusion or any(map(holds, _FUSIONS))
            self._has_unknown = self._has_unknown or bool(unknown_retrievers(text))
        self._has_id = self._has_id or (self._is_template and holds(_ID))
        del self._text[:-_KEPT]


def is_harmless(text: bytes | bytearray, start: int, end: int) -> bool:
    """Return whether a part of a text is plain and holds no word that matters.

    No spelling of such a word is without one of these: the word itself, a backslash, or a zero of UTF-16 and
    UTF-32. Only templates and CBOR have further ones.
    """
    return (
        text.rfind(_RETRIEVER, start, end) < 0
        and text.rfind(WORD, start, end) < 0
        and text.rfind(b"\\", start, end) < 0
        and text.rfind(b"\0", start, end) < 0
    )


def find_in_query(query: bytes) -> bool:
    """Search a raw query string, whose `source` may be a body (`RestRequest`), for the name."""
    if b"%" in query:
        query = unquote_to_bytes(query)
    return _finder(_without_zeros(_join.sub(b"", query)))(WORD)


def unknown_retrievers(text: bytes | bytearray) -> frozenset[str]:
    """Return names in the place of a retriever's that no Elasticsearch knows: they may be misspelt.

    Only the plain spelling is searched for: what is missed gets an answer without a suggestion.
    """
    if text.rfind(b'"retriever"') < 0:
        return frozenset()
    return frozenset(name.decode() for name in _unknown.findall(text))


def _finder(text: bytes | bytearray) -> Callable[[bytes], bool]:
    """Return a function that searches `text` for a word, with and without escapes."""
    has_escapes = text.rfind(b"\\") >= 0 and _has_escapes(text)
    return partial(_matches if has_escapes else _holds, text)


def _holds(text: bytes | bytearray, word: bytes) -> bool:
    return text.rfind(word) >= 0 and _matches(text, word)


def _matches(text: bytes | bytearray, word: bytes) -> bool:
    return _PATTERNS[word].search(text) is not None


def _without_zeros(text: bytes | bytearray) -> bytes | bytearray:
    """Return the ASCII characters of a text in UTF-8, if it is in UTF-16 or UTF-32: these have zeros beside
    each.
    """
    return text if text.rfind(b"\0") < 0 else text.replace(b"\0", b"")


def _joined(join: re.Match[bytes]) -> bytes:
    """Return what is left of a join: at the end of a piece its beginning, because white space may follow."""
    return join[0].rstrip(b" \t") if join.end() == len(join.string) else b""


def _has_word_in_chunks(text: bytes | bytearray) -> bool:
    return any(_spells_word(text, start.start()) for start in _chunked.finditer(text))


def _spells_word(text: bytes | bytearray, start: int) -> bool:
    """Return whether a CBOR string in chunks begins with the word, or has very many chunks: those are for the
    application to read.
    """
    base = text[start] & 0xE0  # of the heads of its chunks
    letters, at = 0, start + 1
    while letters < len(WORD):
        if at - start > _KEPT:
            return True
        if at >= len(text) or not 0 <= (info := text[at] - base) < 28:
            return False
        width = 1 << (info - 24) if info >= 24 else 0
        size = int.from_bytes(text[at + 1 : at + 1 + width], "big") if width else info
        at += 1 + width
        part = bytes(text[at : at + min(size, len(WORD))])
        if len(part) < size or not WORD.startswith(part, letters):
            return False
        letters, at = letters + size, at + size
    return True
