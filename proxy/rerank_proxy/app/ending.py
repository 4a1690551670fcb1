"""The end of the application's process, even when one of its threads never ends.

A thread that runs in C code cannot be ended, and Python waits for its threads. So once the process is to end,
the time that it takes is bounded.
"""

import asyncio
import faulthandler
import logging
import os
import sys
import threading
import time
from typing import Final

_log = logging.getLogger(__name__)

HUNG: Final = 70
"""Exit status of a process in which something never returned (EX_SOFTWARE)."""

_ANSWERS_S: Final = 4.0
"""Seconds for the answers that tell of it to reach their callers."""

_LEAST_SILENCE_S: Final = 10.0
"""Seconds; importing torch on a busy machine may hold the GIL for a while."""

_STDERR: Final = 2
"""Where the supervisor reads it; the log goes another way."""
_BEATS: Final = 20
"""Signs of life that the event loop gives in the longest silence that is allowed."""


class Ending:
    """Whether the process is to end, and with which status. Belongs to the event loop that makes it.

    Attributes:
        asked: Set when the process is to end.
        status: Its exit status.
    """

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.status = 0

    def hung(self, reason: str) -> None:
        """End the process, in good order if possible, because something in it never returns."""
        self.status = HUNG
        _log.critical("the reranking process ends and is to be started again: %s", reason)
        end_within(_ANSWERS_S, HUNG)
        self.asked.set()


def end_within(seconds: float, status: int) -> None:
    """End the process after that time if it has not ended by then; only the GIL can delay that."""

    def end() -> None:
        time.sleep(seconds)
        logging.shutdown()
        sys.stderr.flush()
        os._exit(status)

    threading.Thread(target=end, name="last-resort", daemon=True).start()


def end_when_stuck(seconds: float) -> None:
    """End the process when its event loop has not run for so long, with the threads' stacks on stderr.

    A model's program that never returns may hold the GIL, as it does while it is loaded. No Python code runs
    then, so this is done in C.
    """
    seconds = max(seconds, _LEAST_SILENCE_S)
    faulthandler.dump_traceback_later(seconds, exit=True, file=_STDERR)
    asyncio.get_running_loop().call_later(seconds / _BEATS, end_when_stuck, seconds)
