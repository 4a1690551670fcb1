"""Standard error for a process that must keep running when the log cannot be written.

The reader of the log may be gone (EPIPE) or stuck (a full pipe blocks), or the disk may be full. None of this
may raise an error where a line is logged, or hold up an event loop.
"""

import atexit
import io
import os
import select
import threading
from collections import deque
from collections.abc import Callable
from typing import Final

_STDERR: Final = 2
_MAX_WAITING: Final = 1024 * 1024
_AT_ONCE: Final = 64 * 1024
"""The most bytes of several lines that are written by one call."""
_LAST_WORDS_S: Final = 2.0
"""Seconds to write what is waiting when the process ends."""


class LossyStderr(io.TextIOBase):
    """A text stream whose `write` neither blocks nor fails: a thread does the writing.

    Args:
        descriptor: The file descriptor to write to.
        max_waiting: The most bytes that may wait. Lines beyond that are dropped, and a later line counts
            them.

    Attributes:
        lost: How many lines could not be written, or not in time.
        dropped: Returns that line, for their number.
    """

    encoding: str = "utf-8"
    errors: str = "backslashreplace"

    def __init__(self, descriptor: int = _STDERR, max_waiting: int = _MAX_WAITING) -> None:
        self._descriptor = descriptor
        self._max_waiting = max_waiting
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._dropped = 0
        self.lost = 0
        self.dropped: Callable[[int], str] = _dropped_line
        self._changed = threading.Condition()
        self._writing = False
        threading.Thread(target=self._write_all, name="stderr", daemon=True).start()
        atexit.register(self.drain, _LAST_WORDS_S)

    def write(self, text: str) -> int:
        piece = text.encode(self.encoding, self.errors)
        with self._changed:
            if self._waiting_bytes + len(piece) > self._max_waiting:
                self._dropped += 1
                self.lost += 1
                return len(text)
            if self._dropped:
                self._append(self._dropped_notice())
            self._append(piece)
        return len(text)

    def redirect(self, descriptor: int) -> None:
        """Write to another descriptor from now on, also what still waits."""
        self._descriptor = descriptor

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def drain(self, timeout_s: float) -> bool:
        """Wait until everything has been written. Return whether it was within the time."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._writing and self._is_empty(), timeout_s)

    def _append(self, piece: bytes) -> None:
        self._waiting.append(piece)
        self._waiting_bytes += len(piece)
        self._changed.notify_all()

    def _dropped_notice(self) -> bytes:
        dropped, self._dropped = self._dropped, 0
        return self.dropped(dropped).encode(self.encoding, self.errors)

    def _is_empty(self) -> bool:
        return not self._waiting and not self._dropped

    def _write_all(self) -> None:
        while True:
            piece = self._next()
            self.lost += _write(self._descriptor, piece)  # which may have changed meanwhile
            with self._changed:
                self._writing = False
                self._changed.notify_all()

    def _next(self) -> bytes:
        with self._changed:
            self._changed.wait_for(lambda: not self._is_empty())
            self._writing = True
            if not self._waiting:
                return self._dropped_notice()
            pieces = [self._waiting.popleft()]
            size = len(pieces[0])
            # One call writes what has come together, as the lines of requests do.
            while self._waiting and size + len(self._waiting[0]) <= _AT_ONCE:
                pieces.append(self._waiting.popleft())
                size += len(pieces[-1])
            self._waiting_bytes -= size
            return b"".join(pieces)


def _dropped_line(lines: int) -> str:
    return f"rerank-proxy: {lines} lines of the log were dropped because it could not be written in time\n"


def _write(descriptor: int, piece: bytes) -> int:
    """Write a piece, or drop it if it cannot be written. Return the number of lines that were lost."""
    while piece:
        try:
            piece = piece[os.write(descriptor, piece) :]
        except BlockingIOError:  # Another process that shares the stream has made it so.
            select.select([], [descriptor], [])
        except OSError:
            break
    return piece.count(b"\n")
