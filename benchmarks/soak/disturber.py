"""What disturbs an engine while it is called: reloads, swaps, reservations, unloading."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from typing import Final

from benchmarks.soak.builds import BROKEN
from benchmarks.soak.models import GUESTS, World
from rerank_proxy.engine import Engine, EngineClosedError, Reservation

_QUIET_S: Final = 0.3
"""The longest time between two disturbances."""


class Disturber:
    """Disturbs one engine, and knows which models are there.

    Args:
        seed: All that is drawn depends on it.
        guests: What the guests are that are there at first.

    Attributes:
        guests: What the guests are that are there now, by name.
        removals: How often each was removed.
        done: How often each disturbance happened.
    """

    def __init__(self, seed: str, world: World, engine: Engine, guests: dict[str, str]) -> None:
        self._rng = random.Random(seed)
        self._world = world
        self._engine = engine
        self.guests = guests
        self.removals: Counter[str] = Counter()
        self.done: Counter[str] = Counter()
        self._kept: str | None = None

    async def run(self) -> None:
        """Disturb until the task is cancelled, or the engine is closed."""
        while True:
            await asyncio.sleep(self._rng.uniform(0, _QUIET_S))
            name, disturb = self._rng.choice(self._disturbances())
            try:
                disturb()
            except EngineClosedError:
                return
            self.done[name] += 1

    def _disturbances(self) -> list[tuple[str, Callable[[], object]]]:
        engine = self._engine
        return [
            ("reloads", engine.reload),
            ("unloads", engine.unload_idle),
            ("retries", lambda: engine.allow(BROKEN)),
            ("comings and goings", lambda: self._come_or_go(self._rng.choice(GUESTS))),
            ("swaps", lambda: self._swap(self._rng.choice(GUESTS))),
            ("reservations", self._reserve),
            ("releases", self._release),
            ("changes of what is kept loaded", self._keep_another),
        ]

    def _come_or_go(self, guest: str) -> None:
        if guest in self.guests:
            self._engine.remove(guest)
            del self.guests[guest]
            self.removals[guest] += 1
        else:
            what = self._rng.choice(sorted(self._world.guests))
            self._engine.add(guest, self._world.guests[what])
            self.guests[guest] = what

    def _swap(self, guest: str) -> None:
        """Put another model in the place of one, under the same name."""
        if guest in self.guests:
            self._come_or_go(guest)
        self._come_or_go(guest)

    def _reserve(self) -> None:
        self._engine.reserve(self._model(), self._holder(), Reservation(1, keep_loaded=False))

    def _release(self) -> None:
        self._engine.release(self._model(), self._holder())

    def _keep_another(self) -> None:
        """Keep one model loaded, and no other: there would be too little memory for the rest."""
        if self._kept is not None:
            self._engine.release(self._kept, "keeps")
        self._kept = self._model()
        self._engine.reserve(self._kept, "keeps", Reservation(None, keep_loaded=True))

    def _model(self) -> str:
        return self._rng.choice(sorted(self._world.models))

    def _holder(self) -> str:
        return self._rng.choice(["one", "another"])
