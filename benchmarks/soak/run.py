"""Episode after episode, and what they leave."""

import asyncio
import logging
import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from benchmarks.memory import rss_mib
from benchmarks.soak.episode import Ending, Episode, Record
from benchmarks.soak.leftovers import Sample, growths
from benchmarks.soak.models import World

_ENDINGS: Final[dict[Ending, int]] = {"idle": 13, "closed": 5, "hung": 2}
"""How often each is drawn, in 20 episodes."""

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
    samples: list[Sample] = field(default_factory=list)
    """After each episode."""

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
            with _counting_evictions(self.record.disturbances):
                while goes_on(episodes) and not self.record.findings:
                    await self._episode(episodes)
                    episodes += 1
                    self.samples.append(Sample.now(time.monotonic() - began))
        finally:
            showing.cancel()
        self._check_counts()
        self._check_growth()
        self.show(f"{episodes} episodes, {self.record.line()}")
        self.show("scored: " + ", ".join(f"{count} {name}" for name, count in self.record.scored.items()))
        return self.record.findings

    async def _episode(self, number: int) -> None:
        name = f"{self.seed}/{number}"
        (ending,) = random.Random(name).choices(list(_ENDINGS), list(_ENDINGS.values()))
        await Episode(name, self.world, self.record, ending).run(self.callers, self.calls)

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

    def _check_growth(self) -> None:
        grown = growths(self.samples)
        if grown is None:
            self.show(f"too few episodes to tell whether anything grows: {len(self.samples)}")
            return
        for bound, growth in grown:
            self.show(f"{growth:+.1f} {bound.what} after the warm-up (at most {bound.most:g})")
            if growth > bound.most:
                self.record.findings.append(f"{growth:+.1f} {bound.what} after the warm-up")


@contextmanager
def _counting_evictions(counts: Counter[str]) -> Iterator[None]:
    """Count the models that are unloaded within because others need their memory: the log alone tells."""
    log = logging.getLogger("rerank_proxy.engine.model")

    def count(record: logging.LogRecord) -> bool:
        counts["evictions"] += "(engine.model_memory)" in record.msg
        return log.parent is None or log.parent.isEnabledFor(record.levelno)

    level = log.level
    log.setLevel(logging.INFO)
    log.addFilter(count)
    try:
        yield
    finally:
        log.removeFilter(count)
        log.setLevel(level)


def until(minutes: float) -> Callable[[int], bool]:
    """Return a condition that holds for so many minutes from now."""
    end = time.monotonic() + 60 * minutes
    return lambda episodes: time.monotonic() < end
