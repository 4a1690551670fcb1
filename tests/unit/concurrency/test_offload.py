"""Long work leaves the event loop, one piece at a time; short work stays."""

import asyncio
import threading
from functools import partial

import pytest

from rerank_proxy.concurrency.offload import INLINE_BYTES, answer_size, offload

LONG = INLINE_BYTES + 1


async def test_what_is_short_is_done_at_once() -> None:
    assert await offload(INLINE_BYTES, threading.get_ident) == threading.get_ident()


async def test_what_is_long_is_done_by_one_worker() -> None:
    workers = await asyncio.gather(*(offload(LONG, threading.get_ident) for _ in range(4)))
    assert len(set(workers)) == 1
    assert threading.get_ident() not in workers


async def test_the_loop_turns_meanwhile_and_short_work_does_not_wait() -> None:
    go_on = threading.Event()
    long = asyncio.create_task(offload(LONG, go_on.wait))
    while not await offload(0, lambda: True):
        pass
    assert not long.done()
    go_on.set()
    assert await long


@pytest.mark.parametrize("size", [0, LONG])
async def test_arguments_go_along_and_failures_come_back(size: int) -> None:
    assert await offload(size, partial(int, base=2), "101") == 5
    assert await offload(size, int, "101", base=2) == 5
    with pytest.raises(ValueError, match="invalid literal"):
        await offload(size, int, "x")


async def test_who_leaves_does_not_hold_up_the_next() -> None:
    go_on = threading.Event()
    first = asyncio.create_task(offload(LONG, go_on.wait))
    await asyncio.sleep(0)
    first.cancel()
    go_on.set()
    assert await offload(LONG, lambda: "done") == "done"


def test_answers_count_for_a_part() -> None:
    assert answer_size(b"x" * 16 * INLINE_BYTES) == INLINE_BYTES
