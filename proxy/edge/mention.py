"""Does a search mention the retriever? Decided on decoded bytes, without parsing them.

Only a mention is looked for: the application decides whether it is a retriever. The other way round nothing
may be missed, so JSON escapes count, which Elasticsearch sees through; compression is undone by then.
"""

import re
from enum import Enum
from urllib.parse import unquote_to_bytes

from proxy.edge.retriever_names import LONGEST_MATCH, odd_names

WORD = b"text_similarity_reranker"

_ESCAPED_WORD = re.compile(
    b"".join(b"(?:%c|\\\\u00(?i:%02x))" % (character, character) for character in WORD)
)
_RETRIEVER = b'"retriever'
_FUSIONS = (b'"rrf"', b'"linear"', b'"pinned"')
_ID = b'"id"'
_KEPT = max(6 * len(WORD), LONGEST_MATCH)
"""Bytes that are kept from one search to the next: a match may begin in them."""
_SEARCH_BYTES = 4096
"""Pieces are put together to so much before they are searched: a body may come byte by byte."""


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
    """

    __slots__ = (
        "_has_fusion",
        "_has_id",
        "_has_odd_name",
        "_has_retriever",
        "_is_template",
        "_mentioned",
        "_text",
    )

    def __init__(self, *, is_template: bool = False) -> None:
        self._is_template = is_template
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
        text = self._text
        self._mentioned = self._mentioned or mentions(text)
        self._has_retriever = self._has_retriever or _RETRIEVER in text
        self._has_fusion = self._has_fusion or any(word in text for word in _FUSIONS)
        self._has_id = self._has_id or (self._is_template and _ID in text)
        self._has_odd_name = self._has_odd_name or bool(odd_names(text))
        del text[:-_KEPT]


def find_in_query(query: bytes) -> bool:
    """Look for the word in a raw query string, whose `source` may be a body (`RestRequest`)."""
    if b"%" in query:
        query = unquote_to_bytes(query)
    return mentions(query)


def mentions(text: bytes | bytearray) -> bool:
    """Look for the word, with and without JSON escapes."""
    return WORD in text or (b"\\u00" in text and _ESCAPED_WORD.search(text) is not None)
