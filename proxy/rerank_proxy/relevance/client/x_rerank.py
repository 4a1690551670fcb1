"""The header `X-Rerank` of an answer, taken apart: what happened to each reranker of a search."""

import re
from dataclasses import dataclass
from typing import Final

_MILLISECONDS: Final = re.compile(r"[0-9]{1,12}(\.[0-9]{1,6})?")


@dataclass(frozen=True, slots=True)
class Reranking:
    """What the header says of one reranker.

    Attributes:
        outcome: `applied`, `skipped` or `evaluated`.
        window, scored, cached, truncated, ms: As in docs/x-rerank.md; None if the header does not say.
        reason: Why it was skipped.
    """

    outcome: str
    endpoint: str | None = None
    model: str | None = None
    window: int | None = None
    scored: int | None = None
    cached: int | None = None
    truncated: int | None = None
    ms: float | None = None
    reason: str | None = None


def rerankings(header: str | None) -> list[Reranking]:
    """Return what a header says; nothing for none, as of an answer that is not a proxy's."""
    found = []
    for entry in (header or "").split(","):
        outcome, *parts = (part.strip() for part in entry.split(";"))
        if not outcome or outcome == "omitted":
            continue
        values = dict(part.split("=", 1) for part in parts if "=" in part)
        found.append(
            Reranking(
                outcome,
                values.get("endpoint"),
                values.get("model"),
                window=_count(values.get("window")),
                scored=_count(values.get("scored")),
                cached=_count(values.get("cached")),
                truncated=_count(values.get("truncated")),
                ms=_number(values.get("ms")),
                reason=values.get("reason"),
            )
        )
    return found


def _count(text: str | None) -> int | None:
    return int(text) if text is not None and text.isascii() and text.isdigit() and len(text) < 10 else None


def _number(text: str | None) -> float | None:
    return float(text) if text is not None and _MILLISECONDS.fullmatch(text) else None
