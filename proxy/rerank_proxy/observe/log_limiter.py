"""Limit how often the same message is logged, and how many messages that clients can vary."""

import time
from collections.abc import Callable, Hashable
from typing import Final

PERIOD_S: Final = 60.0
MOST: Final = 20


class LogLimiter:
    """Admits each key once in a period, and a limited number of keys, because clients choose what they
    contain.

    Args:
        most: The most keys in a period. Further ones are only counted.
        clock: In seconds.
    """

    def __init__(
        self, period_s: float = PERIOD_S, most: int = MOST, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._period_s = period_s
        self._most = most
        self._clock = clock
        self._admitted: dict[Hashable, float] = {}  # oldest first
        self._omitted = 0

    def admit(self, key: Hashable) -> int | None:
        """Decide whether to log a message about `key`.

        Returns:
            None if it is not to be logged; otherwise the number of messages that have been omitted since the
            last one, because there were too many keys.
        """
        now = self._clock()
        while self._admitted and (oldest := next(iter(self._admitted.items())))[1] + self._period_s <= now:
            del self._admitted[oldest[0]]
        if key in self._admitted:
            return None
        if len(self._admitted) >= self._most:
            self._omitted += 1
            return None
        self._admitted[key] = now
        omitted, self._omitted = self._omitted, 0
        return omitted
