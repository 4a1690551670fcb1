"""Many pieces of work, a few at a time."""

import asyncio

import pytest

from rerank_proxy.relevance.workers import work_on


@pytest.mark.parametrize("workers", [1, 3, 20])
async def test_no_more_than_so_many_are_under_way(workers: int) -> None:
    under_way, most, done = 0, 0, []

    async def work(item: int) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        done.append(item)
        under_way -= 1

    await work_on(range(9), work, workers)
    assert sorted(done) == [*range(9)]
    assert most == min(workers, 9)


async def test_the_first_failure_ends_all() -> None:
    """Those under way are cancelled, and none is begun after it."""
    begun, cancelled = [], []

    async def work(item: int) -> None:
        begun.append(item)
        try:
            await (asyncio.sleep(0) if item == 1 else asyncio.Event().wait())
        except asyncio.CancelledError:
            cancelled.append(item)
            raise
        raise ValueError(item)

    with pytest.raises(ValueError, match="1"):
        await work_on(range(9), work, 3)
    assert begun == [0, 1, 2]
    assert cancelled == [0, 2]
