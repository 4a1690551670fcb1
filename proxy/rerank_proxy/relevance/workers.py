"""Work on many things, a few at a time, until all are done or one has failed."""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

T = TypeVar("T")


async def work_on(items: Iterable[T], work: Callable[[T], Awaitable[None]], workers: int) -> None:
    """Do a piece of work for each item.

    Raises:
        Exception: That of the first piece that fails; the others under way are cancelled then.
    """
    ahead = iter(items)

    async def worker() -> None:
        for item in ahead:
            await work(item)

    tasks = [asyncio.create_task(worker()) for _ in range(workers)]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
