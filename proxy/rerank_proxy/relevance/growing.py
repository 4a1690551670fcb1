"""Files of JSON lines that only grow.

A line that a kill or a full disk has cut does not count: what reads leaves it out, and what writes removes it
first, so that the next line does not grow onto it.
"""

import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Final, Generic, Self, TypeVar

import msgspec
from filelock import FileLock, Timeout

from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.files import read_if_exists

T = TypeVar("T", bound=msgspec.Struct)

MAX_BYTES: Final = 1 << 30
"""Of one file: some millions of lines."""
_ENCODER: Final = msgspec.json.Encoder()
_MEND: Final = "mend or remove the line"


def read_lines(path: Path, kind: type[T]) -> list[T]:
    """Return what the whole lines of a file hold, to which another process may be adding; nothing if there is
    no file.

    Raises:
        RelevanceError: It cannot be read, or a whole line is not one of these.
    """
    content = _content(path)
    return _parsed(path, content[: _whole(content)], msgspec.json.Decoder(kind), _MEND)


def _content(path: Path) -> bytes:
    return read_if_exists(path, MAX_BYTES) or b""


def _parsed(path: Path, content: bytes, decoder: "msgspec.json.Decoder[T]", mend: str) -> list[T]:
    values = []
    for number, line in enumerate(content.split(b"\n"), 1):
        if not line.strip():
            continue
        try:
            values.append(decoder.decode(line))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise RelevanceError(f"{path}, line {number}: {error}; {mend}") from None
    return values


def _whole(content: bytes) -> int:
    """Return how many bytes belong to whole lines."""
    return content.rfind(b"\n") + 1


class LineFile(Generic[T]):
    """A file of JSON lines, open for adding to it. Only one process has it open.

    Attributes:
        lines: All that it holds.

    Args:
        path: Made, with the directory that it is in, if it is missing.
        busy: What to say where another process has it open.
        mend: What to do about a line that is damaged.
        fresh: Forget what it holds.
        synced: Wait until lines are on the disk. Those that need not outlive a power cut outlive a kill
            without that, too.
    """

    def __init__(
        self,
        path: Path,
        kind: type[T],
        busy: str,
        *,
        mend: str = _MEND,
        fresh: bool = False,
        synced: bool = True,
    ) -> None:
        self._path = path
        self._decoder = msgspec.json.Decoder(kind)
        self._busy = busy
        self._mend = mend
        self._fresh = fresh
        self._synced = synced
        self._lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=0, mode=0o600)
        self.lines: list[T] = []

    def __enter__(self) -> Self:
        """Open the file.

        Raises:
            RelevanceError: Another process has it open, it cannot be written, or it is damaged.
        """
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout:
            raise RelevanceError(self._busy) from None
        except OSError as error:
            raise self._unwritable(error) from None
        with ExitStack() as undo:
            undo.callback(self._lock.release)
            content = _content(self._path)
            kept = 0 if self._fresh else _whole(content)
            self.lines = _parsed(self._path, content[:kept], self._decoder, self._mend)
            if kept < len(content):
                self._cut(kept)
            undo.pop_all()  # the file stays locked until it is closed
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lock.release()

    def add(self, lines: Sequence[T]) -> None:
        """Write lines; they are saved when this returns.

        Raises:
            RelevanceError: They could not be written; the file is as it was.
        """
        data = b"".join(_ENCODER.encode(line) + b"\n" for line in lines)
        try:
            descriptor = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                _write(descriptor, data, synced=self._synced)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise self._unwritable(error) from None
        self.lines.extend(lines)

    def _cut(self, size: int) -> None:
        """Remove what does not count."""
        try:
            os.truncate(self._path, size)
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> RelevanceError:
        return RelevanceError(f"{self._path}: cannot be written: {error.strerror}")


def _write(descriptor: int, data: bytes, *, synced: bool) -> None:
    """Write all bytes, or none."""
    before = os.fstat(descriptor).st_size
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]
        if synced:
            os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, before)
        raise
