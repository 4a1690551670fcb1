"""How much processor time work takes, in seconds of an ordinary machine: this one may be slower, or busy."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

_SAMPLE: Final = 100_000
_ORDINARY_S: Final = 0.004
"""What the sample takes on a machine of 2020 that has nothing else to do."""


@dataclass
class Spent:
    """`seconds` are there once the work is done."""

    seconds: float = 0.0


def slowness() -> float:
    """How many times an ordinary machine's processor time Python takes here and now; 1 at least."""
    return max(1.0, *(_sample() / _ORDINARY_S for _ in range(3)))


def _sample() -> float:
    began = time.thread_time()
    total = 0
    for number in range(_SAMPLE):
        total += number % 7
    return time.thread_time() - began


@contextmanager
def spending(clock: Callable[[], float] = time.process_time) -> Iterator[Spent]:
    """Measure what is done meanwhile.

    Args:
        clock: That of the process, or of one thread.
    """
    spent = Spent()
    before = slowness()
    began = clock()
    yield spent
    took = clock() - began
    spent.seconds = took / max(before, slowness())
