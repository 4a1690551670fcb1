"""Words and sentences of a text as ICU's break iterators find them, in the root locale.

ICU itself does the work, its dictionaries for Chinese, Japanese, Thai, Lao, Khmer and Burmese included. Its
release may differ from the one in Elasticsearch, and with it the newest letters of Unicode and single words
of the dictionaries.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Sequence
from itertools import accumulate, compress
from typing import Self

import regex
from icu4py.breakers import SentenceBreaker, WordBreaker

from rerank_proxy.concurrency.steps import Steps, gather

_ROOT_LOCALE = ""
_MOST_PIECES = 100_000
# The pieces to which ICU's word iterator gives a status other than "none".
_is_word = regex.compile(
    r"(?V1)[\p{WB=ALetter}\p{WB=Hebrew_Letter}\p{WB=Numeric}\p{WB=Katakana}\p{Hiragana}"
    r"[\p{Ideographic}&&[\p{Lo}\p{Nl}]][\p{LB=SA}--\p{M}]]|\p{WB=ExtendNumLet}{2}"
).search
_ASCII_WORD = re.compile(r"[A-Za-z0-9]|__").search


def sentence_ends(text: str) -> Iterator[int]:
    """Yield the offset behind each sentence and the blanks that follow it."""
    return accumulate(map(len, SentenceBreaker(text, _ROOT_LOCALE)))


class WordStatus(dict[str, bool]):
    """Remembers which pieces are words. Texts of one request share it, so that each piece is decided once."""

    def __missing__(self, piece: str) -> bool:
        self[piece] = status = _counts(piece)
        return status

    def forget(self) -> None:
        """Forget all of them if they have become many."""
        if len(self) > _MOST_PIECES:
            self.clear()


class Words:
    """A text, split at ICU's word boundaries.

    Attributes:
        pieces: All of the text: words, blanks and punctuation.
        ends: The offset behind each piece.
        word_ends: The offset behind each piece that is a word.
    """

    def __init__(
        self, text: str, status: WordStatus, pieces: list[str], ends: list[int], word_ends: list[int]
    ) -> None:
        self.text = text
        self.status = status
        self.pieces = pieces
        self.ends = ends
        self.word_ends = word_ends

    @classmethod
    def read(cls, text: str, status: WordStatus | None = None) -> Steps[Self]:
        """Split a text into words."""
        status = WordStatus() if status is None else status
        pieces = yield from gather(WordBreaker(text, _ROOT_LOCALE))
        ends = yield from gather(accumulate(map(len, pieces)))
        word_ends = yield from gather(compress(ends, map(status.__getitem__, pieces)))
        return cls(text, status, pieces, ends, word_ends)

    def count(self, start: int, end: int) -> int:
        """Count the words from `start` to `end` as ``ChunkerUtils#countWords`` does.

        Its iterator begins at the boundary before `start`. If only one piece (a line break, say) lies between
        the last word before and `start`, that is where this word ends, and it is counted once more.
        """
        return bisect_right(self.word_ends, end) - bisect_left(self.word_ends, self._before(start))

    def skip(self, start: int, words: int) -> int:
        """Return the offset behind words and the piece after them (``SentenceBoundaryChunker#skipWords``).

        For 0 words it is the boundary before `start`.
        """
        before = self._before(start)
        if words == 0:
            return before
        last = bisect_left(self.word_ends, before) + words - 1
        if last >= len(self.word_ends):
            return len(self.text)
        following = bisect_right(self.ends, self.word_ends[last])
        return self.ends[following] if following < len(self.ends) else len(self.text)

    def part(self, start: int, end: int) -> "Steps[Words]":
        """Split a part of the text on its own."""
        return Words.read(self.text[start:end], self.status)

    def between(self, start: int, end: int) -> Sequence[str] | None:
        """Return the pieces of a part of the text; None if it begins or ends within one."""
        first, last = self._index(start), self._index(end)
        return self.pieces[first:last] if first is not None and last is not None else None

    def _before(self, start: int) -> int:
        """Return the boundary before `start` (``BreakIterator#preceding``); 0 if there is none."""
        index = bisect_left(self.ends, start)
        return self.ends[index - 1] if index else 0

    def _index(self, offset: int) -> int | None:
        """Return how many pieces there are before `offset`; None if it is within one."""
        if offset == 0:
            return 0
        index = bisect_left(self.ends, offset)
        return index + 1 if index < len(self.ends) and self.ends[index] == offset else None


def _counts(piece: str) -> bool:
    # Nearly all pieces are decided without the properties of Unicode.
    if piece.isascii():
        return piece.isalnum() or _ASCII_WORD(piece) is not None
    return (piece.isalpha() and piece[0] < "\u2e80") or _is_word(piece) is not None
