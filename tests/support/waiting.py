"""Waiting for what has no event of its own, or is done by another process."""

import asyncio
import time
from collections.abc import Callable
from typing import Final, TypeVar

from tests.support.raw_http import TIMEOUT_S

T = TypeVar("T")

_FIRST_PAUSE_S: Final = 0.001
_LONGEST_PAUSE_S: Final = 0.02


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
    """Let the event loop turn until something holds; there is nothing to wait on but time.

    It is asked less often the longer it takes: what another process needs seconds for is not to be held up by
    the questions.
    """
    pause_s = _FIRST_PAUSE_S
    try:
        async with asyncio.timeout(TIMEOUT_S):
            while not condition():  # see above
                await asyncio.sleep(pause_s)
                pause_s = min(1.2 * pause_s, _LONGEST_PAUSE_S)
    except TimeoutError:
        raise AssertionError(f"not in time: {what}") from None
