"""Episode after episode, and the memory that they leave."""

import asyncio
import gc
import random
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.memory import rss_mib
from benchmarks.soak.episode import Episode, Record
from benchmarks.soak.models import World

MOST_GROWTH_MIB: Final = 32.0
"""By so much may memory seem to grow in a run after its warm-up: allocators keep some of what is freed."""

_WARM_UP: Final = 1 / 3
"""Part of the run in which memory may still grow."""

_LEAST_SAMPLES: Final = 8
_CLOSES: Final = 1 / 4
"""Part of the episodes that end by closing the engine under its calls."""

_SHOWN_S: Final = 5.0


@dataclass(slots=True)
class Soak:
    """A run.

    Args:
        callers: Calls at the same time.
        calls: Of each caller in an episode.
        show: Called with lines about the progress.
    """

    world: World
    seed: int
    callers: int
    calls: int
    show: Callable[[str], None] = print
    record: Record = field(default_factory=Record)
    memory: list[tuple[float, float]] = field(default_factory=list)
    """Seconds since the begin, and MiB, after each episode."""

    async def run(self, goes_on: Callable[[int], bool]) -> Sequence[str]:
        """Run episodes until something does not hold, or `goes_on`, given their number, returns false.

        Returns:
            What does not hold.
        """
        began = time.monotonic()
        asyncio.get_running_loop().set_exception_handler(self._unhandled)
        showing = asyncio.create_task(self._progress(began))
        episodes = 0
        try:
            while goes_on(episodes) and not self.record.findings:
                await self._episode(episodes)
                episodes += 1
                self.memory.append((time.monotonic() - began, rss_mib() or 0.0))
        finally:
            showing.cancel()
        self._check_counts()
        self._check_memory()
        self.show(f"{episodes} episodes, {self.record.line()}")
        return self.record.findings

    async def _episode(self, number: int) -> None:
        name = f"{self.seed}/{number}"
        closes = random.Random(name).random() < _CLOSES
        await Episode(name, self.world, self.record, closes=closes).run(self.callers, self.calls)
        gc.collect()

    async def _progress(self, began: float) -> None:
        while True:
            await asyncio.sleep(_SHOWN_S)
            memory = rss_mib()
            rss = "" if memory is None else f"RSS {memory:.0f} MiB; "
            self.show(f"{time.monotonic() - began:6.0f} s: {rss}{self.record.line()}")

    def _unhandled(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        self.record.findings.append(
            f"an error that no call got: {context['message']}: {context.get('exception')!r}"
        )

    def _check_counts(self) -> None:
        ended = self.record.ends.total()
        if ended != self.record.begun and not self.record.findings:
            self.record.findings.append(f"{self.record.begun} calls began, and {ended} ended")

    def _check_memory(self) -> None:
        growth = growth_mib(self.memory)
        if growth is None:
            self.show(f"too few episodes to tell whether memory grows: {len(self.memory)}")
        else:
            self.show(f"memory grew by {growth:.1f} MiB after the warm-up (at most {MOST_GROWTH_MIB:.0f})")
            if growth > MOST_GROWTH_MIB:
                self.record.findings.append(f"memory grew by {growth:.1f} MiB after the warm-up")


def growth_mib(samples: Sequence[tuple[float, float]]) -> float | None:
    """Return by how much memory grew along the line that fits best, without the warm-up.

    Args:
        samples: Seconds and MiB.

    Returns:
        None if there are too few samples to tell.
    """
    if len(samples) < _LEAST_SAMPLES:
        return None
    steady = samples[int(_WARM_UP * len(samples)) :]
    times, sizes = zip(*steady, strict=True)
    slope, _ = statistics.linear_regression(times, sizes)
    return float(slope * (times[-1] - times[0]))


def until(minutes: float) -> Callable[[int], bool]:
    """Return a condition that holds for so many minutes from now."""
    end = time.monotonic() + 60 * minutes
    return lambda episodes: time.monotonic() < end
