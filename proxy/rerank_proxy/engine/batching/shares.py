"""When requests would end if all that wait had equal shares of the device.

Running requests in this order, instead of in turns, lets each end no later than with equal shares, and most
much sooner; a small request overtakes a large one, and none waits for ever, however many come later. (Fair
queueing by virtual finish times; Friedman and Henderson, "Fairness and efficiency in web server protocols",
2003. The proof of Parekh and Gallager, 1993, bounds the delay by one batch that cannot be interrupted.)

What this promises, in tokens, for one model that runs without padding, with W batches at the same time of at
most b tokens each: a request of s tokens ends, after it came, within the time in which a worker runs

    (8/7 (s + m + b) + b) / W + 2 b

tokens, where m is the sum over all requests that came before its end of their tokens, but at most s of each.
So a request of thousands of texts delays one of five by no more than another one of five would, and by the
batches under way. It is proved in four steps. Let T be the tokens that were given to workers so far, without
those of batches that the oldest request leads before its turn (`scheduler.OLDEST_SHARE`); by T the clock here
runs. Let H be the request and those that have their turns before it.

1. When it comes, each of H has at most its size left to do here, and at most s, as it ends here first.
   Who comes later, and has its turn before it, has at most s. That makes s + m in all.
2. In truth, H may have b more to do: if the last batch that was no turn of H's was given out at some time,
   nothing of H waited then, and all of T has gone to H since, but for that batch.
3. To these s + m + b the oldest request adds an eighth of the whole, and a batch.
4. While the request waits no worker is idle. So its last batch begins at the latest after what was under way
   when it came (b), and a W-th of the above; and it takes b.
"""

from bisect import bisect_left, insort
from collections.abc import Callable


class EqualShares:
    """Follows a device that all requests share equally. Its clock tells the work that each of them has had.

    Work is in any unit, the same for all.
    """

    def __init__(self) -> None:
        self._clock = 0.0
        self._ends: list[float] = []
        """Of those that have not ended here, the next one first."""
        self._sum = 0.0
        """Of the ends."""

    @property
    def left(self) -> float:
        """The work that is left to do here."""
        return self._sum - len(self._ends) * self._clock if self._ends else 0.0

    def enter(self, work: float) -> float:
        """Add a request with so much work. Return its end on this clock, by which requests are ordered."""
        end = self.end_of(work)
        insort(self._ends, end)
        self._sum += end
        return end

    def end_of(self, work: float) -> float:
        """Return the end that a request would have which came now."""
        return self._clock + work

    def leave(self, end: float) -> None:
        """Remove a request that is given up, if it has not ended here already."""
        at = bisect_left(self._ends, end)
        if at < len(self._ends) and self._ends[at] == end:
            del self._ends[at]
            self._sum -= end

    def serve(self, work: float) -> None:
        """Let the device do so much work, of which all that are here have equal shares."""
        while self._ends:
            until_next = (self._ends[0] - self._clock) * len(self._ends)
            if work < until_next:
                self._clock += work / len(self._ends)
                return
            work -= until_next
            self._clock = self._ends.pop(0)
            self._sum -= self._clock

    def finish(self) -> None:
        """Let the device do all the work that is left here."""
        if self._ends:
            self._clock = self._ends[-1]
            self._ends.clear()
            self._sum = 0.0

    def work_until(self) -> Callable[[float], float]:
        """Return a function that tells how much work has to be done here until an end.

        It is to be called with ends in ascending order. For an end that is past it tells how long, as a
        negative number.
        """
        ends, clock = tuple(self._ends), self._clock
        at, before = 0, 0.0

        def work_until(end: float) -> float:
            nonlocal at, before
            if end <= clock:
                return end - clock
            while at < len(ends) and ends[at] <= end:
                before += ends[at] - clock
                at += 1
            return before + (len(ends) - at) * (end - clock)

        return work_until

    def clear(self) -> None:
        """Begin anew: nothing waits any more."""
        self._clock = self._sum = 0.0
        self._ends.clear()
