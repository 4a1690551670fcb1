"""Timers by name."""

import asyncio
from contextvars import ContextVar

from rerank_proxy.concurrency.timers import Timers

OF_A_REQUEST: ContextVar[str] = ContextVar("of_a_request", default="nothing")


async def test_a_timer_takes_the_place_of_one_of_its_name() -> None:
    timers = Timers()
    called: list[str] = []
    over = asyncio.Event()
    timers.start("a", 0, lambda: called.append("the first"))
    timers.start("a", 0, lambda: called.append("the second"))
    timers.start("b", 0, over.set)
    await over.wait()
    assert called == ["the second"]


async def test_cancelled_timers_call_nothing() -> None:
    timers = Timers()
    called: list[str] = []
    for name in "ab":
        timers.start(name, 0, lambda: called.append("too late"))
    timers.cancel()
    over = asyncio.Event()
    Timers().start("c", 0, over.set)
    await over.wait()
    assert called == []


async def test_a_timer_holds_nothing_of_the_request_that_starts_it() -> None:
    OF_A_REQUEST.set("a text")
    seen: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    Timers().start("d", 0, lambda: seen.set_result(OF_A_REQUEST.get()))
    assert await seen == "nothing"
