"""An engine of which a part never returns: all calls end, and nothing waits for it."""

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from pathlib import Path
from typing import Final

import numpy as np
import pytest
from numpy.typing import NDArray

from rerank_proxy.engine import Engine, EngineClosedError, InferenceError, ModelFailedError, Reservation
from rerank_proxy.engine.batching import runner
from rerank_proxy.engine.encoding.scorers import CrossEncoder
from rerank_proxy.engine.hangs import journal as journals
from rerank_proxy.engine.loading import loader
from rerank_proxy.engine.loading.loaded_model import LoadedModel
from rerank_proxy.engine.rows import Batch, Row
from rerank_proxy.settings import EngineSettings, ModelSettings
from tests.support.raw_http import TIMEOUT_S
from tests.support.waiting import until_true

HANGS: Final = "hangs"


class Gate:
    """Where a thread stays until the test is over."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()

    def wait(self) -> None:
        self.entered.set()
        assert self.opened.wait(60)


class Lengths:
    """An encoder and a backend: the score is the length of the text. The text `hangs` stops one of them."""

    padded = False
    serial = False
    view = None

    def __init__(self, gate: Gate, where: str) -> None:
        self._gate = gate
        self._where = where

    def encode(self, query: str, texts: Sequence[str]) -> Iterator[list[Row]]:
        if self._where == "tokenising" and HANGS in texts:
            self._gate.wait()
        yield [Row(np.full(len(text) + 1, len(text), np.int32), np.zeros(len(text) + 1, np.uint8), False)
               for text in texts]  # fmt: skip

    def score(self, batch: Batch) -> NDArray[np.float32]:
        values = batch.ids[np.cumsum(batch.lengths) - 1].astype(np.float32)
        if self._where == "batch" and len(HANGS) in values:
            self._gate.wait()
        return values[:, None]


@pytest.fixture
def gate(monkeypatch: pytest.MonkeyPatch) -> Gate:
    gate = Gate()

    def load(
        name: str,
        settings: ModelSettings,
        engine: EngineSettings,
        watch: loader.Watch,
        wait_for_memory: Callable[[int], None],
    ) -> LoadedModel:
        wait_for_memory(0)
        with watch():
            if settings.source == "load":
                gate.wait()
        parts = Lengths(gate, settings.source)
        about = ("architecture", "device", "precision", "max_length")
        info = {"kind": "cross-encoder", **dict.fromkeys(about, "none")}
        return LoadedModel(CrossEncoder(name, parts), parts, 1000, info)

    monkeypatch.setattr(loader, "_load", load)
    monkeypatch.setattr(runner, "_CLOSE_S", 0.01)
    return gate


class Told:
    """What an engine reported when something hung."""

    def __init__(self) -> None:
        self.reasons: list[str] = []
        self.event = asyncio.Event()

    def __call__(self, reason: str) -> None:
        self.reasons.append(reason)
        self.event.set()


@pytest.fixture
async def told() -> Told:
    return Told()


def engine_of(told: Told, journal: Path, **models: str) -> Engine:
    """Make an engine of models, given by where they hang."""
    settings = {name: ModelSettings(source=where, preload=False) for name, where in models.items()}
    limits = EngineSettings(max_batch_s=0.2, max_load_s=0.2, workers=1)
    return Engine(settings, limits, journal=journal, on_hang=told)


@pytest.fixture
async def journal(tmp_path: Path, gate: Gate) -> AsyncIterator[Path]:
    yield tmp_path / "journal"
    gate.opened.set()


@pytest.mark.parametrize("where", ["batch", "tokenising", "load"])
async def test_all_calls_end_and_the_model_is_named(
    gate: Gate, told: Told, journal: Path, where: str
) -> None:
    engine = engine_of(told, journal, bad=where, good="nowhere")
    await engine.start()
    await engine.scores("good", "a query", ["a text"])
    hung = asyncio.create_task(engine.scores("bad", "a query", [HANGS]))
    await asyncio.to_thread(gate.entered.wait, TIMEOUT_S)
    # Behind a batch that hangs no other gets its turn.
    waiting = asyncio.create_task(engine.scores("good", "a query", ["another"])) if where == "batch" else None
    await asyncio.wait_for(told.event.wait(), TIMEOUT_S)
    with pytest.raises(InferenceError, match="for more than"):
        await hung
    for call in (waiting, engine.scores("good", "a query", ["a third"])):
        if call is not None:
            with pytest.raises(EngineClosedError, match=r"is started again, because model \[bad\] failed"):
                await call
    with pytest.raises(InferenceError):
        await engine.scores("bad", "a query", ["harmless"])
    assert engine.hangs
    assert len(told.reasons) == 1
    assert engine.status()["bad"].state == "failed"
    engine.remove("bad")
    await engine.close()


@pytest.mark.parametrize("where", ["batch", "load"])
async def test_the_next_engine_does_not_load_what_hung_unless_it_is_told_to(
    gate: Gate, told: Told, journal: Path, where: str
) -> None:
    first = engine_of(told, journal)
    await first.start()
    first.add("bad", ModelSettings(source=where))
    with pytest.raises(InferenceError):
        await first.scores("bad", "a query", [HANGS])
    await first.close()
    gate.opened.set()

    second = engine_of(told, journal)
    await second.start()
    ready: list[str] = []
    reason = second.add("bad", ModelSettings(source=where), on_ready=lambda: ready.append("bad"))
    assert reason is not None
    assert "it is not loaded again before a client starts it" in reason
    for _ in range(2):
        with pytest.raises(ModelFailedError, match="for more than"):
            await second.scores("bad", "a query", ["a text"])
    assert second.status()["bad"].detail == reason
    assert ready == []
    await second.wait_ready("bad")
    assert (await second.scores("bad", "a query", ["a text"])).values == [6.0]
    assert ready == ["bad"]
    await second.close()

    third = engine_of(told, journal)
    assert third.add("bad", ModelSettings(source=where)) is None
    await third.close()


async def test_closing_waits_for_nothing_that_has_no_end(gate: Gate, told: Told, journal: Path) -> None:
    settings = {"bad": ModelSettings(source="batch", preload=False)}
    engine = Engine(settings, EngineSettings(), journal=journal, on_hang=told)
    await engine.start()
    hung = asyncio.create_task(engine.scores("bad", "a query", [HANGS]))
    await asyncio.to_thread(gate.entered.wait, TIMEOUT_S)
    await engine.close()
    with pytest.raises(EngineClosedError):
        await hung
    assert told.reasons == []


async def test_a_model_that_is_wanted_is_loaded_once_it_has_waited(
    gate: Gate, told: Told, journal: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also one that is reserved only after the engine was started, and for which there is no call."""
    monkeypatch.setattr(journals, "_BACK_OFF_S", (0.5,))
    first = engine_of(told, journal, bad="load")
    await first.start()
    with pytest.raises(InferenceError):
        await first.scores("bad", "a query", ["a text"])
    await first.close()
    gate.opened.set()

    second = engine_of(told, journal, bad="load")
    await second.start()
    assert second.status()["bad"].state == "failed"
    second.reserve("bad", "an endpoint", Reservation(keep_loaded=True))
    await until_true(lambda: second.status()["bad"].state == "ready", "loading")
    await second.close()
