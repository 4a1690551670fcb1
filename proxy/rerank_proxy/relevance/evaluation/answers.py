"""What searches of an evaluation have given, and the file that keeps it.

An answer is found by the address, the state of the index, and the body of the search: so all are asked anew
when documents were added.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from rerank_proxy.relevance.journal import Entry, Journal
from rerank_proxy.relevance.judgments import Hit

FILE: Final = "answers.jsonl"


@dataclass(frozen=True, slots=True)
class Answer:
    """What a search gave: all that is computed later.

    Attributes:
        took_ms: As the client saw it.
        x_rerank: The header as it came.
    """

    hits: tuple[Hit, ...]
    took_ms: float
    x_rerank: str | None = None


def answers_in(directory: Path, *, fresh: bool = False) -> Journal[Answer]:
    """Return the answers of an evaluation in a directory.

    Args:
        fresh: Forget those of earlier runs.
    """
    return Journal(
        directory / FILE,
        Entry[Answer],
        f"{directory}: another evaluation is using it",
        mend="remove the line, or give --fresh",
        fresh=fresh,
    )
