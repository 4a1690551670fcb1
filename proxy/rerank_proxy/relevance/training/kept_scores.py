"""Scores of endpoints that were paid for already, in a file of JSON lines.

A line that was being written when the process ended is cut off at the next start.
"""

import hashlib
import json
import os
from collections.abc import Sequence
from io import BufferedRandom
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rerank_proxy.relevance.errors import RelevanceError


def key_of(*asked: Any) -> str:
    """Return by what scores are found: a digest of everything that was asked."""
    text = json.dumps(asked, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class KeptScores:
    """The scores in a file. Use it as a context manager.

    Raises:
        RelevanceError: On entering: the file cannot be used.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._scores: dict[str, list[float]] = {}
        self._file: BufferedRandom | None = None

    def __enter__(self) -> Self:
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            self._file = open(descriptor, "r+b")
            whole = self._read(self._file)
        except OSError as error:
            raise RelevanceError(f"{self._path}: cannot be used: {error.strerror}") from None
        self._file.seek(whole)
        self._file.truncate()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def get(self, key: str) -> list[float] | None:
        return self._scores.get(key)

    def add(self, key: str, scores: Sequence[float]) -> None:
        """Keep scores; they are in the file when this returns."""
        assert self._file is not None, "enter the context first"
        self._scores[key] = [*scores]
        self._file.write(json.dumps({"key": key, "scores": [*scores]}).encode() + b"\n")
        self._file.flush()

    def _read(self, file: BufferedRandom) -> int:
        """Read whole lines, up to the first that is not one, and return where they end."""
        whole = 0
        for line in file:
            try:
                values = json.loads(line)
                key, scores = str(values["key"]), [float(score) for score in values["scores"]]
            except (ValueError, KeyError, TypeError):
                break
            if not line.endswith(b"\n"):
                break
            self._scores[key] = scores
            whole += len(line)
        return whole
