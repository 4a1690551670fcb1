"""Whose turn it is where requests come from several callers.

Callers share the device equally, and within its part those of one caller share equally among themselves
(`shares.EqualShares`). Requests run in the order in which they would end so. A caller that sends a thousand
requests delays one of another caller no more than a single large one would; where there is one caller, all is
as if there were none. (Packet fair queueing in levels; Bennett and Zhang, "Hierarchical packet fair queueing
algorithms", 1996, over the equal shares of `shares.py`.)

What this promises, in the words of `shares.py`: a request whose caller has o tokens to do until it ends, its
own included, ends within the time in which a worker runs

    (8/7 (o + m + (1 + c) b) + b) / W + 2 b

tokens, where c is the number of other callers, and m the sum over them of what each has to do meanwhile, but
at most o of each.

With equal shares, callers that still have something to do get equal work in equal time. So requests of
different callers are compared by the work that their caller has to get before each of them ends.
"""

from bisect import bisect_left, insort
from collections.abc import Iterator
from heapq import merge
from operator import itemgetter

from rerank_proxy.engine.batching.jobs import ScoringRequest, fair_end
from rerank_proxy.engine.batching.shares import EqualShares


class _Caller:
    """The requests of one caller that wait, in the order of their turns, and its part of the device."""

    __slots__ = ("shares", "waiting")

    def __init__(self) -> None:
        self.waiting: list[ScoringRequest] = []
        self.shares = EqualShares()

    def remove(self, request: ScoringRequest) -> None:
        waiting = self.waiting
        at = bisect_left(waiting, request.fair_end, key=fair_end)
        while at < len(waiting) and waiting[at].fair_end == request.fair_end:
            if waiting[at] is request:
                del waiting[at]
                return
            at += 1

    def turns(self) -> Iterator[tuple[float, ScoringRequest]]:
        """Yield the requests in the order of their turns, each with the work that it takes until its end."""
        work_until = self.shares.work_until()
        for request in tuple(self.waiting):
            yield work_until(request.fair_end), request


class Turns:
    """The requests that wait, in the order of their turns. One of which nothing waits may be among them."""

    def __init__(self) -> None:
        self._callers: dict[bytes, _Caller] = {}
        """Those of whom something waits, or would wait with equal shares."""

    def __iter__(self) -> Iterator[ScoringRequest]:
        callers = [caller for caller in self._callers.values() if caller.waiting]
        if len(callers) == 1:
            return iter(tuple(callers[0].waiting))
        ordered = merge(*(caller.turns() for caller in callers), key=itemgetter(0))
        return (request for _, request in ordered)

    @property
    def largest_last_tokens(self) -> int:
        """The tokens of the largest of the requests that come last of each caller's."""
        return max(
            (caller.waiting[-1].size_tokens for caller in self._callers.values() if caller.waiting), default=0
        )

    def enter(self, request: ScoringRequest, work: float) -> None:
        """Add a request with so much work."""
        caller = self._callers.get(request.caller)
        if caller is None:
            caller = self._callers[request.caller] = _Caller()
        request.fair_end = caller.shares.enter(work)
        insort(caller.waiting, request, key=fair_end)

    def remove(self, request: ScoringRequest) -> None:
        """Remove a request of which nothing waits any more; its part of the equal shares was used."""
        caller = self._callers.get(request.caller)
        if caller is not None:
            caller.remove(request)

    def give_up(self, request: ScoringRequest) -> None:
        """Let a request have no more of the equal shares: what it had to do is not done."""
        caller = self._callers.get(request.caller)
        if caller is not None:
            caller.shares.leave(request.fair_end)

    def serve(self, work: float) -> None:
        """Let the device do so much work, of which all callers that have any to do get equal parts."""
        busy = [(each.shares.left, each.shares) for each in self._callers.values() if each.shares.left > 0]
        busy.sort(key=itemgetter(0))  # once, and no rounds: there may be thousands of callers
        part = 0.0  # of each caller, if it has as much left
        for number, (left, _) in enumerate(busy):
            sharing = len(busy) - number
            if sharing == 1 or work < (left - part) * sharing:
                part += work / sharing
                break
            work -= (left - part) * sharing
            part = left
        for left, shares in busy:
            # Of what is left by the rounding of floats there would be no end.
            shares.serve(part) if left > part * (1 + 1e-9) else shares.finish()
        idle = [
            name for name, caller in self._callers.items() if not caller.waiting and caller.shares.left <= 0
        ]
        for name in idle:
            del self._callers[name]

    def ahead_of(self, name: bytes, work: float) -> Iterator[ScoringRequest]:
        """Yield the requests that have their turns before one that came now, in no order.

        Args:
            name: The caller of that one.
            work: That of that one.
        """
        own = self._callers.get(name)
        until_end = work
        if own is not None:
            end = own.shares.end_of(work)
            until_end += own.shares.work_until()(end)
            for request in own.waiting:
                if request.fair_end > end:
                    break
                yield request
        for caller in self._callers.values():
            if caller is own:
                continue
            for until, request in caller.turns():
                if until > until_end:
                    break
                yield request

    def clear(self) -> None:
        """Begin anew: nothing waits any more."""
        self._callers.clear()
