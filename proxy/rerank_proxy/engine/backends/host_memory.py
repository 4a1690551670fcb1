"""Memory of this process that nothing uses any more."""

import ctypes
import sys
from typing import Any


def give_back_to_system() -> None:
    """Have the C library return memory that was freed to the system. Takes milliseconds.

    glibc keeps what is freed, in places of its own for each thread, and has threads take new memory there
    alone. Models are loaded on ever new threads: after MiniLM-L6 and a BERT of 66 million parameters had been
    loaded and unloaded in turn four times, some 300 MiB more were resident than with this. Other C libraries
    have no such function.
    """
    if sys.platform != "linux":
        return
    trim: Any = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
