"""What one search waited for."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stopwatch:
    """Run while at least one of its blocks is entered, so that what goes on side by side counts once.

    Attributes:
        seconds: How long it has run, up to its last stop.

    Args:
        clock: In seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.seconds = 0.0
        self._clock = clock
        self._entered = 0
        self._since = 0.0

    def __enter__(self) -> None:
        if self._entered == 0:
            self._since = self._clock()
        self._entered += 1

    def __exit__(self, *exception: object) -> None:
        self._entered -= 1
        if self._entered == 0:
            self.seconds += self._clock() - self._since


class Timings:
    """The time that one search waited for others.

    Attributes:
        upstream: Inner searches.
        scores: The scores of its rerankers.
        others: Either of both, or both at once.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.upstream = Stopwatch(clock)
        self.scores = Stopwatch(clock)
        self.others = Stopwatch(clock)

    @contextmanager
    def searching(self) -> Iterator[None]:
        """Count the time of the block as that of an inner search."""
        with self.upstream, self.others:
            yield

    @contextmanager
    def scoring(self) -> Iterator[None]:
        """Count the time of the block as that of a rank phase."""
        with self.scores, self.others:
            yield
