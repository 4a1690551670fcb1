"""Waiting for what has no event of its own, or is done by another process."""

import asyncio
import time
from collections.abc import Callable
from typing import TypeVar

from tests.support.raw_http import TIMEOUT_S

T = TypeVar("T")


def until(attempt: Callable[[], T | None], what: str) -> T:
    """Return the first answer of `attempt` that is not None."""
    deadline = time.monotonic() + TIMEOUT_S
    while time.monotonic() < deadline:
        answer = attempt()
        if answer is not None:
            return answer
        time.sleep(0.05)  # between two questions to another process, which has nothing to wait on
    raise AssertionError(f"not in time: {what}")


async def until_true(condition: Callable[[], bool], what: str = "what was waited for") -> None:
    """Let the event loop turn until something holds; there is nothing to wait on but time."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            while not condition():  # noqa: ASYNC110  # see above
                await asyncio.sleep(0.001)
    except TimeoutError:
        raise AssertionError(f"not in time: {what}") from None
