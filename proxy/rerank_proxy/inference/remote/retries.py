"""Retries after a 429, a 5xx or without a connection, ever later, as long as there is time."""

from collections.abc import Awaitable, Callable, Mapping
from email.utils import parsedate_to_datetime
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception

from rerank_proxy.inference.remote.clock import Clock, seconds_of
from rerank_proxy.inference.remote.failures import RemoteFailedError
from rerank_proxy.observe import stages
from rerank_proxy.settings import RemoteSettings

T = TypeVar("T")


class Retries:
    """Retries as the settings say."""

    def __init__(self, settings: RemoteSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock

    async def run(
        self, attempt: Callable[[], Awaitable[T]], deadline: float, retried: Callable[[], None]
    ) -> T:
        """Return what `attempt` returns in the end. Where another attempt would be too late, raise the
        failure of the last one.

        Args:
            retried: Called before each further attempt.
        """

        async def as_coroutine() -> T:
            return await attempt()  # which tenacity would not take for a coroutine function if it is a lambda

        last_start = min(deadline, self._clock.now() + self._settings.retry_total_s)
        return await AsyncRetrying(
            retry=retry_if_exception(_is_transient),
            wait=self._wait,
            stop=lambda state: self._clock.now() + state.upcoming_sleep >= last_start,
            before_sleep=lambda state: retried(),
            sleep=self._sleep,
            reraise=True,
        )(as_coroutine)

    async def _sleep(self, seconds: float) -> None:
        with stages.stage("score"):
            await self._clock.sleep(seconds)

    def _wait(self, state: RetryCallState) -> float:
        """Return seconds to wait, half of them random, so that calls which failed together are spread out."""
        settings = self._settings
        doubled = settings.retry_initial_s * 2.0 ** min(state.attempt_number - 1, 30)
        wait_s = min(doubled, settings.retry_max_s) * (0.5 + 0.5 * self._clock.jitter())
        failure = state.outcome.exception() if state.outcome is not None else None
        asked_s = failure.retry_after_s if isinstance(failure, RemoteFailedError) else None
        return wait_s if asked_s is None else max(wait_s, asked_s)


def _is_transient(failure: BaseException) -> bool:
    return isinstance(failure, RemoteFailedError) and failure.transient


def retry_after(headers: Mapping[str, str], wall: float) -> float | None:
    """Return the seconds that `Retry-After` asks for, as a number or a date; None where it asks for none.

    Args:
        wall: The time now, in seconds since 1970.
    """
    text = headers.get("Retry-After", "").strip()
    if (seconds := seconds_of(text)) is not None:
        return seconds
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - wall)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
