"""Time, for all that waits or measures. Tests replace it, and do not wait."""

import asyncio
import random
import re
import time
from typing import Final, Protocol

_SECONDS: Final = re.compile(r"[0-9]{1,9}(?:\.[0-9]{1,9})?")


class Clock(Protocol):
    """Tells the time and waits."""

    def now(self) -> float:
        """Return the seconds of the event loop's clock, which deadlines are on too."""

    def wall(self) -> float:
        """Return the seconds since 1970."""

    async def sleep(self, seconds: float) -> None:
        """Let `seconds` pass."""

    def jitter(self) -> float:
        """Return a random number from 0 to 1."""


class LoopClock:
    """The real time."""

    def now(self) -> float:
        return asyncio.get_running_loop().time()

    def wall(self) -> float:
        return time.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

    def jitter(self) -> float:
        return random.random()


def seconds_of(text: str) -> float | None:
    """Return the seconds that a vendor's text gives as a number; None where it is not a number of seconds."""
    return float(text) if _SECONDS.fullmatch(text) else None
