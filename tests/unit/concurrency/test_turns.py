"""Work in steps, beside that of others."""

import asyncio
import threading
from collections.abc import Iterator
from itertools import count

import pytest

from rerank_proxy.concurrency.steps import Steps, gather, run_at_once
from rerank_proxy.concurrency.turns import TURN_S, ClosedError, Turns
from tests.support.raw_http import TIMEOUT_S


def work(name: str, steps: int, log: list[str]) -> Steps[str]:
    for _ in range(steps):
        log.append(name)
        yield
    return name


@pytest.fixture
def turns() -> Iterator[Turns]:
    """A turn is over after two steps."""
    clock = count()
    turns = Turns(1, "test", lambda: next(clock) * TURN_S / 2)
    yield turns
    turns.close()


async def test_small_work_does_not_wait_for_large_work(turns: Turns) -> None:
    log: list[str] = []
    large = asyncio.create_task(turns.run(work("large", 10_000, log)))
    await asyncio.sleep(0)
    assert await turns.run(work("small", 3, log)) == "small"
    assert log.count("large") < 20
    large.cancel()
    assert (await asyncio.gather(large, return_exceptions=True))[0].__class__ is asyncio.CancelledError


async def test_large_works_take_turns(turns: Turns) -> None:
    log: list[str] = []
    names = await asyncio.gather(*(turns.run(work(name, 100, log)) for name in "abc"))
    assert names == list("abc")
    assert set(log[:30]) == set("abc")


async def test_what_is_given_up_is_not_gone_on_with(turns: Turns) -> None:
    log: list[str] = []
    given_up = asyncio.create_task(turns.run(work("x", 10_000, log)))
    await asyncio.sleep(0)
    given_up.cancel()
    await turns.run(work("other", 100, log))
    assert log.count("x") < 10


async def test_closing_ends_work(turns: Turns) -> None:
    running = asyncio.create_task(turns.run(work("x", 10_000, [])))
    await asyncio.sleep(0)
    turns.close()
    with pytest.raises(ClosedError):
        await running
    with pytest.raises(ClosedError):
        await turns.run(work("x", 1, []))


async def test_closing_ends_a_call_whose_turn_never_returns(turns: Turns) -> None:
    entered, opened = threading.Event(), threading.Event()

    def hanging() -> Steps[None]:
        entered.set()
        assert opened.wait(TIMEOUT_S)
        yield

    running = asyncio.create_task(turns.run(hanging()))
    assert await asyncio.to_thread(entered.wait, TIMEOUT_S)
    turns.close()
    with pytest.raises(ClosedError):
        await running
    assert not opened.is_set()
    opened.set()


async def test_a_fault_is_the_callers(turns: Turns) -> None:
    def broken() -> Steps[None]:
        yield
        raise ValueError("broken")

    with pytest.raises(ValueError, match="broken"):
        await turns.run(broken())
    assert await turns.run(work("next", 1, [])) == "next"


def test_gathering_ends_with_what_begins_again() -> None:
    class Again:
        def __init__(self) -> None:
            self.at = 0

        def __iter__(self) -> "Again":
            return self

        def __next__(self) -> int:
            self.at = (self.at + 1) % 1025
            if self.at == 0:
                raise StopIteration
            return self.at

    assert run_at_once(gather(Again())) == list(range(1, 1025))
