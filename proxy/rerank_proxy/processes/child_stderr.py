"""What a child process writes to standard error past the log: messages of native code, and why it crashed.

The child's log goes where this process's goes, over a descriptor of its own (`log_descriptor`). Its standard
error is a pipe, which is read here: each line becomes a record, and the last ones say how the child ended.
"""

import logging
import os
import threading
import time
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from typing import IO, Final

from rerank_proxy.observe.events import NAMESPACE, STDERR, event
from rerank_proxy.observe.log import form
from rerank_proxy.observe.log_lines import MAX_TRACEBACK, one_line

logger = logging.getLogger(f"{NAMESPACE}.stderr")

_STDERR: Final = 2
LAST_LINES: Final = 60
"""How many lines are kept to say why a process ended: a fatal error of Python has some fifty."""
_FATAL: Final = "Fatal Python error: "
"""What the stacks begin with that a fault of native code leaves. Right after them the process ends."""
MAX_BYTES: Final = 4096
"""The most bytes of a line; more is taken for the next one."""
MOST: Final = 200
PERIOD_S: Final = 10.0
"""How many lines have a record in so many seconds. Further ones are only counted."""
_LAST_WORDS_S: Final = 1.0
"""How long what a process has written is still awaited when it has ended: its children may have the pipe."""


@lru_cache(1)
def log_descriptor() -> int:
    """Return the descriptor by which children write to the log of this process."""
    return os.dup(_STDERR)


class ChildStderr:
    """Reads the standard error of one process, on a thread, so that it never waits for this one's loop.

    Args:
        process: What the process is called in the log.
        clock: In seconds.
    """

    def __init__(
        self, process: str, pid: int, pipe: IO[bytes], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._process = process
        self._pid = pid
        self._pipe = pipe
        self._clock = clock
        self._last: deque[str] = deque(maxlen=LAST_LINES)
        self._since = clock()
        self._count = 0
        self._is_fatal = False
        self._thread = threading.Thread(target=self._read, name=f"stderr-{process}", daemon=True)
        self._thread.start()

    def last_lines(self) -> list[str]:
        """Return the last lines of a process that has ended."""
        self._thread.join(_LAST_WORDS_S)
        return list(self._last)

    def _read(self) -> None:
        with self._pipe:
            while piece := self._pipe.readline(MAX_BYTES):
                self._take(piece.decode("utf-8", "backslashreplace").rstrip())
        self._say_omitted()

    def _take(self, line: str) -> None:
        if not line:
            return
        if self._keep(line):
            return
        now = self._clock()
        if now - self._since >= PERIOD_S:
            self._say_omitted()
            self._since, self._count = now, 0
        self._count += 1
        if self._count <= MOST:
            self._log(line)

    def _keep(self, line: str) -> bool:
        """Keep a line to say why the process ended. Return whether it will be in that record alone."""
        if line.startswith(_FATAL) and form.is_json:
            self._last = deque(maxlen=MAX_TRACEBACK)
            self._is_fatal = True
        if not (self._is_fatal and len(self._last) == MAX_TRACEBACK):  # the first stacks, not the modules
            self._last.append(one_line(line))
        return self._is_fatal

    def _say_omitted(self) -> None:
        if self._count > MOST:
            self._log(f"{self._count - MOST} lines are left out")

    def _log(self, line: str) -> None:
        logger.warning(
            "%s: %s",
            self._process,
            line,
            extra={"event.dataset": STDERR, "process.name": self._process, "process.pid": self._pid},
        )


def ended(process: str, pid: int | None, status: int, last: list[str]) -> dict[str, object]:
    """Return fields for the record of the end of a process.

    Args:
        status: Its exit status, or the negative number of the signal that ended it.
    """
    fields = event("process-ended", "process", failed=True, signal=-status if status < 0 else None)
    fields |= {"process.name": process, "process.pid": pid}
    if status >= 0:
        fields["process.exit_code"] = status
    if last:
        fields["error.stack_trace"] = "\n".join(last)
    return fields
