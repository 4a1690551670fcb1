"""Waiting for something that another process does."""

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def until(attempt: Callable[[], T | None], timeout_s: float, what: str) -> T:
    """The first answer of `attempt` that is not None."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        answer = attempt()
        if answer is not None:
            return answer
        time.sleep(0.05)  # between two questions to another process, which has nothing to wait on
    raise AssertionError(f"not within {timeout_s} s: {what}")
