"""An episode of a soak run: an engine, many callers at once, and what disturbs them."""

import asyncio
import random
import threading
from collections import Counter
from dataclasses import dataclass, field
from sys import getsizeof
from typing import Any, Final, Literal

from prometheus_client import CollectorRegistry

from benchmarks.soak import faults
from benchmarks.soak.builds import BROKEN
from benchmarks.soak.calls import Around, Call, draw, fits, wrong_scores
from benchmarks.soak.disturber import Disturber
from benchmarks.soak.models import GUESTS, HANGING, LOSING, PLUGIN, World
from rerank_proxy.engine import (
    Engine,
    EngineClosedError,
    EngineError,
    InferenceError,
    QueueFullError,
    Scores,
)
from rerank_proxy.settings import EngineSettings

Ending = Literal["idle", "closed", "hung"]
"""When the engine is closed: after its calls, under its calls, or because a batch never returns."""

_QUEUE_BYTES: Final = 1_000_000
_QUEUE_TOKENS: Final = 20_000
_LARGEST_MODELS: Final = 8.0
"""What the memory for weights is, in weights of the largest model: too little for all, enough for two of a
model that is loaded again beside one that is kept loaded."""

_HANGS_S: Final = 120.0
"""Seconds after which a call or a thread counts as lost: hundreds of times as long as one usually takes."""

_MAX_BATCH_S: Final = 10.0
"""Where a batch never returns. A thousand times as long as one takes, and so for a busy machine too."""

_POISONED: Final = 2
"""Calls with a text that makes a batch fail that may be under way: with many, the engine gives up looking for
the texts that are at fault, and fails those beside them too."""


