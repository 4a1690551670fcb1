"""Models that are added, loaded when something needs them, unloaded and removed."""

import asyncio
import shutil
import threading
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from rerank_proxy.engine import (
    DeadlineExceededError,
    Engine,
    EngineClosedError,
    ModelFailedError,
    Reservation,
    UnknownModelError,
    model,
)
from rerank_proxy.engine.loading import loader
from rerank_proxy.engine.model import RETRY_AFTER_S
from rerank_proxy.settings import EngineSettings, ModelSettings
from tests.models.conftest import TinyModel
from tests.models.loads import IDLE_S, Clock, Loads, running, score, state
from tests.models.samples import texts
from tests.support.raw_http import TIMEOUT_S
from tests.support.waiting import until_true


async def test_without_preload_the_first_call_loads(lazy: ModelSettings, clock: Clock, loads: Loads) -> None:
    registry = CollectorRegistry()
    async with running({"m": lazy}, clock, registry) as engine:
        status = engine.status()["m"]
        assert (status.state, loads.started) == ("unloaded", [])
        assert lazy.source in status.detail
        assert ready(registry) == 0
        await asyncio.gather(score(engine), score(engine), engine.wait_ready("m"))
        assert (state(engine), loads.started, ready(registry)) == ("ready", ["m"], 1)


def ready(registry: CollectorRegistry, model: str = "m") -> float | None:
    return registry.get_sample_value("rerank_proxy_engine_model_ready", {"model": model})


async def test_an_idle_model_is_unloaded_and_loaded_again(
    lazy: ModelSettings, clock: Clock, loads: Loads
) -> None:
    registry = CollectorRegistry()
    async with running({"m": lazy}, clock, registry) as engine:
        first = await score(engine)
        clock.now += IDLE_S - 1
        engine.unload_idle()
        assert state(engine) == "ready"
        assert await score(engine) == first
        clock.now += IDLE_S - 1
        engine.unload_idle()
        assert state(engine) == "ready", "a call begins the time anew"
        clock.now += 1
        engine.unload_idle()
        assert (state(engine), ready(registry)) == ("unloaded", 0)
        (await engine.scores("m", "another query", ["a text"]))
        assert (state(engine), loads.started, ready(registry)) == ("ready", ["m", "m"], 1)


async def test_unloading_frees_the_memory(lazy: ModelSettings, clock: Clock, loads: Loads) -> None:
    async with running({"m": lazy}, clock) as engine:
        await score(engine)
        assert len(loads.loaded) == 1
        clock.now += IDLE_S
        engine.unload_idle()
        await engine._models._freeing.finish()
        assert len(loads.loaded) == 0
        await score(engine)  # remembered: asks for the model all the same
        engine.remove("m")
        await engine._models._freeing.finish()
        assert len(loads.loaded) == 0


