"""How much processor time work takes, in seconds of an ordinary machine: this one may be slower, or busy."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import Final

_SAMPLE: Final = 100_000
_ORDINARY_S: Final = 0.004
"""What the sample takes on a machine of 2020 that has nothing else to do."""
_LITTLE_S: Final = 0.1
"""No test asks for less, and to measure the machine takes a quarter of this."""


@dataclass
class Spent:
    """`seconds` are there once the work is done."""

    seconds: float = 0.0


def slowness() -> float:
    """Return how many times an ordinary machine's processor time Python takes here and now; 1 at least."""
    return max(1.0, *(_sample() / _ORDINARY_S for _ in range(3)))


def _sample() -> float:
    began = time.thread_time()
    total = 0
    for number in range(_SAMPLE):
        total += number % 7
    return time.thread_time() - began


@contextmanager
def spending(clock: Callable[[], float] = time.process_time) -> Iterator[Spent]:
    """Measure what is done meanwhile. Little is given as the clock says.

    Args:
        clock: That of the process, or of one thread.
    """
    spent = Spent()
    before = at_first()
    began = clock()
    yield spent
    took = clock() - began
    spent.seconds = took if took < _LITTLE_S else took / max(before, slowness())


@cache
def at_first() -> float:
    """Return the slowness when it was first asked for."""
    return slowness()
