"""When requests would end if all that wait had equal shares of the device.

Running requests in this order, instead of in turns, lets each end no later than with equal shares, and most
much sooner; a small request overtakes a large one, and none waits for ever, however many come later. (Fair
queueing by virtual finish times; Friedman and Henderson, "Fairness and efficiency in web server protocols",
2003. The proof of Parekh and Gallager, 1993, bounds the delay by one batch that cannot be interrupted.)
"""

from heapq import heapify, heappop, heappush


class EqualShares:
    """Follows a device that all requests share equally. Its clock tells the work that each of them has had.

    Work is in any unit, the same for all.
    """

    def __init__(self) -> None:
        self._clock = 0.0
        self._ends: list[float] = []

    def enter(self, work: float) -> float:
        """Add a request with so much work. Return its end on this clock, by which requests are ordered."""
        end = self.end_of(work)
        heappush(self._ends, end)
        return end

    def end_of(self, work: float) -> float:
        """Return the end that a request would have which came now."""
        return self._clock + work

    def leave(self, end: float) -> None:
        """Remove a request that is given up, if it has not ended here already."""
        if end in self._ends:
            self._ends.remove(end)
            heapify(self._ends)

    def serve(self, work: float) -> None:
        """Let the device do so much work, of which all that are here have equal shares."""
        while self._ends:
            until_next = (self._ends[0] - self._clock) * len(self._ends)
            if work < until_next:
                self._clock += work / len(self._ends)
                return
            work -= until_next
            self._clock = heappop(self._ends)

    def clear(self) -> None:
        """Begin anew: nothing waits any more."""
        self._clock = 0.0
        self._ends.clear()