async def test_the_memory_of_several_is_freed_at_once(
    lazy: ModelSettings, clock: Clock, loads: Loads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each collection of garbage stops all threads for a while."""
    free, freed, busy = loader._free, [], threading.Event()

    def count() -> None:
        freed.append(len(loads.loaded))
        free()

    monkeypatch.setattr(loader, "_free", count)
    async with running(dict.fromkeys("abc", lazy), clock) as engine:
        for name in "abc":
            await score(engine, name)
        device = asyncio.create_task(engine._runner.on_device(busy.wait))
        await asyncio.sleep(0)
        for name in "abc":
            engine.remove(name)
        busy.set()
        await device
        await engine._models._freeing.finish()
        assert (len(freed), len(loads.loaded)) == (1, 0)


async def test_a_model_of_the_settings_stays(tiny_model: TinyModel, clock: Clock, loads: Loads) -> None:
    async with running({"m": ModelSettings(source=str(tiny_model("bert")))}, clock) as engine:
        engine.reserve("m", "endpoint", Reservation(keep_loaded=False))
        await score(engine)
        clock.now += 10 * IDLE_S
        engine.unload_idle()
        assert state(engine) == "ready"


async def test_a_call_in_flight_keeps_its_model(lazy: ModelSettings, clock: Clock, loads: Loads) -> None:
    loads.gate.clear()
    async with running({"m": lazy}, clock) as engine:
        call = asyncio.create_task(engine.scores("m", "rivers", texts(50)))
        await loads.wait_for_one()
        clock.now += 10 * IDLE_S
        engine.unload_idle()
        loads.gate.set()
        assert len((await call).values) == 50
        engine.unload_idle()
        assert state(engine) == "ready"


async def test_one_holder_is_enough_to_keep_it(lazy: ModelSettings, clock: Clock, loads: Loads) -> None:
    async with running({"m": lazy}, clock) as engine:
        engine.reserve("m", "scales to zero", Reservation(keep_loaded=False))
        assert state(engine) == "unloaded"
        engine.reserve("m", "stays", Reservation(keep_loaded=True))
        assert state(engine) == "loading"
        await engine.wait_ready("m")
        clock.now += 10 * IDLE_S
        engine.unload_idle()
        assert state(engine) == "ready"
        engine.release("m", "stays")
        engine.unload_idle()
        assert state(engine) == "ready", "the time begins when the last one lets go"
        clock.now += IDLE_S
        engine.unload_idle()
        assert state(engine) == "unloaded"


async def test_the_engine_looks_for_idle_models_by_itself(
    lazy: ModelSettings, clock: Clock, loads: Loads
) -> None:
    engine = Engine({"m": lazy, "other": lazy}, EngineSettings(idle_unload_s=0.2), clock=clock)
    await engine.start()
    try:
        await score(engine)
        clock.now += 1
        async with asyncio.timeout(TIMEOUT_S):
            while state(engine) != "unloaded":
                await engine.scores("other", "something to wait for", [])
    finally:
        await engine.close()


async def test_a_deadline_does_not_end_the_loading(lazy: ModelSettings, clock: Clock, loads: Loads) -> None:
    loads.gate.clear()
    async with running({"m": lazy}, clock) as engine:
        now = asyncio.get_running_loop().time()
        for call in (engine.wait_ready("m", now), engine.scores("m", "a query", ["a text"], now)):
            with pytest.raises(DeadlineExceededError, match=r"model \[m\] was still loading"):
                await call
        loads.gate.set()
        await score(engine)
        assert loads.started == ["m"]


async def test_a_model_is_added_and_removed(tiny_model: TinyModel, clock: Clock, loads: Loads) -> None:
    registry = CollectorRegistry()
    async with running({}, clock, registry) as engine:
        engine.add("m", ModelSettings(source=str(tiny_model("bert"))))
        assert state(engine) == "unloaded"
        with pytest.raises(ValueError, match=r"already a model \[m\]"):
            engine.add("m", ModelSettings(source="x"))
        first = await score(engine)
        engine.remove("m")
        assert engine.status() == {}
        assert ready(registry) is None
        assert registry.get_sample_value("rerank_proxy_engine_queued_tokens", {"model": "m"}) is None
        for call in (score(engine), engine.wait_ready("m")):
            with pytest.raises(UnknownModelError):
                await call
        with pytest.raises(UnknownModelError):
            engine.remove("m")
        engine.release("m", "endpoint")
        engine.add("m", ModelSettings(source=str(tiny_model("electra"))))
        assert await score(engine) != first
        clock.now += IDLE_S
        engine.unload_idle()
        assert state(engine) == "unloaded", "what was added at run time is not kept for ever"


async def test_removing_ends_the_calls_of_the_model_alone(
    tiny_model: TinyModel, clock: Clock, loads: Loads
) -> None:
    models = {name: ModelSettings(source=str(tiny_model("bert"))) for name in ("m", "other")}
    async with running(models, clock) as engine:
        await asyncio.gather(score(engine), score(engine, "other"))
        running_call = asyncio.create_task(engine.scores("m", "rivers", texts(20_000)))
        other = asyncio.create_task(engine.scores("other", "rivers", texts(60)))
        await asyncio.sleep(0)
        engine.remove("m")
        with pytest.raises(UnknownModelError, match=r"model \[m\] was removed"):
            await running_call
        assert len((await other).values) == 60


async def test_one_source_under_two_names(lazy: ModelSettings, clock: Clock, loads: Loads) -> None:
    async with running({"m": lazy, "other": lazy}, clock) as engine:
        await asyncio.gather(score(engine), score(engine, "other"))
        calls = [engine.scores(name, "rivers", texts(200)) for name in ("m", "other") * 4]
        async with asyncio.timeout(TIMEOUT_S):
            first, *others = await asyncio.gather(*calls)
        for each in others:
            assert each.values == pytest.approx(first.values, abs=1e-5)


async def test_removing_ends_what_waits_for_the_loading(
    lazy: ModelSettings, clock: Clock, loads: Loads
) -> None:
    loads.gate.clear()
    async with running({"m": lazy}, clock) as engine:
        calls = [asyncio.create_task(score(engine)), asyncio.create_task(engine.wait_ready("m"))]
        await loads.wait_for_one()
        engine.remove("m")
        for call in calls:
            with pytest.raises(UnknownModelError, match=r"model \[m\] was removed"):
                await call
        loads.gate.set()


async def test_a_failed_load_is_tried_again(
    tiny_model: TinyModel, tmp_path: Path, clock: Clock, loads: Loads
) -> None:
    directory = tmp_path / "model"
    directory.mkdir()
    settings = ModelSettings(source=str(directory), preload=False)
    async with running({"m": settings}, clock) as engine:
        with pytest.raises(ModelFailedError, match=r"has no config\.json"):
            await score(engine)
        shutil.copytree(tiny_model("bert"), directory, dirs_exist_ok=True)
        with pytest.raises(ModelFailedError, match=r"has no config\.json"):
            await score(engine)
        assert loads.started == ["m"], "not each of many calls begins anew"
        clock.now += RETRY_AFTER_S
        loads.gate.clear()
        for _ in range(2):
            with pytest.raises(ModelFailedError, match=r"has no config\.json"):
                await score(engine)
        assert state(engine) == "failed"
        await loads.wait_for_one()
        loads.gate.set()
        await engine.wait_ready("m")
        await score(engine)
        assert loads.started == ["m", "m"]


async def test_a_model_that_is_kept_loaded_is_tried_again_without_a_call(
    tiny_model: TinyModel, tmp_path: Path, clock: Clock, loads: Loads, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What asks `/ready` before it sends searches would never send one."""
    monkeypatch.setattr(model, "RETRY_AFTER_S", 0.01)
    async with running({"m": ModelSettings(source=str(tmp_path))}, clock) as engine:
        await until_true(lambda: len(loads.started) == 3)
        assert state(engine) == "failed"
        shutil.copytree(tiny_model("bert"), tmp_path, dirs_exist_ok=True)
        await until_true(lambda: state(engine) == "ready")


async def test_waiting_for_a_model_tries_to_load_it_again(
    tiny_model: TinyModel, tmp_path: Path, clock: Clock, loads: Loads
) -> None:
    settings = ModelSettings(source=str(tmp_path), preload=False)
    async with running({"m": settings}, clock) as engine:
        for times in (1, 2):
            with pytest.raises(ModelFailedError, match=r"has no config\.json"):
                await engine.wait_ready("m")
            assert loads.started == ["m"] * times
        shutil.copytree(tiny_model("bert"), tmp_path, dirs_exist_ok=True)
        engine.reserve("m", "endpoint", Reservation())
        await engine.wait_ready("m")
        await score(engine)
        assert loads.started == ["m"] * 3


async def test_threads_are_those_that_the_holders_pay_for(
    lazy: ModelSettings, clock: Clock, loads: Loads, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    used: list[int] = []
    monkeypatch.setattr(torch, "set_num_threads", used.append)
    settings = EngineSettings(threads=6, workers=1, cache_bytes=0)
    engine = Engine({"m": lazy}, settings, clock=clock)
    await engine.start()
    try:
        for reservations, expected in (
            ({"a": Reservation(threads=2)}, 2),
            ({"a": Reservation(threads=2), "b": Reservation(threads=3)}, 5),
            ({"a": Reservation(threads=2), "b": Reservation(threads=8)}, 6),
            ({"a": Reservation(threads=2), "b": Reservation(threads=None)}, 6),
            ({}, 6),
        ):
            for holder, reservation in reservations.items():
                engine.reserve("m", holder, reservation)
            await score(engine)
            await score(engine)
            assert used[-1] == expected
            for holder in reservations:
                engine.release("m", holder)
    finally:
        await engine.close()
    assert used == [6, 2, 5, 6], "set only where it changes"


async def test_nothing_goes_on_after_the_end(lazy: ModelSettings, clock: Clock, loads: Loads) -> None:
    loads.gate.clear()
    engine = Engine({"m": lazy}, EngineSettings(), clock=clock)
    await engine.start()
    waiting = asyncio.create_task(engine.wait_ready("m"))
    await loads.wait_for_one()
    await engine.close()
    for call in (waiting, score(engine), engine.wait_ready("m")):
        with pytest.raises(EngineClosedError):
            await call
    with pytest.raises(EngineClosedError):
        engine.remove("m")
    with pytest.raises(EngineClosedError):
        engine.add("n", lazy)
