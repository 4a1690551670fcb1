"""Says the same thing once in a while, however often it happens and whatever clients put into it."""

import time
from collections.abc import Callable, Hashable
from typing import Final

PERIOD_S: Final = 60.0
MOST: Final = 20


class Seldom:
    """Of each key once in a period, and of so many keys: clients choose what these are made of.

    Args:
        most: Keys in a period. Further ones are only counted.
        clock: In seconds.
    """

    def __init__(
        self, period_s: float = PERIOD_S, most: int = MOST, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._period_s = period_s
        self._most = most
        self._clock = clock
        self._said: dict[Hashable, float] = {}  # oldest first
        self._untold = 0

    def may_say(self, key: Hashable) -> int | None:
        """Whether it is time to speak of this key: None when it is not, else how many keys have been kept
        silent since someone spoke last, because there were too many.
        """
        now = self._clock()
        while self._said and (oldest := next(iter(self._said.items())))[1] + self._period_s <= now:
            del self._said[oldest[0]]
        if key in self._said:
            return None
        if len(self._said) >= self._most:
            self._untold += 1
            return None
        self._said[key] = now
        untold, self._untold = self._untold, 0
        return untold
