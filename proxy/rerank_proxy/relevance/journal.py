"""What has been answered so far, so that work that was stopped goes on where it was.

An answer is found by what was asked. A question that was changed is therefore asked anew. Failures are not
kept; they are tried again.
"""

import hashlib
import json
from pathlib import Path
from types import TracebackType
from typing import Any, Generic, Self, TypeVar

import msgspec

from rerank_proxy.relevance.growing import LineFile

T = TypeVar("T")


class Entry(msgspec.Struct, Generic[T], frozen=True, omit_defaults=True):
    """A line of a journal.

    Attributes:
        key: Of what was asked.
        about: What a reader of the file is shown besides, such as the names of system and query.
    """

    key: str
    answer: T
    about: dict[str, str] = {}


def key_of(*asked: Any) -> str:
    """Return by what an answer is found: a digest of everything that was asked."""
    text = json.dumps(asked, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class Journal(Generic[T]):
    """Answers in a file, to which each is added as it comes. Use it as a context manager.

    Args:
        path: Made, with its directory, if it is missing.
        kind: `Entry[T]`.
        busy: What to say where another process has the file open.
        mend: What to do about a line that is damaged.
        fresh: Forget the answers of earlier runs.
    """

    def __init__(
        self,
        path: Path,
        kind: type[Entry[T]],
        busy: str,
        *,
        mend: str = "remove the line",
        fresh: bool = False,
    ) -> None:
        self._file = LineFile(path, kind, busy, mend=mend, fresh=fresh, synced=False)
        self._answers: dict[str, T] = {}

    def __enter__(self) -> Self:
        """Open the file.

        Raises:
            RelevanceError: Another process has it open, it cannot be written, or it is damaged.
        """
        self._file.__enter__()
        self._answers = {entry.key: entry.answer for entry in self._file.lines}
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.__exit__(kind, error, trace)

    def get(self, key: str) -> T | None:
        return self._answers.get(key)

    def add(self, key: str, answer: T, **about: str) -> None:
        """Keep an answer; it is in the file when this returns.

        Args:
            about: What a reader of the file is shown besides.

        Raises:
            RelevanceError: The file cannot be written. What it holds is kept.
        """
        self._file.add([Entry(key, answer, about)])
        self._answers[key] = answer
