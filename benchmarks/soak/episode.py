"""An episode of a soak run: an engine, many callers at once, and what disturbs them."""

import asyncio
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from sys import getsizeof
from typing import Any, Final

from prometheus_client import CollectorRegistry

from benchmarks.soak.calls import Around, Call, draw, fits, wrong_scores
from benchmarks.soak.models import BROKEN, GUESTS, PLUGIN, World
from rerank_proxy.engine import Engine, EngineError, Reservation, Scores
from rerank_proxy.settings import EngineSettings

_QUEUE_BYTES: Final = 1_000_000
_QUEUE_TOKENS: Final = 20_000
_LARGEST_MODELS: Final = 5.5
"""What the memory for weights is, in weights of the largest model: too little for all, enough for two of a
model that is loaded again."""

_HANGS_S: Final = 120.0
"""Seconds after which a call counts as lost: hundreds of times as long as one usually takes."""

_POISONED: Final = 2
"""Calls with a text that makes a batch fail that may be under way: with many, the engine gives up looking for
the texts that are at fault, and fails those beside them too."""


_QUIET_S: Final = 0.3
"""The longest time between two disturbances."""


@dataclass(slots=True)
class Record:
    """What has happened so far in all episodes.

    Attributes:
        begun: Calls that were made.
        ends: How the others ended: the name of an error, or `scored`.
        findings: What does not hold.
    """

    begun: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    disturbances: Counter[str] = field(default_factory=Counter)
    findings: list[str] = field(default_factory=list)

    def line(self) -> str:
        """Return the numbers in a line."""
        counts = {**self.ends, **self.disturbances}
        return f"{self.begun} calls: " + ", ".join(f"{counts[name]} {name}" for name in sorted(counts))


