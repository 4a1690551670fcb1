"""Models that are added, loaded when something needs them, unloaded and removed."""

import asyncio
import shutil
import threading
import weakref
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
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
)
from rerank_proxy.engine.loading import loader
from rerank_proxy.engine.loading.loaded_model import LoadedModel
from rerank_proxy.engine.loading.weights_size import size_of_weights
from rerank_proxy.engine.model import RETRY_AFTER_S
from rerank_proxy.settings import EngineSettings, ModelSettings
from tests.models.conftest import TinyModel
from tests.models.samples import texts
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


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Iterator[Loads]:
    loads, load = Loads(), loader._load

    def watched(
        name: str,
        settings: ModelSettings,
        engine: EngineSettings,
        watch: loader.Watch,
        wait_for_memory: Callable[[int], None],
    ) -> LoadedModel:
        loads.started.append(name)
        loads.entered.release()
        assert loads.gate.wait(60)
        loaded = load(name, settings, engine, watch, wait_for_memory)
        loads.loaded.add(loaded.backend)
        return loaded

    monkeypatch.setattr(loader, "_load", watched)
    yield loads
    loads.gate.set()


@pytest.fixture
def clock() -> Clock:
    return Clock()


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


@pytest.fixture
def lazy(tiny_model: TinyModel) -> ModelSettings:
    return ModelSettings(source=str(tiny_model("bert")), preload=False)


async def score(engine: Engine, model: str = "m") -> float:
    (only,) = (await engine.scores(model, "a query", ["a text"])).values
    return only


def state(engine: Engine, model: str = "m") -> str:
    return engine.status()[model].state


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


class TestMemory:
    """`engine.model_memory` bounds the weights of all models together."""

    @pytest.fixture
    def size_bytes(self, tiny_model: TinyModel) -> int:
        """Bytes of the weights of one model."""
        return size_of_weights(tiny_model("bert"), 4)

    async def test_the_least_recently_used_makes_room(
        self, lazy: ModelSettings, clock: Clock, loads: Loads, size_bytes: int
    ) -> None:
        registry = CollectorRegistry()
        models = dict.fromkeys(("a", "b", "c"), lazy)
        async with running(models, clock, registry, int(2.5 * size_bytes)) as engine:
            for name in ("a", "b", "a", "c"):
                clock.now += 1
                await score(engine, name)
            assert {name: state(engine, name) for name in models} == {
                "a": "ready",
                "b": "unloaded",
                "c": "ready",
            }
            assert weights(registry) == pytest.approx({"a": size_bytes, "c": size_bytes}, rel=0.02)
            await engine._models._freeing.finish()
            assert len(loads.loaded) == 2

    async def test_calls_under_way_are_finished_first(
        self, lazy: ModelSettings, clock: Clock, loads: Loads, size_bytes: int
    ) -> None:
        """Models that do not fit together serve in turn, and no call is lost."""
        async with running(dict.fromkeys("abc", lazy), clock, model_memory=size_bytes) as engine:
            documents = texts(60)
            calls = [engine.scores(name, f"query {at}", documents) for at in range(4) for name in "abc"]
            everything = await asyncio.gather(*calls)
            assert [len(each.values) for each in everything] == [len(documents)] * 12
            ready_ones = [name for name in "abc" if state(engine, name) == "ready"]
            assert len(ready_ones) == 1

    async def test_a_model_that_is_kept_loaded_stays(
        self, tiny_model: TinyModel, lazy: ModelSettings, clock: Clock, loads: Loads, size_bytes: int
    ) -> None:
        kept = ModelSettings(source=str(tiny_model("bert")))
        async with running({"kept": kept, "m": lazy}, clock, model_memory=int(1.5 * size_bytes)) as engine:
            await score(engine, "kept")
            with pytest.raises(ModelFailedError, match=r"engine\.model_memory .*\[kept\] .*raise it"):
                await score(engine)
            assert state(engine, "kept") == "ready"

    async def test_a_reservation_that_ends_makes_room(
        self, lazy: ModelSettings, clock: Clock, loads: Loads, size_bytes: int
    ) -> None:
        async with running({"a": lazy, "m": lazy}, clock, model_memory=int(1.5 * size_bytes)) as engine:
            engine.reserve("a", "endpoint", Reservation(keep_loaded=True))
            await engine.wait_ready("a")
            with pytest.raises(ModelFailedError, match=r"\[a\]"):
                await engine.wait_ready("m")
            engine.release("a", "endpoint")
            await engine.wait_ready("m")
            assert state(engine, "a") == "unloaded"

    async def test_a_model_larger_than_all_of_it(
        self, lazy: ModelSettings, clock: Clock, loads: Loads, size_bytes: int
    ) -> None:
        async with running({"m": lazy}, clock, model_memory=size_bytes - 1) as engine:
            with pytest.raises(ModelFailedError, match=r"its weights take .* and engine\.model_memory is"):
                await score(engine)

    async def test_removing_a_model_that_waits_for_room(
        self, lazy: ModelSettings, clock: Clock, loads: Loads, size_bytes: int
    ) -> None:
        async with running({"a": lazy, "m": lazy, "n": lazy}, clock, model_memory=size_bytes) as engine:
            with engine._models.get("a").in_use():
                async with engine._models.get("a").ready():
                    waiting = [asyncio.create_task(score(engine, name)) for name in "mn"]
                    for _ in waiting:
                        await loads.wait_for_one()
                    engine.remove("m")
                    with pytest.raises(UnknownModelError):
                        await waiting[0]
            await waiting[1]


