"""The texts of calls: how much memory they may take, and what of them is given to a model."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from sys import getsizeof
from typing import Final

from rerank_proxy.concurrency.steps import Steps
from rerank_proxy.engine.encoding.scorers import Scorer
from rerank_proxy.engine.encoding.tokenizer import portions
from rerank_proxy.engine.errors import QueueFullError

_PREPARED_CHARACTERS: Final = 1_000_000
"""Of the texts that are made ready in one go: some milliseconds."""


class TextMemory:
    """Counts what the texts of the calls under way take.

    Args:
        capacity_bytes: The most of it.
    """

    def __init__(self, capacity_bytes: int) -> None:
        self._capacity_bytes = capacity_bytes
        self._held_bytes = 0

    @contextmanager
    def holding(self, query: str, texts: Sequence[str]) -> Iterator[None]:
        """Have the texts of a call counted.

        Raises:
            QueueFullError: There is no room for them.
        """
        wanted = sum(map(getsizeof, chain([query], texts)))
        if wanted > self._capacity_bytes:
            raise QueueFullError(
                f"the texts take {wanted} bytes, more than engine.queue_bytes ({self._capacity_bytes}): "
                "score fewer texts at once, for example with a smaller rank_window_size, or raise the setting"
            )
        if self._held_bytes + wanted > self._capacity_bytes:
            raise QueueFullError(
                f"the queue is full: texts of {self._held_bytes} of {self._capacity_bytes} bytes "
                "(engine.queue_bytes) wait; try again later"
            )
        self._held_bytes += wanted
        try:
            yield
        finally:
            self._held_bytes -= wanted


@dataclass(frozen=True, slots=True)
class Call:
    """What one call wants to know."""

    scorer: Scorer
    query: str
    texts: list[str]
    keys: list[bytes]
    """One per input of the scorer."""
    cut: int
    """Texts of which only the beginning is there; all, if it is the query."""

    @classmethod
    def of(cls, scorer: Scorer, query: str, texts: Sequence[str], limit: int) -> "Steps[Call]":
        """Make the texts ready for a scorer, each up to a number of characters."""
        cut = len(texts) if len(query) > limit else sum(len(text) > limit for text in texts)
        query = _encodable(query[:limit])
        clean: list[str] = []
        keys: list[bytes] = []
        for start, end in portions(texts, _PREPARED_CHARACTERS):
            portion = [_encodable(text[:limit]) for text in texts[start:end]]
            clean += portion
            keys += scorer.keys(query, portion)[scorer.texts_at if start else 0 :]
            yield
        return cls(scorer, query, clean, keys, cut)

    @property
    def text_keys(self) -> list[bytes]:
        return self.keys[self.scorer.texts_at :]


def _encodable(text: str) -> str:
    """Halves of surrogate pairs, which JSON can carry but no tokenizer takes, become U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
