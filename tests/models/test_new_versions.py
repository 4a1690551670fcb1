"""A model whose directory is a link that is set to new versions, while calls go on."""

import asyncio
import shutil
from pathlib import Path

import pytest

from rerank_proxy.engine import Engine
from rerank_proxy.engine.errors import ModelFailedError
from rerank_proxy.settings import ModelSettings
from tests.models.conftest import TinyModel
from tests.models.loads import Clock, Loads, running, score, state
from tests.support.raw_http import TIMEOUT_S
from tests.support.waiting import until_true


class Versions:
    """Two versions of a model, and a link to one of them."""

    def __init__(self, directory: Path, tiny_model: TinyModel) -> None:
        self._directory = directory
        self.link = directory / "current"
        for number, kind in ((1, "bert"), (2, "electra")):
            shutil.copytree(tiny_model(kind), directory / str(number))
        self.use(1)

    def use(self, number: int) -> None:
        """Set the link to a version at once, as tools for roll-outs do."""
        new = self._directory / "new"
        new.symlink_to(self._directory / str(number))
        new.replace(self.link)

    def remove(self, number: int) -> None:
        shutil.rmtree(self._directory / str(number))


@pytest.fixture
def versions(tmp_path: Path, tiny_model: TinyModel) -> Versions:
    return Versions(tmp_path, tiny_model)


async def until_loads(loads: Loads, number: int) -> None:
    await until_true(lambda: len(loads.started) == number)


async def until_changed(engine: Engine, before: float) -> None:
    async with asyncio.timeout(TIMEOUT_S):
        while await score(engine) == before:
            pass


async def test_the_new_version_serves_and_no_call_fails(
    versions: Versions, clock: Clock, loads: Loads
) -> None:
    async with running({"m": ModelSettings(source=str(versions.link))}, clock) as engine:
        before = await score(engine)
        versions.use(2)
        versions.remove(1)
        assert await score(engine) == before
        engine.reload()
        await until_changed(engine, before)
        assert state(engine) == "ready"
        versions.remove(2)
        await score(engine)
        engine.reload()
        await until_loads(loads, 3)
        await engine.wait_ready("m")
        await score(engine)


@pytest.mark.parametrize("preload", [True, False])
async def test_one_that_comes_while_the_old_one_is_loaded(
    versions: Versions, clock: Clock, loads: Loads, preload: bool
) -> None:
    settings = ModelSettings(source=str(versions.link), preload=preload)
    async with running({"m": settings, "old": ModelSettings(source=str(versions.link))}, clock) as engine:
        before = await score(engine, "old")
        if preload:
            await score(engine)
        begun = len(loads.started)
        loads.gate.clear()
        if not preload:
            first = asyncio.create_task(score(engine))
            await until_true(lambda: state(engine) == "loading")
        else:
            engine.reload()
            first = asyncio.create_task(score(engine))
        await until_true(lambda: loads.started[begun:].count("m") == 1)
        versions.use(2)
        engine.reload()
        loads.gate.set()
        await first
        await until_changed(engine, before)
        await until_true(lambda: loads.started[begun:].count("m") == 2)


async def test_one_that_is_gone_and_comes_back(versions: Versions, clock: Clock, loads: Loads) -> None:
    settings = ModelSettings(source=str(versions.link), preload=False)
    async with running({"m": settings}, clock) as engine:
        versions.link.unlink()
        with pytest.raises(ModelFailedError, match="there is no directory"):
            await score(engine)
        versions.use(2)
        engine.reload()
        await until_true(lambda: state(engine) == "ready")
        await score(engine)
