"""A token bucket that knows how long a caller would have to wait.

The common limiters for asyncio let callers wait without telling for how long. This one refuses a caller whose
turn would come after its deadline right away, and bounds the number of those who wait.
"""

from typing import Final

from rerank_proxy.concurrency.deadline import Deadline
from rerank_proxy.errors import Cause
from rerank_proxy.inference.failures import InferenceFailedError, because
from rerank_proxy.inference.remote.clock import Clock
from rerank_proxy.observe import stages

_MINUTE_S: Final = 60.0


class RateLimit:
    """The rate limit of one account and model. After an idle minute, the calls of a minute may go together.

    Args:
        queue: The most callers that may wait.
    """

    def __init__(self, clock: Clock, queue: int) -> None:
        self._clock = clock
        self._queue = queue
        self._waiting = 0
        self._full_at: float | None = None
        """When the bucket would be full again without further calls."""

    async def acquire(self, inference_id: str, requests_per_minute: int, deadline: Deadline) -> None:
        """Wait for the caller's turn.

        Raises:
            InferenceFailedError: 429; too many wait, or its turn would come after the deadline.
        """
        now = self._clock.now()
        interval = _MINUTE_S / requests_per_minute
        full_at = max(now, self._full_at if self._full_at is not None else now) + interval
        wait_s = full_at - _MINUTE_S - now
        # Rounding must not make the last call of a full bucket wait.
        if wait_s <= interval * 1e-6:
            self._full_at = full_at
            return
        limit = f"[{requests_per_minute}] requests per minute of inference endpoint [{inference_id}]"
        if self._waiting >= self._queue:
            raise _rejected(f"{limit}: [{self._waiting}] calls wait already")
        if now + wait_s > deadline.at:
            raise _rejected(f"{limit}: the next call could go in [{wait_s:.1f}s], after {deadline.limit}")
        self._full_at = full_at
        await self._wait(wait_s, interval)

    async def _wait(self, seconds: float, interval: float) -> None:
        self._waiting += 1
        try:
            with stages.stage("queue", "queue"):
                await self._clock.sleep(seconds)
        except BaseException:
            # Its place goes to the next caller.
            if self._full_at is not None:
                self._full_at -= interval
            raise
        finally:
            self._waiting -= 1


def _rejected(limit: str) -> InferenceFailedError:
    reason = f"Rejected by the rate limit of {limit}. Raise [rate_limit.requests_per_minute], or send less"
    failure = InferenceFailedError(429, Cause("es_rejected_execution_exception", reason))
    return because("rate_limit", failure)
