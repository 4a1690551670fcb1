"""Calls that could not be done in time are refused, those that are remembered are not."""

import asyncio
from collections.abc import AsyncIterator
from unittest.mock import patch

import pytest
from prometheus_client import CollectorRegistry

from rerank_proxy.engine import DeadlineUnreachableError, Engine, QueueFullError
from rerank_proxy.engine.batching.pace import Pace
from rerank_proxy.upstream import callers
from tests.models.conftest import TinyModel
from tests.models.loads import Loads
from tests.models.samples import texts
from tests.models.test_engine import value
from tests.support.engines import running
from tests.support.raw_http import TIMEOUT_S

QUERY = "a query"
WINDOW = texts(40)


@pytest.fixture
def registry() -> CollectorRegistry:
    return CollectorRegistry()


@pytest.fixture
async def engine(tiny_model: TinyModel, registry: CollectorRegistry) -> AsyncIterator[Engine]:
    """An engine that remembers a window, and whose model seems to need a second for each token."""
    async with running({"m": tiny_model("bert")}, registry) as started:
        await started.scores("m", QUERY, WINDOW)
        async with started._models.get("m").ready() as (_, lane):
            lane.pace = Pace()
        for tokens in (100, 200) * 5:
            lane.pace.observe(tokens, float(tokens))
        yield started


class SlowPace(Pace):
    """That of a model which needs a second for each token."""

    def observe(self, tokens: int, seconds: float) -> None:
        super().observe(tokens, float(tokens))


def soon() -> float:
    return asyncio.get_running_loop().time() + TIMEOUT_S


@pytest.mark.parametrize("number", [1_000, 4_000], ids=["one portion", "several portions"])
async def test_a_window_that_takes_too_long_is_told_at_once(
    engine: Engine, registry: CollectorRegistry, number: int
) -> None:
    """Before it is tokenised."""
    names = ("pairs_scored_total", "tokenize_seconds_count")
    before = [value(registry, name) for name in names]
    with pytest.raises(DeadlineUnreachableError, match="rank_window_size") as raised:
        await engine.scores("m", QUERY, [f"text {at}" for at in range(number)], soon())
    assert raised.value.retry_after_s is None
    assert [value(registry, name) for name in names] == before
    assert value(registry, "rejected_total") == 1


async def test_remembered_texts_cost_no_time(engine: Engine) -> None:
    scores = await engine.scores("m", QUERY, WINDOW, soon())
    assert scores.cached == len(WINDOW)


async def test_a_few_texts_beside_remembered_ones_do(engine: Engine) -> None:
    scores = await engine.scores("m", QUERY, [*WINDOW, "rivers again"], soon())
    assert scores.cached == len(WINDOW)


async def test_without_a_deadline_there_is_enough_time(engine: Engine) -> None:
    assert len((await engine.scores("m", QUERY, [f"text {at}" for at in range(500)])).values) == 500


@pytest.mark.parametrize("workers", [1, 4])
async def test_a_cold_model_tells_as_soon_as_its_pace_shows_it(tiny_model: TinyModel, workers: int) -> None:
    """Nothing is known at first; after some batches of the call itself it is given up."""
    async with running({"m": tiny_model("bert")}, threads=workers, workers=workers) as engine:
        async with engine._models.get("m").ready() as (_, lane):
            assert not lane.pace.known
            lane.pace = SlowPace()
        with pytest.raises(DeadlineUnreachableError):
            await engine.scores("m", QUERY, [f"text {at}" for at in range(4_000)], soon())
        assert lane.pace._batches < 100, "and not after all of its batches"


async def test_keys_are_computed_once(engine: Engine) -> None:
    """Also where a call's size is guessed before."""
    async with engine._models.get("m").ready() as (loaded, lane):
        lane.pace = Pace()
        for tokens in (100, 200) * 5:
            lane.pace.observe(tokens, tokens * 1e-9)
        with patch.object(
            type(loaded.scorer), "keys", autospec=True, side_effect=type(loaded.scorer).keys
        ) as keys:
            await engine.scores("m", QUERY, [f"text {at}" for at in range(2_500)], soon())
    assert sum(len(call.args[2]) for call in keys.call_args_list) == 2_500


async def score(engine: Engine, caller: bytes, characters: int) -> int:
    callers.enter(lambda: caller)
    return len((await engine.scores("m", QUERY, ["a" * characters])).values)


async def test_one_caller_leaves_room_for_others(tiny_model: TinyModel, loads: Loads) -> None:
    """All wait for the model, which is being loaded."""
    loads.gate.clear()
    async with running({"m": tiny_model("bert")}, queue_bytes=10_000, queue_share=0.5) as shared:
        await loads.wait_for_one()
        async with asyncio.TaskGroup() as tasks:
            waiting = [
                tasks.create_task(score(shared, caller, size))
                for caller, size in ((b"one", 8_000), (b"other", 3_000))
            ]
            await asyncio.sleep(0)
            with pytest.raises(QueueFullError, match="of this caller wait, and others wait"):
                await asyncio.create_task(score(shared, b"one", 100))
            loads.gate.set()
        assert [task.result() for task in waiting] == [1, 1]
        assert await asyncio.create_task(score(shared, b"one", 9_000)) == 1
