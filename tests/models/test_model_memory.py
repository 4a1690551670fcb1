"""Models that share a bound of memory, and models that are loaded again while they serve."""

import asyncio
import shutil
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from rerank_proxy.engine import Engine, ModelFailedError, Reservation, UnknownModelError
from rerank_proxy.engine.loading.sources.weights_size import size_of_weights
from rerank_proxy.settings import ModelSettings
from tests.models.conftest import TinyModel
from tests.models.loads import Clock, Loads, running, score, state
from tests.models.samples import texts


async def reloaded(engine: Engine) -> None:
    """Wait for the load that is under way."""
    attempt = engine._models.get("m")._attempt
    assert attempt is not None
    await attempt


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
            await reloaded(engine)
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
            await reloaded(engine)
            assert state(engine) == "ready"
            assert await score(engine) == before
            assert len((await engine.scores("m", "rivers", texts(60))).values) == len(texts(60))
            shutil.copy(tiny_model("bert") / "config.json", tmp_path)
            engine.reload()
            await reloaded(engine)
            assert await score(engine) == before

    async def test_a_model_that_failed_is_tried_again(
        self, tiny_model: TinyModel, tmp_path: Path, clock: Clock, loads: Loads
    ) -> None:
        async with running({"m": ModelSettings(source=str(tmp_path))}, clock) as engine:
            with pytest.raises(ModelFailedError):
                await engine.wait_ready("m")
            shutil.copytree(tiny_model("bert"), tmp_path, dirs_exist_ok=True)
            engine.reload()
            await reloaded(engine)
            await score(engine)


def weights(registry: CollectorRegistry) -> dict[str, float]:
    """The bytes of the weights of each loaded model, as the metrics say."""
    return {
        sample.labels["model"]: sample.value
        for family in registry.collect()
        for sample in family.samples
        if sample.name == "rerank_proxy_engine_model_memory_bytes"
    }
