"""Leave something out for a while after it has failed. Pure logic."""

from collections.abc import Callable

_GROWTH = 2.0


class Breaker:
    """Whether something is used, and when it is tried again if not.

    It is left out for longer each time, until it has been used for as long as it was left out last.

    Args:
        clock: In seconds.
        first_s: Seconds for which it is left out at first.
        longest_s: The most seconds.
        used: Whether it is used before anything is known of it.
    """

    def __init__(
        self, clock: Callable[[], float], first_s: float, longest_s: float, *, used: bool = False
    ) -> None:
        self._clock = clock
        self._first_s = first_s
        self._longest_s = longest_s
        self._delay_s = 0.0
        self._used = used
        self._changed_at = clock()
        self._again_at = self._changed_at

    @property
    def used(self) -> bool:
        """Whether it worked last."""
        return self._used

    @property
    def may_try(self) -> bool:
        """Whether it is used, or was left out for long enough."""
        return self._used or self._clock() >= self._again_at

    @property
    def wait_s(self) -> float:
        """In how many seconds it may be tried again."""
        return 0.0 if self._used else max(0.0, self._again_at - self._clock())

    def fail(self) -> bool:
        """Leave it out. Return whether it was used until now."""
        now = self._clock()
        if self._used and now - self._changed_at >= self._delay_s:
            self._delay_s = 0.0
        self._delay_s = min(max(self._first_s, self._delay_s * _GROWTH), self._longest_s)
        self._again_at = now + self._delay_s
        was_used, self._used = self._used, False
        self._changed_at = now
        return was_used

    def succeed(self) -> bool:
        """Use it. Return whether it was left out until now."""
        if self._used:
            return False
        self._used = True
        self._changed_at = self._clock()
        return True
