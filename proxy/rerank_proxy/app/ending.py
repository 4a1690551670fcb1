"""How the application's process ends, also when one of its threads never does.

A thread that runs in C code cannot be ended, and Python waits for its threads: so once the process is to end,
it does so within a bound.
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
"""Exit status of a process of which a part never returned (EX_SOFTWARE)."""

_ANSWERS_S: Final = 4.0
"""For the answers that say so to reach their callers."""

_LEAST_SILENCE_S: Final = 10.0
"""Importing torch on a busy machine may hold the GIL for a while."""

_BEATS: Final = 20
"""So many times in the longest silence that is allowed the event loop shows that it turns."""


class Ending:
    """When and how the process ends. Belongs to the event loop that makes it.

    Attributes:
        asked: Is set when the process is to end.
        status: With which exit status.
    """

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.status = 0

    def hung(self, reason: str) -> None:
        """A part of the process never returns: end it, in good order as far as that is possible."""
        self.status = HUNG
        _log.critical("the reranking process ends and is to be started again: %s", reason)
        end_within(_ANSWERS_S, HUNG)
        self.asked.set()


def end_within(seconds: float, status: int) -> None:
    """End the process after that time, unless it has ended before; nothing can hold that up but the GIL."""

    def end() -> None:
        time.sleep(seconds)
        logging.shutdown()
        sys.stderr.flush()
        os._exit(status)

    threading.Thread(target=end, name="last-resort", daemon=True).start()


def end_when_silent(seconds: float) -> None:
    """End the process when its event loop has not turned for so long, with the threads' stacks on stderr.

    A program that never returns may hold the GIL, as one does that is being loaded: no Python code runs any
    more then, and this is done in C.
    """
    seconds = max(seconds, _LEAST_SILENCE_S)
    faulthandler.dump_traceback_later(seconds, exit=True)
    asyncio.get_running_loop().call_later(seconds / _BEATS, end_when_silent, seconds)
