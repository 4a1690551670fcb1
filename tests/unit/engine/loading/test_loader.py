"""When memory is given back: once for all models that have gone before it begins."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import TypeVar

import pytest

from rerank_proxy.engine.hangs.journal import Journal
from rerank_proxy.engine.hangs.watchdog import Watchdog
from rerank_proxy.engine.loading import loader as loader_module
from rerank_proxy.engine.loading.loader import Loader
from rerank_proxy.settings import EngineSettings

_T = TypeVar("_T")


class Device:
    """A device's thread that begins, and ends, what waits for it when a test says so."""

    def __init__(self) -> None:
        self.begins: deque[asyncio.Event] = deque()
        self.ends: deque[asyncio.Event] = deque()

    async def __call__(self, work: Callable[[], _T]) -> _T:
        begin, end = asyncio.Event(), asyncio.Event()
        self.begins.append(begin)
        self.ends.append(end)
        await begin.wait()
        result = work()
        await end.wait()
        return result


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_memory_is_given_back_once_for_all_that_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    freed: list[None] = []
    monkeypatch.setattr(loader_module, "_free", lambda: freed.append(None))
    device = Device()
    loader = Loader(EngineSettings(), device, Watchdog(EngineSettings(), Journal()))
    first = asyncio.create_task(loader.free())
    await settle()
    await loader.free()
    device.begins.popleft().set()
    await settle()
    second = asyncio.create_task(loader.free())
    await settle()
    device.ends.popleft().set()
    await first
    await loader.free()
    assert len(device.begins) == 1
    device.begins.popleft().set()
    device.ends.popleft().set()
    await second
    assert len(freed) == 2
