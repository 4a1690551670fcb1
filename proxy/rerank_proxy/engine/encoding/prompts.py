"""Prompts: what a model reads that takes query and text in the slots of a template.

A template is a sequence of segments, each of which is tokenised by itself, as the reference implementation of
the model does. What is cut of a prompt that is too long are tokens of query and text, never of the template.
"""

from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from rerank_proxy.engine.encoding.encode import array_of
from rerank_proxy.engine.encoding.tokenizer import PIECE_CHARACTERS, Tokenizer, View, portions
from rerank_proxy.engine.encoding.truncate import RULES, Truncation
from rerank_proxy.engine.errors import InputTooLargeError, NoInstructionError
from rerank_proxy.engine.rows import Row

if TYPE_CHECKING:  # The library is imported when a model is loaded.
    import tokenizers

MAX_INSTRUCTION: Final = 8192
"""Characters."""


class Slot(Enum):
    """A place in a template."""

    INSTRUCTION = "instruction"
    QUERY = "query"
    TEXT = "text"


Segment = tuple[str | Slot, ...]
"""What is tokenised together: literal text and slots."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A template."""

    plain: tuple[Segment, ...] | None
    """Without an instruction; None where there always is one."""
    instructed: tuple[Segment, ...] | None
    """With one; None where there is no place for one."""
    instruction: str | None = None
    """The one that applies where none other is given."""
    first_token: int | None = None
    """A token before all others."""
    strips: bool = False
    """White space around query, text and instruction is left out."""

    def segments(self, instruction: str | None) -> tuple[Segment, ...]:
        """Return the segments with an instruction in its slot.

        Raises:
            NoInstructionError: There is no place for one.
        """
        wanted = self.instruction if instruction is None else instruction
        if wanted is None:
            assert self.plain is not None  # or it has an instruction of its own
            return self.plain
        if self.instructed is None:
            raise NoInstructionError("the model's format of query and text has no place for an instruction")
        told = wanted.strip() if self.strips else wanted
        return tuple(_filled(segment, told) for segment in self.instructed)


def _filled(segment: Segment, instruction: str) -> Segment:
    return tuple(instruction if part is Slot.INSTRUCTION else part for part in segment)


