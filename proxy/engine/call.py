"""What one call wants to know, and how it ends."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from .errors import EngineError
from .scoring import Scorer


@dataclass(frozen=True, slots=True)
class Call:
    """What one call wants to know."""

    scorer: Scorer
    query: str
    texts: list[str]
    keys: list[bytes]
    """One per input of the scorer."""

    @classmethod
    def of(cls, scorer: Scorer, query: str, texts: Sequence[str]) -> "Call":
        query, clean = _encodable(query), [_encodable(text) for text in texts]
        return cls(scorer, query, clean, scorer.keys(query, clean))

    @property
    def text_keys(self) -> list[bytes]:
        return self.keys[self.scorer.texts_at :]


class Ending:
    """How a request ended, for the task that waits for it."""

    def __init__(self) -> None:
        self._ended = asyncio.Event()
        self._error: EngineError | None = None

    def end(self, error: EngineError | None) -> None:
        self._error = error
        self._ended.set()

    async def wait(self) -> None:
        await self._ended.wait()
        if self._error is not None:
            raise self._error


def _encodable(text: str) -> str:
    """Halves of surrogate pairs, which JSON can carry but no tokenizer takes, become U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
