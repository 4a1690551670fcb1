"""Threads on which the work of many calls takes turns."""

import asyncio
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar, cast

from rerank_proxy.concurrency.steps import Steps

TURN_S: Final = 0.01
"""Seconds of a turn: more than passing it on costs, and too few for a waiting call to notice."""

_T = TypeVar("_T")


class ClosedError(Exception):
    """The threads were closed before the work was done."""


class Turns:
    """Does work in steps. When a turn is over, the other calls that wait have one each, in order of arrival.

    So how long a call waits depends on the number of the others, and not on how much work they have.

    Args:
        clock: In seconds.
    """

    def __init__(self, threads: int, name: str, clock: Callable[[], float] = time.perf_counter) -> None:
        self._pool = ThreadPoolExecutor(threads, name)
        self._clock = clock
        self._turns: set[asyncio.Future[Any]] = set()
        self._closed = False

    async def run(self, steps: Steps[_T]) -> _T:
        """Do the steps and return their result. Cancelled, they end with the turn under way.

        Raises:
            ClosedError: `close` was called.
        """
        loop = asyncio.get_running_loop()
        while not self._closed:
            turn = loop.run_in_executor(self._pool, self._turn, steps)
            self._turns.add(turn)
            try:
                done, result = await turn
            except asyncio.CancelledError:
                task = asyncio.current_task()
                if task is not None and task.cancelling():
                    raise
                break  # `close` cancelled the turn.
            finally:
                self._turns.discard(turn)
            if done:
                return cast("_T", result)
        raise ClosedError

    def close(self) -> None:
        """End all calls. Does not wait for turns under way, which may never return."""
        self._closed = True
        self._pool.shutdown(wait=False, cancel_futures=True)
        for turn in tuple(self._turns):
            turn.cancel()

    def _turn(self, steps: Steps[_T]) -> tuple[bool, _T | None]:
        end = self._clock() + TURN_S
        while True:
            try:
                next(steps)
            except StopIteration as stop:
                return True, stop.value
            if self._clock() >= end:
                return False, None