class TestReload:
    async def test_the_successor_takes_over_without_a_gap(
        self, tiny_model: TinyModel, tmp_path: Path, clock: Clock, loads: Loads
    ) -> None:
        directory = tmp_path / "model"
        shutil.copytree(tiny_model("bert"), directory)
        async with running({"m": ModelSettings(source=str(directory))}, clock) as engine:
            before = await score(engine)
            shutil.rmtree(directory)
            shutil.copytree(tiny_model("electra"), directory)
            loads.gate.clear()
            engine.reload()
            for _ in range(2):
                await loads.wait_for_one()
            assert state(engine) == "ready"
            long = asyncio.create_task(engine.scores("m", "rivers", texts(2000)))
            assert await score(engine) == before
            loads.gate.set()
            await engine._models.get("m")._attempt  # type: ignore[misc]  # it is under way
            assert await score(engine) != before
            assert len((await long).values) == 2000
            await engine._models._freeing.finish()
            assert len(loads.loaded) == 1

    async def test_a_successor_that_cannot_be_loaded_changes_nothing(
        self, tiny_model: TinyModel, tmp_path: Path, clock: Clock, loads: Loads
    ) -> None:
        shutil.copytree(tiny_model("bert"), tmp_path, dirs_exist_ok=True)
        async with running({"m": ModelSettings(source=str(tmp_path))}, clock) as engine:
            before = await score(engine)
            (tmp_path / "config.json").unlink()
            engine.reload()
            await engine._models.get("m")._attempt  # type: ignore[misc]  # it is under way
            assert state(engine) == "ready"
            assert await score(engine) == before
            assert len((await engine.scores("m", "rivers", texts(60))).values) == len(texts(60))
            shutil.copy(tiny_model("bert") / "config.json", tmp_path)
            engine.reload()
            await engine._models.get("m")._attempt  # type: ignore[misc]  # it is under way
            assert await score(engine) == before

    async def test_a_model_that_failed_is_tried_again(
        self, tiny_model: TinyModel, tmp_path: Path, clock: Clock, loads: Loads
    ) -> None:
        async with running({"m": ModelSettings(source=str(tmp_path))}, clock) as engine:
            with pytest.raises(ModelFailedError):
                await engine.wait_ready("m")
            shutil.copytree(tiny_model("bert"), tmp_path, dirs_exist_ok=True)
            engine.reload()
            await engine._models.get("m")._attempt  # type: ignore[misc]  # it is under way
            await score(engine)


def weights(registry: CollectorRegistry) -> dict[str, float]:
    """The bytes of the weights of each loaded model, as the metrics say."""
    return {
        sample.labels["model"]: sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "rerank_proxy_engine_model_memory_bytes"
    }
