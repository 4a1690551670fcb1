"""A token bucket that knows how long a call would have to wait, and whose callers take turns.

The common limiters for asyncio let calls wait without telling for how long, and in the order in which they
came: a caller with a hundred of them would have the limit for itself. Here the first call that waits of each
caller comes before the second one of any. A call whose turn would come after its deadline is refused right
away, or once the turns of others have put it off so far; and the number of those that wait is bounded.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Final

from rerank_proxy.concurrency.deadline import Deadline
from rerank_proxy.engine.batching.room import Room
from rerank_proxy.errors import Cause
from rerank_proxy.inference.failures import InferenceFailedError, because
from rerank_proxy.inference.remote.clock import Clock
from rerank_proxy.observe import stages
from rerank_proxy.upstream import callers

_MINUTE_S: Final = 60.0
_SHARE: Final = 0.5
"""The part of the places that one caller may have while others wait."""


@dataclass(slots=True, eq=False)
class _Waiting:
    """A call that waits, and when its turn is."""

    caller: bytes
    at: float


class RateLimit:
    """The rate limit of one account and model. After an idle minute, the calls of a minute may go together.

    Args:
        queue: The most calls that may wait.
    """

    def __init__(self, clock: Clock, queue: int) -> None:
        self._clock = clock
        self._room = Room(queue, _SHARE)
        self._waiting: list[_Waiting] = []
        """In the order of their turns."""
        self._full_at: float | None = None
        """When the bucket would be full again without further calls."""

    async def acquire(self, inference_id: str, requests_per_minute: int, deadline: Deadline) -> None:
        """Wait for the call's turn, in the name of the current caller.

        Raises:
            InferenceFailedError: 429; too many wait, or its turn would come after the deadline.
        """
        now = self._clock.now()
        interval = _MINUTE_S / requests_per_minute
        full_at = max(now, self._full_at if self._full_at is not None else now) + interval
        last_at = full_at - _MINUTE_S
        # Rounding must not make the last call of a full bucket wait.
        if last_at - now <= interval * 1e-6:
            self._full_at = full_at
            return
        limit = f"[{requests_per_minute}] requests per minute of inference endpoint [{inference_id}]"
        caller = callers.current()
        if self._room.refusal(caller, 1) is not None:
            raise _rejected(f"{limit}: [{len(self._waiting)}] calls wait already")
        place = self._place(caller)
        turns = sorted([*(each.at for each in self._waiting), last_at])
        if turns[place] > deadline.at:
            raise _too_late(limit, turns[place] - now, deadline)
        self._full_at = full_at
        call = _Waiting(caller, turns[place])
        self._waiting.insert(place, call)
        for each, at in zip(self._waiting[place:], turns[place:], strict=True):
            each.at = at
        await self._wait(call, interval, limit, deadline)

    def _place(self, caller: bytes) -> int:
        """Return where a caller's n-th call comes in: after the n-th of each other one."""
        own = self._room.held_by(caller)
        before = Counter[bytes]()
        for place, each in enumerate(self._waiting):
            if before[each.caller] > own:
                return place
            before[each.caller] += 1
        return len(self._waiting)

    async def _wait(self, call: _Waiting, interval: float, limit: str, deadline: Deadline) -> None:
        self._room.add(call.caller, 1)
        try:
            with stages.stage("queue", "queue"):
                while (left_s := call.at - self._clock.now()) > interval * 1e-6:
                    if call.at > deadline.at:
                        raise _too_late(limit, left_s, deadline)
                    await self._clock.sleep(left_s)
        except BaseException:
            # Its place goes to the next call.
            if self._full_at is not None:
                self._full_at -= interval
            raise
        finally:
            self._waiting.remove(call)
            self._room.add(call.caller, -1)


def _too_late(limit: str, wait_s: float, deadline: Deadline) -> InferenceFailedError:
    return _rejected(f"{limit}: the next call could go in [{wait_s:.1f}s], after {deadline.limit}")


def _rejected(limit: str) -> InferenceFailedError:
    reason = f"Rejected by the rate limit of {limit}. Raise [rate_limit.requests_per_minute], or send less"
    failure = InferenceFailedError(429, Cause("es_rejected_execution_exception", reason))
    return because("rate_limit", failure)
