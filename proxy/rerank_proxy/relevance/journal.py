"""What has been answered so far, so that an evaluation that was stopped goes on where it was.

A file of JSON lines, to which each answer is added as it comes. An answer is found by what was asked: the
address, the state of the index, and the body. A template that was changed is therefore asked anew, and so is
all when documents were added. Failures are not kept; they are tried again.

A line that was being written when the process ended is cut off at the next start.
"""

import hashlib
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from io import BufferedRandom
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from filelock import FileLock, Timeout

from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.judgments import Hit

FILE: Final = "answers.jsonl"
_LOCK: Final = ".lock"
_HEADER: Final = {"rerank-proxy": "evaluation", "format": 1}


@dataclass(frozen=True, slots=True)
class Answer:
    """What a search of an evaluation gave: all that is computed later.

    Attributes:
        took_ms: As the client saw it.
        x_rerank: The header as it came.
    """

    hits: tuple[Hit, ...]
    took_ms: float
    x_rerank: str | None = None

    def values(self) -> dict[str, Any]:
        hits = [[hit.id, hit.score] for hit in self.hits]
        return {"took_ms": self.took_ms, "x_rerank": self.x_rerank, "hits": hits}


def key_of(*asked: Any) -> str:
    """Return by what an answer is found: a digest of everything that was asked."""
    text = json.dumps(asked, sort_keys=True, ensure_ascii=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()[:32]


class Journal:
    """The answers of an evaluation in a directory. Use it as a context manager.

    Raises:
        RelevanceError: On entering: the directory cannot be used, or another evaluation is using it.
    """

    def __init__(self, directory: Path, *, fresh: bool = False) -> None:
        self._directory = directory
        self._fresh = fresh
        self._answers: dict[str, Answer] = {}
        self._file: BufferedRandom | None = None
        self._lock = FileLock(directory / _LOCK, timeout=0)

    def __enter__(self) -> Self:
        path = self._directory / FILE
        try:
            self._directory.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
            try:
                self._file = open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b")
                self._open(path)
            except BaseException:
                self._close()
                raise
        except Timeout:
            raise RelevanceError(f"{self._directory}: another evaluation is using it") from None
        except OSError as error:
            raise RelevanceError(f"{path}: cannot be used: {error.strerror}") from None
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def __len__(self) -> int:
        return len(self._answers)

    def get(self, key: str) -> Answer | None:
        return self._answers.get(key)

    def add(self, key: str, answer: Answer, **named: Any) -> None:
        """Keep an answer; it is in the file when this returns.

        Args:
            named: What a reader of the file is shown besides, such as the names of system and query.

        Raises:
            RelevanceError: The file cannot be written.
        """
        self._answers[key] = answer
        self._write({"key": key, **named, **answer.values()})

    def _write(self, values: Mapping[str, Any]) -> None:
        assert self._file is not None, "enter the context first"
        try:
            self._file.write(json.dumps(values).encode("ascii") + b"\n")
            self._file.flush()
        except OSError as error:
            raise RelevanceError(
                f"{self._directory / FILE}: cannot be written: {error.strerror}; what it holds is kept"
            ) from None

    def _open(self, path: Path) -> None:
        assert self._file is not None
        if self._fresh:
            self._file.truncate(0)
        whole = 0
        for number, line in enumerate(self._file, 1):
            if not line.endswith(b"\n"):
                break
            self._take(path, number, line)
            whole += len(line)
        self._file.seek(whole)
        self._file.truncate()
        if not whole:
            self._write(_HEADER)

    def _take(self, path: Path, number: int, line: bytes) -> None:
        try:
            values = json.loads(line)
            if number == 1:
                if values != _HEADER:
                    raise RelevanceError(
                        f"{path}: is not a file of this command, or of another version: give --fresh to "
                        "begin anew, or another directory"
                    )
                return
            hits = tuple(Hit(name, score) for name, score in values["hits"])
            self._answers[values["key"]] = Answer(hits, values["took_ms"], values["x_rerank"])
        except (ValueError, KeyError, TypeError):
            raise RelevanceError(
                f"{path}, line {number}: is damaged: remove the line, or give --fresh"
            ) from None

    def _close(self) -> None:
        if self._file is not None:
            with suppress(OSError):  # of a write that failed, and is said
                self._file.close()
            self._file = None
        self._lock.release()
