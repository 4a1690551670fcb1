"""Encode texts as rows: tokenise, truncate, add the special tokens."""

import struct
import threading
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, Final, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from rerank_proxy.engine.encoding.tokenizer import PlainTokenizer, SpecialTokenizer, Tokenizer, View
from rerank_proxy.engine.encoding.truncate import RULES, Truncation
from rerank_proxy.engine.rows import Row

_PROBES: Final = (
    ("Which river is the longest?", "The Nile, some say; others the Amazon."),
    ("one", "two"),
    ("zwölf Boxkämpfer 北京", "Ünïcödé — naïve café, 東京 42"),
    ("", "a text without a query"),
    ("a query without a text", ""),
)
"""Pairs with which a derived template is checked. Shorter than any model's limit."""

Ids = NDArray[np.int32]
_Encoded = Mapping[str, list[int]]
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True, eq=False)
class Template:
    """The special tokens around a text, or around and between the texts of a pair, and the segment ids."""

    before: Ids
    between: Ids
    after: Ids
    type_ids: tuple[int, int, int, int, int]
    """The segment ids of before, first, between, second, after."""

    @property
    def special_tokens(self) -> int:
        """How many special tokens there are."""
        return len(self.before) + len(self.between) + len(self.after)

    def join(self, first: Ids, second: Ids, truncated: bool = False) -> Row:
        """Return the row of one text or two."""
        return self.begin(first).join(second, truncated)

    def begin(self, first: Ids) -> "Beginning":
        """Return the beginning of all rows that have the same first text."""
        parts = (self.before, first, self.between)
        type_ids = np.repeat(np.array(self.type_ids[:3], np.uint8), [len(part) for part in parts])
        return Beginning(np.concatenate(parts), type_ids, self.after, self.type_ids[3:])


@dataclass(frozen=True, slots=True, eq=False)
class Beginning:
    """The beginning of a row up to its second text, and what follows that."""

    ids: Ids
    type_ids: NDArray[np.uint8]
    after: Ids
    after_type_ids: tuple[int, int]
    """The segment ids of the second text and of what follows it."""

    def join(self, second: Ids, truncated: bool) -> Row:
        """Return the row with a second text."""
        start, end = len(self.ids), len(self.ids) + len(second)
        ids = np.empty(end + len(self.after), np.int32)
        ids[:start], ids[start:end], ids[end:] = self.ids, second, self.after
        type_ids = np.empty(len(ids), np.uint8)
        type_ids[:start] = self.type_ids
        type_ids[start:end], type_ids[end:] = self.after_type_ids
        return Row(ids, type_ids, truncated)


_NONE: Final[Ids] = np.empty(0, np.int32)


def derive_pair(tokenizer: SpecialTokenizer) -> Template | None:
    """Derive the template of a tokenizer's pairs from a few of them. Return None if they follow none."""
    template: Template | None = None
    for query, text in _PROBES:
        whole = tokenizer.with_special_tokens(query, text)
        first, second = (array_of(ids) for ids in gathered(tokenizer.ids([query, text], 512)))
        template = template or _split(whole, first, second)
        if template is None or not _same(template.join(first, second), whole):
            return None
    return template


def derive_single(tokenizer: SpecialTokenizer) -> Template | None:
    """Derive the template of single texts, as `derive_pair` does that of pairs."""
    template: Template | None = None
    for text in (text for probe in _PROBES for text in probe):
        whole = tokenizer.with_special_tokens(text)
        (ids,) = (array_of(ids) for ids in gathered(tokenizer.ids([text], 512)))
        template = template or _split(whole, ids, _NONE)
        if template is None or not _same(template.join(ids, _NONE), whole):
            return None
    return template


def _first(encoded: Any) -> _Encoded:
    """Return the row of a batch of one. Only in a batch does transformers keep an empty text of a pair."""
    return {name: rows[0] for name, rows in encoded.items()}


def _split(whole: _Encoded, first: Ids, second: Ids) -> Template | None:
    """Find both token sequences in the whole; the tokens around them are the special ones."""
    ids = array_of(whole["input_ids"])
    types = _types(whole)
    start = _find(ids, first, 0)
    end = start + len(first)
    middle = _find(ids, second, end) if len(second) else end
    if start < 0 or middle < 0 or not len(first):
        return None
    bounds = (0, start, end, middle, middle + len(second), len(ids))
    runs = [types[low:high] for low, high in pairwise(bounds)]
    if any(len(set(run)) > 1 for run in runs):
        return None
    type_ids = [int(run[0]) if len(run) else 0 for run in runs]
    return Template(ids[:start], ids[end:middle], ids[bounds[4] :], tuple(type_ids))  # type: ignore[arg-type]  # five runs


def _find(ids: Ids, part: Ids, start: int) -> int:
    places = range(start, len(ids) - len(part) + 1)
    return next((at for at in places if np.array_equal(ids[at : at + len(part)], part)), -1)


def _same(row: Row, whole: _Encoded) -> bool:
    return np.array_equal(row.ids, array_of(whole["input_ids"])) and np.array_equal(
        row.type_ids, _types(whole)
    )


def _types(whole: _Encoded) -> NDArray[np.uint8]:
    return np.array(whole.get("token_type_ids") or [0] * len(whole["input_ids"]), np.uint8)


def array_of(ids: Sequence[int]) -> Ids:
    """Return token ids as an array, which `struct` makes in half of the time that numpy takes for a list."""
    return np.frombuffer(struct.pack(f"{len(ids)}i", *ids), np.int32) if len(ids) else _NONE


