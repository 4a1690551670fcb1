"""Other processes: whether they run, and waiting for what they do."""

import asyncio
from collections.abc import Callable
from pathlib import Path

from tests.support.raw_http import TIMEOUT_S


async def until(condition: Callable[[], bool], what: str) -> None:
    """Wait for another process; there is nothing to wait on but time."""
    try:
        async with asyncio.timeout(TIMEOUT_S):
            while not condition():  # noqa: ASYNC110  # see above
                await asyncio.sleep(0.01)
    except TimeoutError:
        raise AssertionError(f"not in time: {what}") from None


def is_running(pid: int) -> bool:
    """Zombies do not run."""
    return state(pid) not in ("Z", "")


def state(pid: int) -> str:
    """As the system tells it, for example `T` of a process that is stopped; nothing when there is none."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return ""
