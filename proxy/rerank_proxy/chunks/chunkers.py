"""Elasticsearch's chunkers: cut a text by each of the strategies."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

from rerank_proxy.chunks.separators import split_offsets
from rerank_proxy.chunks.settings import (
    ChunkingSettings,
    NoneChunkingSettings,
    SentenceBoundaryChunkingSettings,
    WordBoundaryChunkingSettings,
)
from rerank_proxy.chunks.words import Words, sentence_ends
from rerank_proxy.concurrency.steps import Steps

Span = tuple[int, int]
"""The offset of a chunk's first character, and the offset behind its last."""


class Chunks(NamedTuple):
    """Chunks of several texts.

    Attributes:
        spans: Those of each text.
        texts: All of them, one after the other.
    """

    spans: Sequence[Sequence[Span]]
    texts: Sequence[str]


def chunk(words: Words, settings: ChunkingSettings) -> Steps[list[Span]]:
    """Return the chunks of a text, at least one, in text order."""
    if isinstance(settings, NoneChunkingSettings):
        return [(0, len(words.text))]
    if isinstance(settings, WordBoundaryChunkingSettings):
        parts = yield from by_words(words, settings.max_chunk_size, settings.overlap)
        return [part.span for part in parts]
    if isinstance(settings, SentenceBoundaryChunkingSettings):
        overlap = settings.sentence_overlap > 0
        return (yield from by_sentences(words, settings.max_chunk_size, overlap=overlap))
    return (yield from by_separators(words, settings.max_chunk_size, settings.separators))


class Part(NamedTuple):
    """A part of a text and how many words it has."""

    span: Span
    words: int


def by_words(words: Words, size: int, overlap: int) -> Steps[list[Part]]:
    """Cut at words (``WordBoundaryChunker``): a chunk ends with its last word, the next begins behind it.

    What follows the last word of the text is part of a chunk only if that chunk is not full.
    """
    ends = words.word_ends
    step = size - overlap
    parts: list[Part] = []
    first = 0  # index of the chunk's first word
    while first + size <= len(ends):
        parts.append(Part((ends[first - 1] if first else 0, ends[first + size - 1]), size))
        first += step
        yield
    rest = len(ends) - first
    if rest > overlap or not parts:
        parts.append(Part((ends[first - 1] if first else 0, len(words.text)), rest))
    return parts


def by_sentences(words: Words, size: int, *, overlap: bool) -> Steps[list[Span]]:
    """Cut at sentences (``SentenceBoundaryChunker``): as many as have at most `size` words."""
    packing = _SentencePacking(words, size, overlap=overlap)
    start = 0
    for end in sentence_ends(words.text):
        yield from packing.add(start, end)
        start = end
        yield
    return packing.finish()


class _SentencePacking:
    """The chunk that is being filled with sentences, and those before it."""

    def __init__(self, words: Words, size: int, *, overlap: bool) -> None:
        self.words = words
        self.size = size
        self.overlap = overlap
        self.chunks: list[Span] = []
        self.start = 0
        self.end = 0
        self.count = 0
        self.previous = Part((0, 0), 0)

    def add(self, start: int, end: int) -> Steps[None]:
        sentence = Part((start, end), self.words.count(start, end))
        if self.count + sentence.words <= self.size:
            self.count += sentence.words
        else:
            self._begin_with(sentence)
            if self.count > self.size:
                yield from self._split(end)
        self.previous = sentence
        self.end = end

    def finish(self) -> list[Span]:
        if self.count > 0 or not self.chunks:
            self.chunks.append((self.start, len(self.words.text)))
        return self.chunks

    def _begin_with(self, sentence: Part) -> None:
        """Close the chunk, if it has words, and begin the next with `sentence` and its overlap."""
        if self.count == 0:
            self.count = sentence.words  # blank so far: it stays at the front of this sentence
            return
        self.chunks.append((self.start, self.end))
        self.start, self.count = self.end, sentence.words
        if self.overlap:
            self._repeat_previous(sentence)

    def _repeat_previous(self, sentence: Part) -> None:
        """Begin with the sentence before, or with its last words if both together are too long."""
        previous = self.previous
        self.start = previous.span[0]
        repeated = previous.words
        if previous.words + sentence.words > self.size:
            repeated = min(previous.words, self.size // 2, 20)
            self.start = self.words.skip(previous.span[0], previous.words - repeated)
        self.count = repeated + sentence.words

    def _split(self, end: int) -> Steps[None]:
        """Cut a sentence that is too long at words; its last part stays open."""
        sentence = yield from self.words.part(self.start, end)
        *full, last = yield from by_words(sentence, self.size, overlap=min(20, (self.size - 1) // 2))
        self.chunks += [(self.start + part.span[0], self.start + part.span[1]) for part in full]
        self.start += last.span[0]
        self.count = last.words


def by_separators(words: Words, size: int, separators: Sequence[str]) -> Steps[list[Span]]:
    """Cut at a separator, what is too long at the next, and then at sentences (``RecursiveChunker``)."""
    end = len(words.text)
    parts = [Part((0, end), words.count(0, end))]
    for separator in separators:
        pieces: list[Part] = []
        for part in parts:
            pieces += (yield from _split_at(words, part, size, separator)) if part.words > size else [part]
            yield
        parts = pieces
    spans: list[Span] = []
    for part in parts:
        spans += (yield from _sentences_of(words, part, size)) if part.words > size else [part.span]
    return spans


def _split_at(words: Words, part: Part, size: int, separator: str) -> Steps[list[Part]]:
    start, end = part.span
    offsets = yield from split_offsets(words.text[start:end], separator)
    parts: list[Part] = []
    for a, b in pairwise([start, *(start + offset for offset in offsets), end]):
        if a < b:
            _add(parts, Part((a, b), words.count(a, b)), size)
            yield
    return parts


def _add(parts: list[Part], part: Part, size: int) -> None:
    """Add a part, to the one before if both have at most `size` words."""
    if parts and parts[-1].words + part.words <= size:
        before = parts.pop()
        part = Part((before.span[0], part.span[1]), before.words + part.words)
    parts.append(part)


def _sentences_of(words: Words, part: Part, size: int) -> Steps[list[Span]]:
    offset, _ = part.span
    own = yield from words.part(*part.span)
    spans = yield from by_sentences(own, size, overlap=False)
    return [(offset + start, offset + end) for start, end in spans]
