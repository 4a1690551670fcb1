"""Threads on which the work of many calls takes turns."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Final, TypeVar, cast

from rerank_proxy.concurrency.steps import Steps

TURN_S: Final = 0.01
"""Seconds after which others have their turn: more than passing it on costs, less than anyone notices."""

_T = TypeVar("_T")


class ClosedError(Exception):
    """The threads were closed before the work was done."""


class Turns:
    """Does work in steps. When a turn is over, the other calls that wait have one each, as they came.

    So what a call waits for is the number of the others, and not how much they want done.

    Args:
        clock: In seconds.
    """

    def __init__(self, threads: int, name: str, clock: Callable[[], float] = time.perf_counter) -> None:
        self._pool = ThreadPoolExecutor(threads, name)
        self._clock = clock
        self._closed = False

    async def run(self, steps: Steps[_T]) -> _T:
        """The result of the steps. Cancelled, they end with the turn under way.

        Raises:
            ClosedError: `close` was called.
        """
        loop = asyncio.get_running_loop()
        while not self._closed:
            try:
                done, result = await loop.run_in_executor(self._pool, self._turn, steps)
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                break  # a turn that waited when the threads were closed
            if done:
                return cast("_T", result)
        raise ClosedError

    def close(self) -> None:
        """End all work. Does not wait for a turn under way, which may have no end."""
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _turn(self, steps: Steps[_T]) -> tuple[bool, _T | None]:
        end = self._clock() + TURN_S
        while True:
            try:
                next(steps)
            except StopIteration as stop:
                return True, stop.value
            if self._clock() >= end:
                return False, None