def gathered(pieces: Iterable[Sequence[_T]]) -> list[_T]:
    """Return the elements of several lists in one list."""
    return [each for piece in pieces for each in piece]


class PairEncoder(Protocol):
    """Encodes pairs for a cross-encoder. `encode` may be called from any thread."""

    @property
    def view(self) -> View | None:
        """Return how texts are tokenised; None where that cannot be told."""
        ...

    def encode(self, query: str, texts: Sequence[str]) -> Iterator[list[Row]]:
        """Yield one row per text, never longer than the model's limit, in several lists.

        No list takes long to make. A list may be empty.
        """


class TemplatePairEncoder:
    """Tokenises the query once, and joins the ids by the model's own template."""

    def __init__(
        self, tokenizer: PlainTokenizer, template: Template, max_length: int, truncation: Truncation
    ) -> None:
        self._tokenizer = tokenizer
        self._template = template
        self._budget = max_length - template.special_tokens
        self._rule = RULES[truncation]
        self.view = View(tokenizer)

    def encode(self, query: str, texts: Sequence[str]) -> Iterator[list[Row]]:
        query_ids = _NONE
        for piece in self._tokenizer.ids([query], self._budget + 1):
            query_ids = array_of(piece[0]) if piece else query_ids
            yield []
        # One token more than the query has, so that a rule still sees which of the two is longer.
        enough = max(self._budget, len(query_ids)) + 1
        beginning = cache(lambda kept: self._template.begin(query_ids[:kept]))
        for piece in self._tokenizer.ids(texts, enough):
            yield [self._pair(beginning, len(query_ids), ids) for ids in piece]

    def _pair(self, beginning: Callable[[int], Beginning], query: int, text: list[int]) -> Row:
        """Return the row of a query with so many tokens, of which `beginning` has some, and a text."""
        kept_query, kept_text = self._rule(query, len(text), self._budget)
        cut = kept_text < len(text)
        ids = array_of(text[:kept_text] if cut else text)
        return beginning(kept_query).join(ids, cut or kept_query < query)


class PlainPairEncoder:
    """Has the tokenizer itself make and cut the pairs: for those whose pairs follow no template.

    Tokenizers know `longest_first`, which also serves for `balanced`, from which it differs by a token;
    `second`; and `first`. What the rule refuses is refused before.
    """

    def __init__(self, tokenizer: Tokenizer, max_length: int, truncation: Truncation) -> None:
        self._plain = tokenizer
        self._tokenizer = tokenizer.transformers
        self._max_length = max_length
        self._rule = RULES[truncation]
        self._strategy = {"first": "only_first", "second": "only_second"}.get(truncation, "longest_first")
        self._budget = max_length - self._tokenizer.num_special_tokens_to_add(pair=True)
        self.view = View(tokenizer)
        self._lock = threading.Lock()  # A call sets the truncation on the shared object.

    def encode(self, query: str, texts: Sequence[str]) -> Iterator[list[Row]]:
        query_head = yield from self._beginning_of(query)
        for text in texts:
            yield []
            text_head = yield from self._beginning_of(text)
            with self._lock:
                row = self._pair(query_head, text_head)
            yield [row]

    def _beginning_of(self, text: str) -> Generator[list[Row], None, str]:
        """Return the beginning of a text that matters. Hold the lock during each try, not in between."""
        tries = self._plain.beginning_of(text, self._max_length)
        while True:
            with self._lock:
                try:
                    next(tries)
                except StopIteration as end:
                    head: str = end.value
                    return head
            yield []

    def _pair(self, query: str, text: str) -> Row:
        whole = _first(self._tokenizer([query], [text]))
        truncated = len(whole["input_ids"]) > self._max_length
        if truncated:
            whole = self._cut(query, text)
        return Row(array_of(whole["input_ids"]), _types(whole), truncated)

    def _cut(self, query: str, text: str) -> _Encoded:
        """Return a pair that is too long, as the tokenizer cuts it. Tokenizers never cut all of a side."""
        counts = [len(self._tokenizer.encode(part, add_special_tokens=False)) for part in (query, text)]
        kept_query, _ = self._rule(counts[0], counts[1], self._budget)
        strategy = self._strategy
        if strategy == "only_first" and kept_query == 0:
            query = ""
        elif strategy == "only_second" and counts[0] >= self._budget:
            strategy = "longest_first"
        whole = _first(self._tokenizer([query], [text], truncation=strategy, max_length=self._max_length))
        self._plain.freeze()
        return whole


Role = Literal["query", "text"]


class TextEncoder:
    """Encodes queries, or texts, each by itself. `encode` may be called from any thread.

    Args:
        role: What a rule of truncation takes them for: the first of a pair, or the second.
    """

    def __init__(
        self,
        tokenizer: PlainTokenizer,
        template: Template,
        max_length: int,
        truncation: Truncation = "balanced",
        role: Role = "text",
    ) -> None:
        self._tokenizer = tokenizer
        self._template = template
        self._budget = max_length - template.special_tokens
        self._rule = RULES[truncation]
        self._role = role
        self.view = View(tokenizer)

    def encode(self, texts: Sequence[str]) -> Iterator[list[Row]]:
        """Yield one row per text, as `PairEncoder.encode` does."""
        for piece in self._tokenizer.ids(texts, self._budget + 1):
            yield [self._row(array_of(ids)) for ids in piece]

    def _row(self, ids: Ids) -> Row:
        if self._role == "query":
            kept, _ = self._rule(len(ids), 0, self._budget)
        else:
            _, kept = self._rule(0, len(ids), self._budget)
        return self._template.join(ids[:kept], _NONE, kept < len(ids))