@dataclass(slots=True)
class Record:
    """What has happened so far in all episodes.

    Attributes:
        begun: Calls that were made.
        ends: How the others ended: the name of an error, or `scored`.
        scored: Calls with scores, by model.
        disturbances: What else happened, by name.
        findings: What does not hold.
    """

    begun: int = 0
    ends: Counter[str] = field(default_factory=Counter)
    scored: Counter[str] = field(default_factory=Counter)
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
    """

    def __init__(self, name: str, world: World, record: Record, ending: Ending) -> None:
        self._name = name
        self._world = world
        self._record = record
        self._ending = ending
        self._registry = CollectorRegistry()
        self._journal = world.directory / "journal"
        settings = EngineSettings(
            device="cpu",
            offline=True,
            queue_bytes=_QUEUE_BYTES,
            queue_tokens=_QUEUE_TOKENS,
            cache_bytes=100_000,
            idle_unload_s=0.5,
            model_memory=int(_LARGEST_MODELS * world.weights_bytes),
            max_batch_s=_MAX_BATCH_S if ending == "hung" else _HANGS_S,
        )
        guests = dict.fromkeys(GUESTS, min(world.guests))
        models = {**world.models, **{name: world.guests[what] for name, what in guests.items()}}
        self._engine = Engine(
            models, settings, self._registry, journal=self._journal, on_hang=self._note_hang
        )
        self._disturber = Disturber(f"{name}/disturb", world, self._engine, guests)
        self._poison = asyncio.Semaphore(_POISONED)
        self._half = asyncio.Event()
        self._half_at = 0
        self._under_way = 0
        self._losing: list[Call] = []
        self._losses = 0
        self._closed = False

    async def run(self, callers: int, calls: int) -> None:
        """Make so many calls by each of so many callers, and check what is left at the end."""
        tasks, threads = asyncio.all_tasks(), set(threading.enumerate())
        self._half_at = self._record.begun + callers * calls // 2
        await self._engine.start()
        disturbing = asyncio.create_task(self._disturber.run())
        calling = [asyncio.create_task(self._caller(number, calls)) for number in range(callers)]
        if self._ending != "idle":
            await self._reach_half(calling)
        if self._ending == "closed":
            self._closed = True
            await self._engine.close()
        elif self._ending == "hung":
            await self._hang()
        await asyncio.gather(*calling)
        await self._end_disturbing(disturbing)
        if self._ending == "idle" and not self._record.findings:
            await self._check_idle()
        await self._engine.close()
        faults.RELEASE.set()
        await self._check_ended(tasks, threads)
        faults.RELEASE.clear()
        self._journal.unlink(missing_ok=True)

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
        stands_for = self._disturber.guests.get(call.model)
        absent = call.model in GUESTS and stands_for is None
        removals = self._disturber.removals[call.model]
        losing, losses = bool(self._losing), self._losses
        self._record.begun += 1
        if self._record.begun >= self._half_at:
            self._half.set()
        self._under_way += 1
        crowded = self._under_way > 1
        loses = call.poisoned and call.model == LOSING
        if loses:
            self._losing.append(call)
            self._losses += 1
        task = asyncio.create_task(self._scores(call))
        cancelled = False
        if call.cancel_s is not None:
            await asyncio.wait([task], timeout=call.cancel_s)
            cancelled = task.cancel()
        await asyncio.wait([task], timeout=_HANGS_S)
        self._under_way -= 1
        around = Around(
            removed=absent or self._disturber.removals[call.model] != removals,
            closed=self._closed,
            crowded=crowded or self._under_way > 0,
            lost=losing or self._losses != losses,
            stands_for=stands_for,
        )
        if loses:
            self._losing.remove(call)
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
            self._record.scored[call.model] += 1
            wrong = wrong_scores(call, task.result(), self._world, around)
            return None if wrong is None else self._found(call, wrong)
        if not fits(call, error, around):
            return self._found(call, f"ended with {error!r} after {around}")
        return None

    def _found(self, call: Call, what: str) -> None:
        shown = f"[{call.model}] with {len(call.texts)} texts"
        done = f"deadline {call.deadline_s}, cancelled {call.cancel_s}, poisoned {call.poisoned}"
        self._find(f"a call of {shown} ({done}) {what}")

    def _find(self, what: str) -> None:
        self._record.findings.append(f"episode {self._name}: {what}")

    async def _reach_half(self, calling: list[asyncio.Task[None]]) -> None:
        """Wait until half of the calls have begun."""
        half = asyncio.create_task(self._half.wait())
        await asyncio.wait([half, *calling], return_when=asyncio.FIRST_COMPLETED)
        half.cancel()

    async def _hang(self) -> None:
        """Make a call with a batch that never returns, and wait for the engine to notice."""
        while True:
            try:
                async with asyncio.timeout(_HANGS_S):
                    await self._engine.scores(HANGING, "", [faults.HANG])
            except QueueFullError:
                await asyncio.sleep(0.01)
                continue
            except (InferenceError, EngineClosedError):
                pass
            except Exception as error:
                self._find(f"a call whose batch never returns ended with {error!r}")
            else:
                self._find("a call whose batch never returns has scores")
            break
        if not self._engine.hangs:
            self._find("the engine has not noticed that a batch never returns")
        self._closed = True

    def _note_hang(self, reason: str) -> None:
        self._closed = True
        self._record.disturbances["hangs"] += 1
        if f"[{HANGING}]" not in reason:
            self._find(f"the engine has found that {reason}")

    async def _end_disturbing(self, disturbing: asyncio.Task[None]) -> None:
        disturbing.cancel()
        (end,) = await asyncio.gather(disturbing, return_exceptions=True)
        if isinstance(end, Exception):
            self._find(f"a disturbance ended with {end!r}")
        self._record.disturbances += self._disturber.done
        lost = self._registry.get_sample_value("rerank_proxy_engine_lost_workers_total")
        self._record.disturbances["lost workers"] += int(lost or 0)

    async def _check_idle(self) -> None:
        """Check that nothing is queued or held any more, that all workers are there, all models can score."""
        for metric in ("queued_tokens", "queued_pairs"):
            for name in (*self._world.models, *GUESTS):
                queued = self._registry.get_sample_value(f"rerank_proxy_engine_{metric}", {"model": name})
                if queued:
                    self._find(f"[{name}] has {queued} {metric}")
        if self._engine.workers.missing:
            self._find(f"workers were not replaced: {self._engine.workers}")
        text = self._world.texts[1]
        for name in sorted(self._world.models.keys() - {BROKEN}):
            await self._make(Call(name, "apple trees", [text]))
        # As much text as there is ever room for: it is refused if any of the room is still taken.
        filling = [text * 100] * (_QUEUE_BYTES * 9 // 10 // getsizeof(text * 100))
        try:
            await self._engine.scores(PLUGIN, "", filling)
        except EngineError as error:
            self._find(f"room for texts is not given back: {error!r}")

    async def _check_ended(self, tasks: set[asyncio.Task[Any]], threads: set[threading.Thread]) -> None:
        """Check that the closed engine has left no task behind, and no thread.

        The end of a load under way has to be waited for: its thread cannot be stopped.
        """
        end = asyncio.get_running_loop().time() + _HANGS_S
        while asyncio.get_running_loop().time() < end:
            left = [
                *(task.get_name() for task in asyncio.all_tasks() - tasks),
                *(thread.name for thread in set(threading.enumerate()) - threads),
            ]
            if not left:
                return
            await asyncio.sleep(0.02)
        self._find(f"the closed engine has left behind: {', '.join(sorted(left))}")
