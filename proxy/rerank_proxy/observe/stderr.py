"""Standard error for a process that must go on when the log cannot be written.

What reads the log may be gone (EPIPE), be stuck (a full pipe blocks), or be a full disk. None of that may
raise an error where a line is logged, nor hold up an event loop.
"""

import atexit
import io
import os
import select
import threading
from collections import deque
from typing import Final

_STDERR: Final = 2
_MAX_WAITING: Final = 1024 * 1024
_LAST_WORDS_S: Final = 2.0
"""For what waits when the process ends."""


class LossyStderr(io.TextIOBase):
    """A text stream whose `write` neither waits nor fails: a thread writes, and what has no room is dropped.

    Args:
        descriptor: Where it is written to.
        max_waiting: Bytes that may wait. What comes then is dropped, and counted in a line later on.
    """

    encoding: str = "utf-8"
    errors: str = "backslashreplace"

    def __init__(self, descriptor: int = _STDERR, max_waiting: int = _MAX_WAITING) -> None:
        self._descriptor = descriptor
        self._max_waiting = max_waiting
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._dropped = 0
        self._changed = threading.Condition()
        self._writing = False
        threading.Thread(target=self._write_all, name="stderr", daemon=True).start()
        atexit.register(self.drain, _LAST_WORDS_S)

    def write(self, text: str) -> int:
        piece = text.encode(self.encoding, self.errors)
        with self._changed:
            if self._waiting_bytes + len(piece) > self._max_waiting:
                self._dropped += 1
                return len(text)
            if self._dropped:
                self._append(self._told_dropped())
            self._append(piece)
        return len(text)

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._descriptor

    def isatty(self) -> bool:
        return os.isatty(self._descriptor)

    def drain(self, timeout_s: float) -> bool:
        """Wait for what was written to leave the process; returns whether it did."""
        with self._changed:
            return self._changed.wait_for(lambda: not self._writing and self._is_empty(), timeout_s)

    def _append(self, piece: bytes) -> None:
        self._waiting.append(piece)
        self._waiting_bytes += len(piece)
        self._changed.notify_all()

    def _told_dropped(self) -> bytes:
        dropped, self._dropped = self._dropped, 0
        return b"rerank-proxy: %d lines of the log found no room and are lost\n" % dropped

    def _is_empty(self) -> bool:
        return not self._waiting and not self._dropped

    def _write_all(self) -> None:
        while True:
            _write(self._descriptor, self._next())
            with self._changed:
                self._writing = False
                self._changed.notify_all()

    def _next(self) -> bytes:
        with self._changed:
            self._changed.wait_for(lambda: not self._is_empty())
            self._writing = True
            if not self._waiting:
                return self._told_dropped()
            piece = self._waiting.popleft()
            self._waiting_bytes -= len(piece)
            return piece


def _write(descriptor: int, piece: bytes) -> None:
    """Write it; what cannot be written is lost."""
    while piece:
        try:
            piece = piece[os.write(descriptor, piece) :]
        except BlockingIOError:  # Some other process that has the stream too wants it so.
            select.select([], [descriptor], [])
        except OSError:
            return
