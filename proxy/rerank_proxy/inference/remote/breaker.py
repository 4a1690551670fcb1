"""A circuit breaker: an endpoint that keeps failing is given a pause.

It is not one of the libraries because those that know asyncio measure pauses by the wall clock and let every
call through when the pause is over, where one is enough to find out.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rerank_proxy.errors import Cause
from rerank_proxy.inference.remote.clock import Clock
from rerank_proxy.inference.remote.failures import RemoteFailedError


class Breaker:
    """Of one endpoint.

    Args:
        failures: How many in a row open it.
        pause_s: How long it then stays open; after that one call is let through.
        changed: Told 1 when it opens and -1 when it closes.
    """

    def __init__(self, clock: Clock, failures: int, pause_s: float, changed: Callable[[int], None]) -> None:
        self._clock = clock
        self._limit = failures
        self._pause_s = pause_s
        self._changed = changed
        self._failures = 0
        self._open_until: float | None = None
        self._probing = False

    @contextmanager
    def call(self, inference_id: str) -> Iterator[None]:
        """Around one call; its exceptions tell what became of it.

        Raises:
            RemoteFailedError: 400; the endpoint has its pause.
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
            self._probing = False  # cancelled, or never sent: nothing is known
            raise
        else:
            self._worked()

    def close(self) -> None:
        """It is not needed any more."""
        self._worked()

    def _enter(self, inference_id: str) -> None:
        if self._open_until is None:
            return
        remaining = self._open_until - self._clock.now()
        if remaining > 0 or self._probing:
            when = f"in [{remaining:.1f}s]" if remaining > 0 else "when the call that tries it has ended"
            reason = (
                f"Inference endpoint [{inference_id}] is not called at present: its last [{self._failures}] "
                f"calls failed. It will be tried again {when}"
            )
            raise RemoteFailedError(400, Cause("status_exception", reason))
        self._probing = True

    def _failed(self) -> None:
        self._failures += 1
        self._probing = False
        if self._failures >= self._limit:
            if self._open_until is None:
                self._changed(1)
            self._open_until = self._clock.now() + self._pause_s

    def _worked(self) -> None:
        self._failures = 0
        self._probing = False
        if self._open_until is not None:
            self._open_until = None
            self._changed(-1)
