"""Engines whose clock tests move, and whose loads they see and hold back."""

import asyncio
import threading
import weakref
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from prometheus_client import CollectorRegistry

from rerank_proxy.engine import Engine
from rerank_proxy.settings import EngineSettings, ModelSettings
from tests.support.raw_http import TIMEOUT_S

IDLE_S = 900.0


class Clock:
    """A clock that tests move."""

    now = 1000.0

    def __call__(self) -> float:
        return self.now


class Loads:
    """Each load of a model in its order; `gate` holds the next ones back."""

    def __init__(self) -> None:
        self.started: list[str] = []
        self.entered = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()
        self.loaded: weakref.WeakSet[object] = weakref.WeakSet()

    async def wait_for_one(self) -> None:
        assert await asyncio.to_thread(self.entered.acquire, timeout=TIMEOUT_S)


@asynccontextmanager
async def running(
    models: dict[str, ModelSettings],
    clock: Callable[[], float],
    registry: CollectorRegistry | None = None,
    model_memory: int | None = None,
) -> AsyncIterator[Engine]:
    settings = EngineSettings(idle_unload_s=IDLE_S, model_memory=model_memory)
    engine = Engine(models, settings, registry, clock)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()


async def score(engine: Engine, model: str = "m") -> float:
    (only,) = (await engine.scores(model, "a query", ["a text"])).values
    return only


def state(engine: Engine, model: str = "m") -> str:
    return engine.status()[model].state
