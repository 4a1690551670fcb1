"""How long an event loop is held, in processor time of an ordinary machine."""

import asyncio
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

import pytest

from tests.support.processor_time import at_first, slowness

_LITTLE_S: Final = 0.02
"""No test asks for less, and to measure the machine takes as long."""


@dataclass
class LongestStep:
    """The step of the loop that took longest; its seconds are right once all is done."""

    seconds: float = 0.0
    what: str = ""


@contextmanager
def longest_step() -> Iterator[LongestStep]:
    """Measure each step that asyncio's own loop takes meanwhile, in the processor time of its thread."""
    longest = LongestStep()
    run = asyncio.Handle._run

    def measured(handle: asyncio.Handle) -> None:
        began = time.thread_time()
        run(handle)
        seconds = time.thread_time() - began
        if seconds > longest.seconds:
            longest.seconds, longest.what = seconds, repr(handle)[:500]

    before = at_first()
    gc.freeze()  # as in the application: what was loaded at the start is not gone through again
    try:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(asyncio.Handle, "_run", measured)
            yield longest
    finally:
        if longest.seconds >= _LITTLE_S:
            longest.seconds /= max(before, slowness())