class Episode:
    """One engine, from its start until it is closed.

    Args:
        name: Of the episode; with the seed, all that is drawn depends on it.
        closes: Close the engine under its calls.
    """

    def __init__(self, name: str, world: World, record: Record, *, closes: bool) -> None:
        self._name = name
        self._world = world
        self._record = record
        self._closes = closes
        self._registry = CollectorRegistry()
        settings = EngineSettings(
            device="cpu",
            offline=True,
            queue_bytes=_QUEUE_BYTES,
            queue_tokens=_QUEUE_TOKENS,
            cache_bytes=100_000,
            idle_unload_s=0.5,
            model_memory=int(_LARGEST_MODELS * world.weights_bytes),
        )
        self._engine = Engine(world.models, settings, self._registry)
        self._present = set(world.models)
        self._removals: Counter[str] = Counter()
        self._poison = asyncio.Semaphore(_POISONED)
        self._half = asyncio.Event()
        self._half_at = 0
        self._under_way = 0
        self._closed = False

    async def run(self, callers: int, calls: int) -> None:
        """Make so many calls by each of so many callers, and check what is left at the end."""
        before = asyncio.all_tasks()
        self._half_at = self._record.begun + callers * calls // 2
        await self._engine.start()
        disturbing = asyncio.create_task(self._disturb())
        calling = [asyncio.create_task(self._caller(number, calls)) for number in range(callers)]
        if self._closes:
            await self._close_at_half(calling)
        await asyncio.gather(*calling)
        disturbing.cancel()
        await asyncio.gather(disturbing, return_exceptions=True)
        if not self._closes:
            await self._check_idle()
            await self._engine.close()
        await self._check_ended(before)

    async def _caller(self, number: int, calls: int) -> None:
        rng = random.Random(f"{self._name}/{number}")
        for _ in range(calls):
            if self._closed or self._record.findings:
                return
            call = draw(rng, self._world)
            if call.poisoned:
                async with self._poison:
                    await self._make(call)
            else:
                await self._make(call)

    async def _make(self, call: Call) -> None:
        """Make a call, do to it what was drawn, and check how it ends."""
        absent, removals = call.model not in self._present, self._removals[call.model]
        self._record.begun += 1
        if self._record.begun >= self._half_at:
            self._half.set()
        self._under_way += 1
        crowded = self._under_way > 1
        task = asyncio.create_task(self._scores(call))
        cancelled = False
        if call.cancel_s is not None:
            await asyncio.wait([task], timeout=call.cancel_s)
            cancelled = task.cancel()
        await asyncio.wait([task], timeout=_HANGS_S)
        self._under_way -= 1
        removed = absent or self._removals[call.model] != removals
        around = Around(removed, self._closed, crowded or self._under_way > 0)
        self._note(call, task, cancelled, around)

    async def _scores(self, call: Call) -> Scores:
        now = asyncio.get_running_loop().time()
        deadline = None if call.deadline_s is None else now + call.deadline_s
        return await self._engine.scores(call.model, call.query, call.texts, deadline)

    def _note(self, call: Call, task: asyncio.Task[Scores], cancelled: bool, around: Around) -> None:
        """Note how a call ended, and what is wrong with that."""
        if not task.done():
            return self._found(call, f"has not ended after {_HANGS_S:.0f} s")
        if task.cancelled():
            self._record.ends["cancelled"] += 1
            return None if cancelled else self._found(call, "was cancelled by the engine")
        error = task.exception()
        self._record.ends["scored" if error is None else type(error).__name__] += 1
        if error is None:
            wrong = wrong_scores(call, task.result(), self._world)
            return None if wrong is None else self._found(call, wrong)
        if not fits(call, error, around):
            return self._found(call, f"ended with {error!r} after {around}")
        return None

    def _found(self, call: Call, what: str) -> None:
        shown = f"[{call.model}] with {len(call.texts)} texts"
        done = f"deadline {call.deadline_s}, cancelled {call.cancel_s}, poisoned {call.poisoned}"
        self._record.findings.append(f"episode {self._name}: a call of {shown} ({done}) {what}")

    async def _disturb(self) -> None:
        rng = random.Random(f"{self._name}/disturb")
        while True:
            await asyncio.sleep(rng.uniform(0, _QUIET_S))
            name, disturbance = rng.choice(self._disturbances())
            disturbance(rng)
            self._record.disturbances[name] += 1

    def _disturbances(self) -> list[tuple[str, Callable[[random.Random], None]]]:
        stay = sorted(set(self._world.models) - set(GUESTS))
        holders = ["one", "another"]
        engine = self._engine
        return [
            ("reloads", lambda rng: engine.reload()),
            ("unloads", lambda rng: engine.unload_idle()),
            ("retries", lambda rng: engine.allow(BROKEN)),
            ("comings and goings", lambda rng: self._come_or_go(rng.choice(GUESTS))),
            (
                "reservations",
                lambda rng: engine.reserve(rng.choice(stay), rng.choice(holders), Reservation(1, False)),
            ),
            ("releases", lambda rng: engine.release(rng.choice(stay), rng.choice(holders))),
        ]

    def _come_or_go(self, guest: str) -> None:
        if guest in self._present:
            self._engine.remove(guest)
            self._present.remove(guest)
            self._removals[guest] += 1
        else:
            self._engine.add(guest, self._world.models[guest])
            self._present.add(guest)

    async def _close_at_half(self, calling: list[asyncio.Task[None]]) -> None:
        """Close the engine once half of the calls have begun."""
        half = asyncio.create_task(self._half.wait())
        await asyncio.wait([half, *calling], return_when=asyncio.FIRST_COMPLETED)
        half.cancel()
        self._closed = True
        await self._engine.close()

    async def _check_idle(self) -> None:
        """Check that nothing is queued or held any more, and that all models can score."""
        for metric in ("queued_tokens", "queued_pairs"):
            for name in self._world.models:
                queued = self._registry.get_sample_value(f"rerank_proxy_engine_{metric}", {"model": name})
                if queued:
                    self._record.findings.append(f"episode {self._name}: [{name}] has {queued} {metric}")
        text = self._world.texts[1]
        for name in sorted(set(self._world.models) - {BROKEN, *GUESTS}):
            await self._make(Call(name, "apple trees", [text]))
        # As much text as there is ever room for: it is refused if any of the room is still taken.
        filling = [text * 100] * (_QUEUE_BYTES * 9 // 10 // getsizeof(text * 100))
        try:
            await self._engine.scores(PLUGIN, "", filling)
        except EngineError as error:
            self._record.findings.append(f"episode {self._name}: room for texts is not given back: {error!r}")

    async def _check_ended(self, before: set[asyncio.Task[Any]]) -> None:
        """Check that the closed engine has left no task behind."""
        for _ in range(100):
            left = asyncio.all_tasks() - before
            if not left:
                return
            await asyncio.sleep(0.05)
        names = ", ".join(sorted(task.get_name() for task in left))
        self._record.findings.append(f"episode {self._name}: the closed engine has left tasks: {names}")
