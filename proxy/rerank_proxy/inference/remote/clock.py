"""Time, for whatever waits or measures: replaced in tests, which do not wait."""

import asyncio
import random
import time
from typing import Protocol


class Clock(Protocol):
    def now(self) -> float:
        """Seconds, on the event loop's clock, which deadlines are on too."""

    def wall(self) -> float:
        """Seconds since 1970."""

    async def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""

    def jitter(self) -> float:
        """A random number from 0 to 1."""


class LoopClock:
    """The real one."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def wall(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def jitter(self) -> float:
        return random.random()
