"""A circuit breaker: calls of an endpoint that keeps failing fail without being sent.

Libraries for this that support asyncio measure by the wall clock how long a circuit is open, and then let
every call through, where one is enough to find out.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rerank_proxy.errors import Cause
from rerank_proxy.inference.remote.clock import Clock
from rerank_proxy.inference.remote.failures import RemoteFailedError


class CircuitBreaker:
    """The circuit breaker of one endpoint.

    Args:
        failures: How many in a row open the circuit.
        open_s: Seconds for which it then stays open; after that one call is let through to try.
        changed: Called with 1 when the circuit opens and with -1 when it closes.
    """

    def __init__(self, clock: Clock, failures: int, open_s: float, changed: Callable[[int], None]) -> None:
        self._clock = clock
        self._limit = failures
        self._open_s = open_s
        self._changed = changed
        self._failures = 0
        self._open_until: float | None = None
        self._trying = False

    @contextmanager
    def call(self, inference_id: str) -> Iterator[None]:
        """Stand around one call, whose exceptions tell what became of it.

        Raises:
            RemoteFailedError: 400; the circuit is open.
        """
        self._enter(inference_id)
        try:
            yield
        except RemoteFailedError as failure:
            if failure.outage:
                self._failed()
            else:
                self._worked()
            raise
        except BaseException:
            self._trying = False  # cancelled, or never sent: nothing is known
            raise
        else:
            self._worked()

    def close(self) -> None:
        """Close the circuit, when the endpoint is closed."""
        self._worked()

    def _enter(self, inference_id: str) -> None:
        if self._open_until is None:
            return
        remaining = self._open_until - self._clock.now()
        if remaining > 0 or self._trying:
            when = f"in [{remaining:.1f}s]" if remaining > 0 else "when the call that tries it has ended"
            reason = (
                f"Inference endpoint [{inference_id}] is not called at present: its last [{self._failures}] "
                f"calls failed. It will be tried again {when}"
            )
            raise RemoteFailedError(400, Cause("status_exception", reason), why="breaker_open")
        self._trying = True

    def _failed(self) -> None:
        self._failures += 1
        self._trying = False
        if self._failures >= self._limit:
            if self._open_until is None:
                self._changed(1)
            self._open_until = self._clock.now() + self._open_s

    def _worked(self) -> None:
        self._failures = 0
        self._trying = False
        if self._open_until is not None:
            self._open_until = None
            self._changed(-1)
