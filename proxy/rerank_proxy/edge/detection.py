"""Does a search mention the retriever? Decided on decoded bytes, without parsing them.

Only a mention is looked for: the application decides whether it is a retriever. The other way round nothing
may be missed, so every spelling counts that Elasticsearch sees through: UTF-16 and UTF-32, escapes of JSON
and YAML, CBOR's strings in chunks. Compression is undone by then.
"""

import re
from enum import Enum
from typing import Final
from urllib.parse import unquote_to_bytes

from rerank_proxy.edge.retriever_names import odd_names

WORD: Final = b"text_similarity_reranker"

_RETRIEVER: Final = b"retriever"
_FUSIONS: Final = (b"rrf", b"linear", b"pinned")
_ID: Final = b"id"
_LONGEST_ESCAPE: Final = len(rb"\U00000074")
_LONGEST_CHARACTER: Final = 4
"""Bytes, in UTF-32."""
_KEPT: Final = 2 * len(WORD) * _LONGEST_ESCAPE * _LONGEST_CHARACTER
"""Bytes that are kept from one search to the next: a spelling may begin in them."""
_SEARCH_BYTES: Final = 8 * 1024
"""Pieces are put together to so much before they are searched: a body may come byte by byte."""

_has_escapes: Final = re.compile(rb"\\(?:u00|x|U0)").search
_join: Final = re.compile(rb"\\(?:\r\n|[\r\n]|\xc2\x85|\xe2\x80[\xa8\xa9])[ \t]*+")
"""What YAML takes out of a quoted text, which may go on in the next line."""
_chunked: Final = re.compile(rb"\x7f[\x60-\x7b]|\x5f[\x40-\x5b]")
"""The beginning of a text, or of bytes, in chunks."""


def _pattern(word: bytes) -> re.Pattern[bytes]:
    """Each character of a word as it is or in an escape of JSON or YAML."""
    spellings = (rb"(?:%c|\\(?:x|u00|U000000)(?i:%02x))" % (character, character) for character in word)
    return re.compile(b"".join(spellings) + (rb"(?![A-Za-z0-9_])" if word in _FUSIONS else b""))


_PATTERNS: Final = {word: _pattern(word) for word in (WORD, _RETRIEVER, *_FUSIONS, _ID)}


class Mention(Enum):
    YES = "yes"
    NO = "no"
    PERHAPS = "perhaps"
    """Not the reranker itself, but what the application has to look at: retrievers that it evaluates where
    upstream does not know them, names that are none, and stored templates. Upstream may be asked where the
    application is down.
    """


class Scanner:
    """Looks for the word in the decoded content of a body that comes in pieces, and keeps little of it.

    Args:
        is_template: A template that is named by its id may hold anything.
        is_cbor: Its strings may come in chunks.
    """

    __slots__ = (
        "_has_fusion",
        "_has_id",
        "_has_odd_name",
        "_has_retriever",
        "_is_cbor",
        "_is_template",
        "_mentioned",
        "_text",
    )

    def __init__(self, *, is_template: bool = False, is_cbor: bool = False) -> None:
        self._is_template = is_template
        self._is_cbor = is_cbor
        self._text = bytearray()
        self._mentioned = self._has_retriever = self._has_fusion = self._has_id = False
        self._has_odd_name = False

    def feed(self, piece: bytes) -> None:
        if self._mentioned:
            return
        self._text += piece
        if len(self._text) >= _SEARCH_BYTES:
            self._search()

    @property
    def mention(self) -> Mention:
        """What the pieces so far say: YES, NO or PERHAPS."""
        self._search()
        if self._mentioned:
            return Mention.YES
        perhaps = self._has_id or self._has_odd_name or (self._has_retriever and self._has_fusion)
        return Mention.PERHAPS if perhaps else Mention.NO

    def _search(self) -> None:
        if b"\\" in self._text:
            self._text = bytearray(_join.sub(_joined, self._text))
        text = _without_zeros(self._text)
        self._mentioned = (
            self._mentioned or _holds(text, WORD) or (self._is_cbor and _has_word_in_chunks(self._text))
        )
        self._has_retriever = self._has_retriever or _holds(text, _RETRIEVER)
        self._has_fusion = self._has_fusion or any(_holds(text, word) for word in _FUSIONS)
        self._has_id = self._has_id or (self._is_template and _holds(text, _ID))
        self._has_odd_name = self._has_odd_name or bool(odd_names(text))
        del self._text[:-_KEPT]


def find_in_query(query: bytes) -> bool:
    """Look for the word in a raw query string, whose `source` may be a body (`RestRequest`)."""
    if b"%" in query:
        query = unquote_to_bytes(query)
    return _holds(_without_zeros(_join.sub(b"", query)), WORD)


def _without_zeros(text: bytes | bytearray) -> bytes | bytearray:
    """The same in UTF-8, as far as it is ASCII: UTF-16 and UTF-32 have zeros beside each character of it."""
    return text.replace(b"\0", b"") if b"\0" in text else text


def _holds(text: bytes | bytearray, word: bytes) -> bool:
    """Look for a word, with and without escapes."""
    may = word in text or _has_escapes(text) is not None
    return may and _PATTERNS[word].search(text) is not None


def _joined(join: re.Match[bytes]) -> bytes:
    """What stays of a join: at the end of a piece its beginning, for white space that may follow."""
    return join[0].rstrip(b" \t") if join.end() == len(join.string) else b""


def _has_word_in_chunks(text: bytes | bytearray) -> bool:
    return any(_spells_word(text, start.start()) for start in _chunked.finditer(text))


def _spells_word(text: bytes | bytearray, start: int) -> bool:
    """Whether a CBOR string in chunks begins with the word; of very many chunks the application finds out."""
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
