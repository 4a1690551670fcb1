"""End on SIGTERM as on Ctrl-C: with every `finally` run."""

import contextlib
import signal
import threading
from types import FrameType


def end_on_sigterm() -> None:
    """Turn SIGTERM into `KeyboardInterrupt` in the main thread."""
    signal.signal(signal.SIGTERM, _interrupt)


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def wait_for_interrupt() -> None:
    """Return on Ctrl-C or, after `end_on_sigterm`, on SIGTERM."""
    with contextlib.suppress(KeyboardInterrupt):
        threading.Event().wait()
