"""End on SIGTERM and SIGINT (Ctrl-C) with every `finally` run."""

import contextlib
import signal
import threading
from types import FrameType


def end_on_signals() -> None:
    """Turn SIGTERM and SIGINT into `KeyboardInterrupt` in the main thread.

    Python does so for SIGINT by itself, but not where its parent ignored it, as shells do for what runs in
    the background.
    """
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def wait_for_interrupt() -> None:
    """Return on Ctrl-C or, after `end_on_signals`, on SIGTERM."""
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
