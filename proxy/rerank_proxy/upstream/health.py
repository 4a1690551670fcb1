"""Whether a node can be connected to, as far as is known, and when it is tried again.

A node that fails is left out. It is tried again after a while that doubles with each failure in a row, up to
`MOST_S`, and is shortened at random, so that proxies do not all come at once. A node that fails again soon
after it came back goes on where it stopped: one that comes and goes is left out for longer and longer.
"""

from typing import Final

FIRST_S: Final = 1.0
"""The longest time for which a node is left out that failed once."""
MOST_S: Final = 30.0
STEADY_S: Final = 60.0
"""A node that was there for so long since it came back begins again with `FIRST_S`."""


def left_out_s(failures: int, chance: float) -> float:
    """Return for how many seconds a node is left out: between half and all of a time that doubles.

    Args:
        failures: How many there were in a row, from 1.
        chance: From 0 to 1, at random.
    """
    return min(FIRST_S * 2.0 ** min(failures - 1, 16), MOST_S) * (0.5 + chance / 2)


class Health:
    """What is known of one node. Times are those of the loop's clock.

    Attributes:
        due_at: When a node that is left out is tried again; None, it is not left out.
        failures: Attempts to connect that failed.
        times_out: How often it was left out.
        reason: Why it is left out.
        tried: Whether an attempt to connect has ended, well or not.
    """

    __slots__ = ("_in_a_row", "_news_at", "due_at", "failures", "reason", "times_out", "tried")

    def __init__(self) -> None:
        self.due_at: float | None = None
        self.failures = 0
        self.times_out = 0
        self.reason = ""
        self.tried = False
        self._in_a_row = 0
        self._news_at = -STEADY_S  # when it last went out or came back, or failed again

    @property
    def is_out(self) -> bool:
        return self.due_at is not None

    def failed(self, reason: str, began: float, now: float, chance: float) -> bool:
        """Take note that an attempt to connect failed, which began at `began`.

        Attempts side by side count once: one that began before the last news of the node says nothing new.

        Returns:
            Whether the node is left out since now.
        """
        self.tried = True
        self.failures += 1
        if began <= self._news_at:
            return False
        went_out = not self.is_out
        if went_out:
            self.times_out += 1
            if now - self._news_at >= STEADY_S:
                self._in_a_row = 0
        self._in_a_row += 1
        self._news_at = now
        self.reason = reason
        self.due_at = now + left_out_s(self._in_a_row, chance)
        return went_out

    def reached(self, now: float) -> bool:
        """Take note that the node was connected to. Return whether it was left out until now."""
        self.tried = True
        if self.due_at is None:
            return False
        self.due_at = None
        self._news_at = now
        return True
