"""When calls are tried again, and for how long."""

import asyncio
from collections.abc import Sequence
from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.errors import Cause
from rerank_proxy.inference.remote.failures import RemoteFailedError
from rerank_proxy.inference.remote.retries import Retries, retry_after
from rerank_proxy.settings import RemoteSettings
from tests.support.remote import SkippingClock

FAR = 1e9


class Attempts:
    """A call that fails a number of times and then succeeds."""

    def __init__(self, failures: Sequence[Exception]) -> None:
        self.left = list(failures)
        self.made = 0

    async def __call__(self) -> str:
        self.made += 1
        if self.left:
            raise self.left.pop(0)
        return "done"


def busy(after_s: float | None = None) -> RemoteFailedError:
    return RemoteFailedError(429, Cause("status_exception", "busy"), transient=True, retry_after_s=after_s)


async def run(
    attempts: Attempts, deadline: float = FAR, retry_total_s: float = 30
) -> tuple[str | None, list[float]]:
    """Return what the call returned or raised, and the waits."""
    clock = SkippingClock()
    retried: list[int] = []
    try:
        result = await Retries(RemoteSettings(retry_total_s=retry_total_s), clock).run(
            attempts, deadline, lambda: retried.append(1)
        )
    except RemoteFailedError:
        result = None
    assert len(retried) == len(clock.slept) == attempts.made - 1
    return result, clock.slept


async def test_waits_double_up_to_a_limit_and_end_in_time() -> None:
    assert await run(Attempts([busy()] * 5)) == ("done", [1, 2, 4, 5, 5])
    result, waits = await run(Attempts([busy()] * 99))
    assert result is None
    assert sum(waits) < 30


async def test_what_will_not_get_better_is_not_tried_again() -> None:
    attempts = Attempts([RemoteFailedError(401, Cause("status_exception", "who?"))])
    assert await run(attempts) == (None, [])


async def test_the_services_own_wish_counts_when_it_is_longer() -> None:
    assert await run(Attempts([busy(7), busy(0.1)])) == ("done", [7, 2])


async def test_a_wish_that_is_too_long_ends_it_at_once() -> None:
    assert await run(Attempts([busy(31)])) == (None, [])
    deadline = asyncio.get_running_loop().time() + 5
    assert await run(Attempts([busy(6)]), deadline) == (None, [])


async def test_it_can_be_turned_off() -> None:
    assert await run(Attempts([busy()]), retry_total_s=0) == (None, [])


def test_dates_and_seconds() -> None:
    now = 1_700_000_000.0
    assert retry_after({"Retry-After": "7"}, now) == 7
    assert retry_after({"Retry-After": " 1.5 "}, now) == 1.5
    assert retry_after({"Retry-After": formatdate(now + 90, usegmt=True)}, now) == 90
    assert retry_after({"Retry-After": formatdate(now - 90, usegmt=True)}, now) == 0
    assert retry_after({}, now) is None


@pytest.mark.parametrize("text", ["", "soon", "inf", "nan", "Fri, 99 Foo 2026 00:00:00 GMT", "-5"])
def test_other_texts(text: str) -> None:
    assert retry_after({"Retry-After": text}, 0.0) in (None, 0.0)


@given(st.text())
def test_any_text_is_a_wait_or_nothing(text: str) -> None:
    seconds = retry_after({"Retry-After": text}, 0.0)
    assert seconds is None or 0 <= seconds < float("inf")
