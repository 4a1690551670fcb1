"""The engine tells what a call waited for."""

import asyncio
from collections.abc import Mapping

import pytest
from prometheus_client import CollectorRegistry

from rerank_proxy.engine import Engine
from rerank_proxy.observe import stages
from rerank_proxy.observe.stages import Activity
from rerank_proxy.search.timings import Timings
from tests.models.conftest import TinyModel
from tests.models.samples import texts
from tests.support.engines import running
from tests.support.waiting import until_true


async def timed(engine: Engine, texts_: list[str], deadline: float | None = None) -> Mapping[str, float]:
    """Score in a task of its own. Return seconds by stage."""
    timings = Timings()

    async def score() -> None:
        stages.enter(Activity(timings))
        await engine.scores("m", "a query", texts_, deadline)

    await asyncio.create_task(score())
    timings.end()
    named = timings.named()
    assert sum(named.values()) == pytest.approx(timings.seconds), "the stages of one call do not overlap"
    return named


async def test_each_stage(tiny_model: TinyModel) -> None:
    registry = CollectorRegistry()
    async with running({"m": tiny_model("bert")}, registry) as engine:
        loading = await timed(engine, ["a text"])
        scored = await timed(engine, texts(300))
        cached = await timed(engine, texts(300))
    assert loading["queue"] > 0, "the model was loaded"
    assert min(scored["tokenise"], scored["queue"], scored["score"]) > 0
    assert cached["queue"] == cached["score"] == 0
    count = registry.get_sample_value("rerank_proxy_engine_queue_seconds_count", {"model": "m"})
    waited = registry.get_sample_value("rerank_proxy_engine_queue_seconds_sum", {"model": "m"})
    assert count == 2
    assert waited is not None
    assert 0 < waited <= loading["queue"] + scored["queue"]


async def test_a_call_behind_another_waits(tiny_model: TinyModel) -> None:
    """Also one that shares all of its texts with it."""
    async with running({"m": tiny_model("bert")}, workers=1) as engine:
        await engine.scores("m", "a query", ["a text"])
        first, second = await asyncio.gather(timed(engine, texts(400)), timed(engine, texts(400)))
    assert first["score"] > 0
    assert second["score"] > 0


async def test_of_a_call_that_is_given_up(tiny_model: TinyModel) -> None:
    """What it has waited for counts."""
    registry = CollectorRegistry()
    async with running({"m": tiny_model("bert")}, registry, workers=1) as engine:
        await engine.scores("m", "a query", ["a text"])
        loop = asyncio.get_running_loop()
        timings = Timings()

        async def score() -> None:
            stages.enter(Activity(timings))
            await engine.scores("m", "a query", texts(3000))

        task = loop.create_task(score())
        await until_true(lambda: queued(registry) > 0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert timings.named()["queue"] > 0


def queued(registry: CollectorRegistry) -> float:
    return registry.get_sample_value("rerank_proxy_engine_queued_pairs", {"model": "m"}) or 0
