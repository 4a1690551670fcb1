"""Calls of one account and model in a minute."""

import asyncio
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.concurrency.deadline import Deadline
from rerank_proxy.inference.failures import InferenceFailedError
from rerank_proxy.inference.remote.rate_limit import RateLimit
from rerank_proxy.upstream import callers
from tests.support.endpoints import LATE


def at(time: float) -> Deadline:
    return replace(LATE, at=time)


class Clock:
    """A clock that only sleeping advances."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.sleeping: list[asyncio.Future[None]] = []
        self.instant = True

    def now(self) -> float:
        return self.time

    def wall(self) -> float:
        return self.time

    async def sleep(self, seconds: float) -> None:
        if self.instant:
            self.time += seconds
            return
        sleep = asyncio.get_running_loop().create_future()
        self.sleeping.append(sleep)
        await sleep

    def jitter(self) -> float:
        return 1.0


@given(st.integers(1, 200), st.integers(1, 300), st.lists(st.floats(0, 100), max_size=300))
async def test_never_more_than_the_limit_allows(per_minute: int, calls: int, pauses: list[float]) -> None:
    clock = Clock()
    limit = RateLimit(clock, 10)
    went: list[float] = []
    for number in range(calls):
        clock.time += pauses[number] if number < len(pauses) else 0.0
        await limit.acquire("mine", per_minute, LATE)
        went.append(clock.time)
    for number, time in enumerate(went):
        since = [earlier for earlier in went[: number + 1] if earlier > time - 60]
        assert len(since) <= 2 * per_minute
    assert calls <= per_minute * (1 + (went[-1] - 1000) / 60) + 1e-3


async def test_a_minutes_worth_goes_at_once_and_the_next_after_its_share() -> None:
    clock = Clock()
    limit = RateLimit(clock, 10)
    for _ in range(30):
        await limit.acquire("mine", 30, LATE)
    assert clock.time == 1000
    await limit.acquire("mine", 30, LATE)
    assert clock.time == pytest.approx(1002)


async def test_who_would_be_too_late_is_told_at_once() -> None:
    clock = Clock()
    limit = RateLimit(clock, 10)
    await limit.acquire("mine", 1, at(clock.time + 1))
    with pytest.raises(InferenceFailedError) as raised:
        await limit.acquire("mine", 1, at(clock.time + 59))
    assert (raised.value.status, raised.value.cause.type) == (429, "es_rejected_execution_exception")
    assert str(raised.value) == (
        "Rejected by the rate limit of [1] requests per minute of inference endpoint [mine]: the next call "
        "could go in [60.0s], after [search.timeout_s: 30s]. Raise [rate_limit.requests_per_minute], or send "
        "less"
    )
    await limit.acquire("mine", 1, at(clock.time + 61))
    assert clock.time == pytest.approx(1060)


async def test_the_queue_has_an_end_and_who_leaves_it_makes_room() -> None:
    clock = Clock()
    clock.instant = False
    limit = RateLimit(clock, 1)
    await limit.acquire("mine", 1, LATE)
    waiting = asyncio.create_task(limit.acquire("mine", 1, LATE))
    await asyncio.sleep(0)
    with pytest.raises(InferenceFailedError, match=r"\[1\] calls wait already"):
        await limit.acquire("mine", 1, LATE)
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    clock.instant = True
    await limit.acquire("mine", 1, LATE)
    assert clock.time == pytest.approx(1060)  # the place of the one that left


async def test_endpoints_of_one_account_may_have_limits_of_their_own() -> None:
    clock = Clock()
    limit = RateLimit(clock, 10)
    await limit.acquire("slow", 1, LATE)
    await limit.acquire("fast", 60, LATE)
    assert clock.time == pytest.approx(1001)


class TestCallers:
    """One caller with many calls hardly delays another one."""

    async def waiting(
        self, limit: RateLimit, caller: bytes, gone: list[bytes], deadline: Deadline = LATE
    ) -> asyncio.Task[None]:
        async def call() -> None:
            callers.enter(lambda: caller)
            await limit.acquire("mine", 60, deadline)
            gone.append(caller)

        task = asyncio.create_task(call())
        await asyncio.sleep(0)
        return task

    async def run(self, clock: Clock, tasks: list[asyncio.Task[None]]) -> None:
        """Let a second pass at a time until all calls have ended."""
        while not all(task.done() for task in tasks):
            clock.time += 1.0
            for sleep in clock.sleeping:
                sleep.set_result(None)
            clock.sleeping.clear()
            for _ in range(3):
                await asyncio.sleep(0)

    async def test_they_take_turns(self) -> None:
        clock, gone = Clock(), list[bytes]()
        limit = RateLimit(clock, 100)
        for _ in range(60):
            await limit.acquire("mine", 60, LATE)
        clock.instant = False
        tasks = [await self.waiting(limit, b"a", gone) for _ in range(10)]
        tasks += [await self.waiting(limit, b"b", gone) for _ in range(2)]
        tasks += [await self.waiting(limit, b"c", gone)]
        await self.run(clock, tasks)
        assert clock.time == 1013
        assert b"".join(gone) == b"abcab" + b"a" * 8

    async def test_one_leaves_places_to_others(self) -> None:
        clock, gone = Clock(), list[bytes]()
        limit = RateLimit(clock, 4)
        for _ in range(60):
            await limit.acquire("mine", 60, LATE)
        clock.instant = False
        tasks = [await self.waiting(limit, b"a", gone) for _ in range(5)]
        tasks += [await self.waiting(limit, caller, gone) for caller in (b"b", b"c", b"a")]
        await self.run(clock, tasks)
        refused = [task.exception() is not None for task in tasks]
        assert refused == [False] * 4 + [True, False, False, True]

    async def test_who_is_put_off_for_too_long_is_told(self) -> None:
        clock, gone = Clock(), list[bytes]()
        limit = RateLimit(clock, 100)
        for _ in range(60):
            await limit.acquire("mine", 60, LATE)
        clock.instant = False
        soon = at(clock.time + 2.5)
        tasks = [await self.waiting(limit, b"a", gone, soon) for _ in range(2)]
        tasks += [await self.waiting(limit, b"b", gone) for _ in range(2)]
        await self.run(clock, tasks)
        assert b"".join(gone) == b"abb"
        with pytest.raises(InferenceFailedError, match="could go in"):
            await tasks[1]