class PromptEncoder:
    """A `PairEncoder` that puts query and text in the slots of a prompt.

    Args:
        tokenizer: A fast one.
        max_length: Tokens of the whole prompt.
        instruction: In place of the prompt's own; None: that one.

    Raises:
        NoInstructionError: The prompt has no place for one.
    """

    def __init__(
        self,
        tokenizer: Tokenizer,
        prompt: Prompt,
        max_length: int,
        truncation: Truncation,
        instruction: str | None = None,
    ) -> None:
        self._tokenizer = tokenizer
        self._fast: tokenizers.Tokenizer = tokenizer.transformers.backend_tokenizer
        self.view = View(tokenizer, strips=prompt.strips)
        self._prompt = prompt
        self._max_length = max_length
        self._truncation = truncation
        self._segments = prompt.segments(instruction)
        self._before = [] if prompt.first_token is None else [prompt.first_token]
        template = [_joined(segment, "", "") for segment in self._segments]
        self.template_tokens = len(self._before) + sum(map(len, self._ids(template)))

    def instructed(self, instruction: str) -> "PromptEncoder":
        """Return the same with another instruction.

        Raises:
            NoInstructionError: There is no place for one.
        """
        return PromptEncoder(self._tokenizer, self._prompt, self._max_length, self._truncation, instruction)

    def encode(self, query: str, texts: Sequence[str]) -> Iterator[list[Row]]:
        room = self._max_length - self.template_tokens
        if room < 0:
            raise InputTooLargeError(
                f"The instruction is too long: with the model's template it has {self.template_tokens} "
                f"tokens, and the model takes {self._max_length}"
            )
        query = yield from self._beginning_of(query, room)
        # One token more than the query can keep, so that a rule still sees which of the two is longer.
        heads = []
        for text in texts:
            heads.append((yield from self._beginning_of(text, room)))
            yield []
        known = self._known(query)
        for start, end in portions(heads, PIECE_CHARACTERS):
            yield self._rows(query, heads[start:end], known)

    def _beginning_of(self, text: str, room: int) -> Generator[list[Row], None, str]:
        if self._prompt.strips:
            text = text.strip()
        tries = self._tokenizer.beginning_of(text, room + 1)
        while True:
            try:
                next(tries)
            except StopIteration as end:
                head: str = end.value
                return head
            yield []

    def _known(self, query: str) -> list[list[int] | None]:
        """Return the ids of each segment that does not depend on the text; None for one that does."""
        fixed = [Slot.TEXT not in segment for segment in self._segments]
        joined = [_joined(segment, query, "") for segment in self._segments]
        ids = self._ids(joined)
        return [own if known else None for own, known in zip(ids, fixed, strict=True)]

    def _rows(self, query: str, texts: Sequence[str], known: Sequence[list[int] | None]) -> list[Row]:
        columns: list[Sequence[list[int]]] = [
            [ids] * len(texts)
            if ids is not None
            else self._ids([_joined(segment, query, text) for text in texts])
            for segment, ids in zip(self._segments, known, strict=True)
        ]
        rows = []
        for text, parts in zip(texts, zip(*columns, strict=True), strict=True):
            ids = [*self._before, *(token for part in parts for token in part)]
            cut = len(ids) > self._max_length
            rows.append(_row(self._cut(query, text) if cut else ids, cut))
        return rows

    def _cut(self, query: str, text: str) -> list[int]:
        """Return the ids of a prompt that is too long, without the last tokens of query and text."""
        ids, slots = list(self._before), [_TEMPLATE] * len(self._before)
        for segment in self._segments:
            encoding = self._fast.encode(_joined(segment, query, text), add_special_tokens=False)
            ids += encoding.ids
            slots += _slots(encoding.offsets, *_spans(segment, query, text))
        counts = [slots.count(slot) for slot in (_QUERY, _TEXT)]
        kept = RULES[self._truncation](counts[0], counts[1], self._max_length - slots.count(_TEMPLATE))
        left = {_TEMPLATE: len(ids), _QUERY: kept[0], _TEXT: kept[1]}
        short = []
        for token, slot in zip(ids, slots, strict=True):
            if left[slot] > 0:
                left[slot] -= 1
                short.append(token)
        return short

    def _ids(self, strings: Sequence[str]) -> list[list[int]]:
        encodings = self._fast.encode_batch_fast(list(strings), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]


_TEMPLATE, _QUERY, _TEXT = range(3)
"""Where a token of a prompt is from."""


def _slots(
    offsets: Sequence[tuple[int, int]], query: tuple[int, int] | None, text: tuple[int, int] | None
) -> list[int]:
    """Say where each token is from.

    One that begins before a slot and ends in it, as a space and the first word may be, belongs to the slot;
    one that ends behind it to the template.
    """

    def slot(end: int) -> int:
        if query is not None and query[0] < end <= query[1]:
            return _QUERY
        return _TEXT if text is not None and text[0] < end <= text[1] else _TEMPLATE

    return [slot(end) for _, end in offsets]


def _spans(segment: Segment, query: str, text: str) -> tuple[tuple[int, int] | None, tuple[int, int] | None]:
    """Return where query and text begin and end in a segment, in characters."""
    spans: dict[Slot, tuple[int, int]] = {}
    at = 0
    for part in segment:
        length = len(_value(part, query, text))
        if isinstance(part, Slot):
            spans[part] = (at, at + length)
        at += length
    return spans.get(Slot.QUERY), spans.get(Slot.TEXT)


def _joined(segment: Segment, query: str, text: str) -> str:
    return "".join(_value(part, query, text) for part in segment)


def _value(part: str | Slot, query: str, text: str) -> str:
    if part is Slot.QUERY:
        return query
    if part is Slot.TEXT:
        return text
    assert isinstance(part, str)  # An instruction has been filled in.
    return part


def _row(ids: Any, truncated: bool) -> Row:
    return Row(array_of(ids), np.zeros(len(ids), np.uint8), truncated)
