"""Measure what one search waited for."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager


class Stopwatch:
    """A clock that runs while at least one of its blocks is entered, so that simultaneous blocks count once.

    Attributes:
        seconds: The time that it has run, up to its last stop.

    Args:
        clock: Returns seconds.
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
    """The time that one search waited, by what it waited for.

    Attributes:
        upstream: Time for inner searches.
        scores: Time for the scores of its rerankers.
        waiting: Time for either; less than their sum if there was a wait for both.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self._clock = clock
        self._began = clock()
        self.upstream = Stopwatch(clock)
        self.scores = Stopwatch(clock)
        self.waiting = Stopwatch(clock)

    def named(self) -> dict[str, float]:
        """Return seconds by stage, `own` included: what is left of the whole time."""
        own = max(0.0, self._clock() - self._began - self.waiting.seconds)
        return {"upstream": self.upstream.seconds, "score": self.scores.seconds, "own": own}

    @contextmanager
    def searching(self) -> Iterator[None]:
        """Count the time of the block as that of an inner search."""
        with self.upstream, self.waiting:
            yield

    @contextmanager
    def scoring(self) -> Iterator[None]:
        """Count the time of the block as that of a rank phase."""
        with self.scores, self.waiting:
            yield
