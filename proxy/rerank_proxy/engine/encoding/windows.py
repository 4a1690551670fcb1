"""Texts that are too long, divided into windows of tokens. A text's score is made of those of its windows.

Windows are those of the tokenizers library (`return_overflowing_tokens` with a `stride`): each but the last
is full, and begins so many tokens before the end of the one before as they share. Each has the query, or the
prompt, and the special tokens. So they are what people give to sentence-transformers who divide texts by
hand.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import ceil
from typing import Final, Literal

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray

from rerank_proxy.engine.encoding.encode import Ids, Template, array_of
from rerank_proxy.engine.encoding.tokenizer import PlainTokenizer, View
from rerank_proxy.engine.encoding.truncate import balanced
from rerank_proxy.engine.rows import Output, Row

_NONE: Final[Ids] = np.empty(0, np.int32)

Reduction = Literal["max", "mean"]
"""How the score of a text is made of those of its windows."""


@dataclass(frozen=True, slots=True)
class Division:
    """How texts that are too long are divided."""

    overlap: int
    """Tokens that a window shares with the next, but at most half of its own."""
    most: int
    """Windows of one text. What is behind the last is cut."""

    def spans(self, tokens: int, room: int) -> list[tuple[int, int]]:
        """Return the start and the end of each window, for a text of so many tokens.

        Args:
            room: The most tokens of a window; 1 or more if the text has any.
        """
        if tokens <= room:
            return [(0, tokens)]
        step = self._step(room)
        last = min(ceil((tokens - room) / step), self.most - 1)
        return [(at * step, min(tokens, at * step + room)) for at in range(last + 1)]

    def capacity(self, room: int) -> int:
        """Return the most tokens of a text that is divided as a whole."""
        return (self.most - 1) * self._step(room) + room

    def _step(self, room: int) -> int:
        return room - min(self.overlap, room // 2)


class WindowPairEncoder:
    """A `PairEncoder` that divides the texts that are too long beside their query.

    A query is cut to half of the room if the text needs the other half, as by the rule `balanced`.
    """

    def __init__(
        self, tokenizer: PlainTokenizer, template: Template, max_length: int, division: Division
    ) -> None:
        self._tokenizer = tokenizer
        self._template = template
        self._budget = max_length - template.special_tokens
        self._division = division
        self.view = View(tokenizer, reach=lambda ids, room: division.spans(len(ids), room)[-1][1])

    def encode(self, query: str, texts: Sequence[str]) -> Iterator[list[Row]]:
        query_ids = _NONE
        for piece in self._tokenizer.ids([query], self._budget + 1):
            query_ids = array_of(piece[0]) if piece else query_ids
            yield []
        room = self._budget - min(len(query_ids), self._budget // 2)
        enough = max(self._budget, self._division.capacity(room)) + 1
        for piece in self._tokenizer.ids(texts, enough):
            yield [self._pair(query_ids, array_of(ids)) for ids in piece]

    def _pair(self, query: Ids, text: Ids) -> Row:
        kept, _ = balanced(len(query), len(text), self._budget)
        spans = self._division.spans(len(text), self._budget - kept)
        rows = [self._template.join(query[:kept], text[start:end], kept < len(query)) for start, end in spans]
        return divided(rows, cut=spans[-1][1] < len(text))


class WindowTextEncoder:
    """Encodes texts for a bi-encoder, each by itself, and divides those that are too long.

    Args:
        prompt: What all texts begin with; each window begins with its tokens. At most half of a row.
    """

    def __init__(
        self,
        tokenizer: PlainTokenizer,
        template: Template,
        max_length: int,
        division: Division,
        prompt: Sequence[int] = (),
    ) -> None:
        self._tokenizer = tokenizer
        self._template = template
        self._budget = max_length - template.special_tokens
        self._division = division
        self._prompt = np.array(prompt, np.int32)
        self.view = View(tokenizer, reach=self._reach)

    def encode(self, texts: Sequence[str]) -> Iterator[list[Row]]:
        """Yield one row per text, as `PairEncoder.encode` does."""
        enough = len(self._prompt) + self._division.capacity(self._budget) + 1
        for piece in self._tokenizer.ids(texts, enough):
            yield [self._row(array_of(ids)) for ids in piece]

    def _row(self, ids: Ids) -> Row:
        # The last tokens of a prompt may be others before a text than alone.
        shared = _common(self._prompt, ids)
        spans = self._division.spans(len(ids) - shared, self._budget - shared)
        windows = [np.concatenate([ids[:shared], ids[shared + start : shared + end]]) for start, end in spans]
        rows = [self._template.join(window, _NONE) for window in windows]
        return divided(rows, cut=shared + spans[-1][1] < len(ids))

    def _reach(self, ids: Sequence[int], first: int) -> int:
        shared = _common(self._prompt, np.array(ids))
        return shared + self._division.spans(len(ids) - shared, first - shared)[-1][1]


def divided(windows: Sequence[Row], *, cut: bool) -> Row:
    """Return the row of a text that has these windows.

    Args:
        cut: There are tokens behind the last window.
    """
    *others, last = windows
    first, *further = [*others, replace(last, truncated=last.truncated or cut)]
    return replace(first, further=tuple(further))


def reduced(scores: NDArray[np.float32], counts: Sequence[int], reduction: Reduction) -> NDArray[np.float32]:
    """Return one score per text.

    Args:
        scores: Of all windows, text by text; shape (windows,).
        counts: How many windows each text has, 1 or more.
    """
    if len(counts) == len(scores):
        return scores
    starts = np.cumsum([0, *counts[:-1]])
    if reduction == "max":
        largest: NDArray[np.float32] = np.maximum.reduceat(scores, starts)
        return largest
    sums = np.add.reduceat(scores.astype(np.float64), starts)
    means: NDArray[np.float32] = (sums / np.array(counts)).astype(np.float32)
    return means


def stacked(values: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the outputs of a text's windows as one, shape (windows, …).

    Those of a sparse encoder differ in length, and are filled up with zeros: terms of no weight.
    """
    longest = max(len(each) for each in values)
    whole = np.zeros((len(values), longest, *values[0].shape[1:]), np.float32)
    for window, each in zip(whole, values, strict=True):
        window[: len(each)] = each
    return whole


def by_window(outputs: Sequence[Output]) -> tuple[NDArray[np.float32], list[int]]:
    """Return the values of all windows, shape (windows, …), and how many of them each output has."""
    values = [output.values if output.values.ndim > 1 else output.values[None] for output in outputs]
    return np.concatenate(values), [len(each) for each in values]


def _common(one: Ids, other: Ids) -> int:
    """Return how many tokens two texts have in common at the beginning."""
    length = min(len(one), len(other))
    different = np.flatnonzero(one[:length] != other[:length])
    return int(different[0]) if len(different) else length


_KEY_BYTES: Final = 4


def window_key(text_key: bytes, number: int) -> bytes:
    """Return the key of a window: longer than that of any text."""
    return text_key + number.to_bytes(_KEY_BYTES, "big")
