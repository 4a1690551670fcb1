"""Tasks side by side and in the background."""

import asyncio
from contextlib import suppress

import pytest

from rerank_proxy.concurrency.tasks import BackgroundTasks, side_by_side


class TestSideBySide:
    async def test_results_come_in_the_order_of_the_calls(self) -> None:
        first_may_end = asyncio.Event()

        async def first() -> str:
            await first_may_end.wait()
            return "first"

        async def second() -> str:
            first_may_end.set()
            return "second"

        assert await side_by_side([first(), second()]) == ["first", "second"]

    async def test_nothing_to_run(self) -> None:
        assert await side_by_side([]) == []

    async def test_a_failure_cancels_the_others_and_is_raised_as_it_is(self) -> None:
        ended: list[str] = []
        waits = asyncio.Event()

        async def waiting() -> None:
            try:
                waits.set()
                await asyncio.Event().wait()
            finally:
                ended.append("waiting")

        async def failing() -> None:
            await waits.wait()
            raise KeyError("as it is")

        with pytest.raises(KeyError, match="as it is"):
            await side_by_side([waiting(), failing()])
        assert ended == ["waiting"]

    async def test_being_cancelled_cancels_all(self) -> None:
        ended: list[int] = []
        begun = asyncio.Semaphore(0)

        async def waiting(number: int) -> None:
            try:
                begun.release()
                await asyncio.Event().wait()
            finally:
                ended.append(number)

        whole = asyncio.create_task(side_by_side([waiting(1), waiting(2)]))
        for _ in range(2):
            await begun.acquire()
        whole.cancel()
        with pytest.raises(asyncio.CancelledError):
            await whole
        assert sorted(ended) == [1, 2]


class TestBackgroundTasks:
    async def test_a_task_is_held_until_it_ends(self) -> None:
        tasks = BackgroundTasks()
        may_end = asyncio.Event()
        tasks.start(_set_after(may_end))
        assert len(tasks) == 1
        may_end.set()
        await tasks.finish()
        assert len(tasks) == 0

    async def test_finish_waits_for_what_a_task_starts_too(self) -> None:
        tasks = BackgroundTasks()
        done: list[str] = []

        async def later() -> None:
            done.append("later")

        async def first() -> None:
            tasks.start(later())

        tasks.start(first())
        await tasks.finish()
        assert done == ["later"]

    async def test_a_failure_reaches_those_who_wait_for_the_task_alone(self) -> None:
        tasks = BackgroundTasks()

        async def failing() -> None:
            raise KeyError

        task = tasks.start(failing())
        await tasks.finish()
        with pytest.raises(KeyError):
            await task

    async def test_cancel_ends_all(self) -> None:
        tasks = BackgroundTasks()
        task = tasks.start(_set_after(asyncio.Event()))
        await tasks.cancel()
        assert task.cancelled()
        with suppress(asyncio.CancelledError):
            await task


async def _set_after(event: asyncio.Event) -> None:
    await event.wait()
