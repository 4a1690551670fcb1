"""Memory of this process that nothing uses any more."""

import ctypes
import sys
from collections.abc import Callable
from functools import cache
from typing import Any


def give_back_to_system() -> None:
    """Have the C library return memory that was freed to the system. Takes milliseconds.

    glibc keeps what is freed, in places of its own for each thread, and has threads take new memory there
    alone. Models are loaded on ever new threads: after MiniLM-L6 and a BERT of 66 million parameters had been
    loaded and unloaded in turn four times, some 300 MiB more were resident than with this. Other C libraries
    have no such function.
    """
    _trim()(0)


@cache
def _trim() -> Callable[[int], int]:
    library: Any = ctypes.CDLL(None) if sys.platform == "linux" else None
    function: Callable[[int], int] = getattr(library, "malloc_trim", lambda pad: 0)
    return function
