"""What happened to a search, in the `X-Rerank` header of its answer."""

import re
from dataclasses import dataclass
from typing import Final

HEADER: Final = "X-Rerank"
_LONGEST_TOKEN: Final = 256
_UNSAFE = re.compile(r"[^\x21-\x3a\x3c-\x7e]")


@dataclass(frozen=True, slots=True)
class Applied:
    """The answer is reranked.

    Attributes:
        window: Documents that the inner retriever returned.
        scored: Those with text, hence with a score.
        cached: Those whose score, or whose embedding, was remembered.
        truncated: Those whose text or query was cut to the model's limit.
        ms: Milliseconds for the scores.
    """

    endpoint: str
    model: str
    window: int
    scored: int
    cached: int
    truncated: int
    ms: float

    def header(self) -> str:
        return (
            f"applied; endpoint={_token(self.endpoint)}; model={_token(self.model)}; window={self.window}; "
            f"scored={self.scored}; cached={self.cached}; truncated={self.truncated}; ms={self.ms:.1f}"
        )


@dataclass(frozen=True, slots=True)
class Skipped:
    """The answer is in first-stage order, because reranking failed and the request allowed that."""

    endpoint: str
    reason: str

    def header(self) -> str:
        return f"skipped; endpoint={_token(self.endpoint)}; reason={_token(self.reason)}"


Outcome = Applied | Skipped


def _token(text: str) -> str:
    """A header-safe form: an endpoint id is the client's text and may hold anything, at any length."""
    return _UNSAFE.sub("_", text[:_LONGEST_TOKEN])
