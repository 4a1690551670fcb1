"""What a process of the proxy does first, so that few signals can end it and nothing keeps it alive.

It imports a part of the standard library alone: until it has run, a signal can end the process.
"""

import ctypes
import faulthandler
import os
import signal
import sys
import threading
from typing import Final

from rerank_proxy.observe.stderr import LossyStderr

_IGNORED: Final = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
"""By default they end a process. They are sent to ask for new settings or a new log file, or by a terminal
that closes. The supervisor takes SIGHUP for something later.
"""
_PR_SET_PDEATHSIG: Final = 1
_STDIN: Final = 0
_STDERR: Final = 2
_STANDARD_STREAMS: Final = (0, 1, 2)


def prepare() -> None:
    """Prepare this process for serving: for signals, and for a log that nothing reads.

    Its children ignore the same signals from the beginning, unless uvloop starts them, which restores the
    default of each signal.
    """
    for number in _IGNORED:
        signal.signal(number, signal.SIG_IGN)
    _open_standard_streams()
    faulthandler.enable(_STDERR)  # a fault of native code leaves the stacks of all threads
    if not isinstance(sys.stderr, LossyStderr):
        sys.stderr = LossyStderr()


def log_to(descriptor: int | None) -> None:
    """Have the log go where that of the parent goes; what native code says still goes to standard error.

    Args:
        descriptor: None leaves the log at standard error.
    """
    if descriptor is not None and isinstance(sys.stderr, LossyStderr):
        sys.stderr.redirect(descriptor)


def _open_standard_streams() -> None:
    """Open closed streams: else the first socket gets the number of one, and what is written to it."""
    for number in _STANDARD_STREAMS:  # in this order: the system gives the lowest number that is free
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def orders_of_parent() -> bytes:
    """Tie this process to its parent, and return the line that the parent writes to standard input.

    The parent keeps the other end open as long as it lives. However it ends, this process ends immediately,
    even while it imports or loads something.

    Raises:
        SystemExit: The parent is gone.
    """
    if sys.platform == "linux":
        # Beside the thread below, which does not run while native code holds Python's lock.
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    line = bytearray()
    while not line.endswith(b"\n"):
        piece = os.read(_STDIN, 64 * 1024)
        if not piece:
            sys.exit(1)
        line += piece
    threading.Thread(target=_end_with_parent, name="parent-watch", daemon=True).start()
    return bytes(line)


def _end_with_parent() -> None:
    while os.read(_STDIN, 4096):
        pass
    os._exit(1)
