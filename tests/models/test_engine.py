"""The engine as its callers see it, with a tiny real model."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from rerank_proxy.engine import (
    DeadlineExceededError,
    Engine,
    EngineClosedError,
    QueueFullError,
    UnknownModelError,
)
from rerank_proxy.engine.encoding.scorers import CrossEncoder
from rerank_proxy.engine.rows import Row
from rerank_proxy.settings import EngineSettings, ModelSettings
from tests.models.conftest import TinyModel
from tests.models.samples import texts
from tests.support.engines import OnDisk, running
from tests.support.loop_time import longest_step
from tests.support.raw_http import TIMEOUT_S


def value(registry: CollectorRegistry, name: str, model: str = "m") -> float:
    sample = registry.get_sample_value(f"rerank_proxy_engine_{name}", {"model": model})
    assert sample is not None, f"no metric {name}"
    return sample


async def test_start_returns_before_anything_is_loaded(tiny_model: TinyModel) -> None:
    async with running({"m": tiny_model("bert")}) as engine:
        assert engine.status()["m"].state == "loading"
        await engine.scores("m", "a query", ["a text"])
        status = engine.status()["m"]
    assert status.state == "ready"
    assert "cross-encoder BertForSequenceClassification on cpu in fp32, 48 tokens" in status.detail


async def test_no_texts_no_scores(tiny_model: TinyModel) -> None:
    async with running({"m": tiny_model("bert")}) as engine:
        assert list((await engine.scores("m", "a query", [])).values) == []


async def test_an_unknown_model(tiny_model: TinyModel) -> None:
    async with running({"m": tiny_model("bert")}) as engine:
        with pytest.raises(UnknownModelError, match=r"no model \[n\] is configured; known: m"):
            await engine.scores("n", "a query", ["a text"])


async def test_very_many_texts_do_not_hold_the_event_loop(tiny_model: TinyModel) -> None:
    """Their scores are also those of a few texts, in their order."""
    some = texts(50)
    async with running({"m": tiny_model("bert")}) as engine:
        expected = await engine.scores("m", "a query", some)
        with longest_step() as longest:
            reranked = await engine.scores("m", "a query", some * 1000)
    assert longest.seconds < 0.05, longest.what
    assert list(reranked.values) == list(expected.values) * 1000
    assert (reranked.cached, reranked.truncated) == (50_000, expected.truncated * 1000)


async def test_a_failure_in_a_later_portion_is_the_calls(tiny_model: TinyModel) -> None:
    many = ["a text"] * 3000
    async with running({"m": tiny_model("bert")}, queue_tokens=2000) as engine:
        with pytest.raises(QueueFullError):
            await engine.scores("m", "a query", [*many, *(f"{at} texts" for at in range(3000))])
        assert len((await engine.scores("m", "a query", many)).values) == 3000


async def test_scores_are_float32(tiny_model: TinyModel) -> None:
    import numpy as np

    async with running({"m": tiny_model("bert")}) as engine:
        scores = (await engine.scores("m", "a query", texts(20))).values
    assert all(type(score) is float for score in scores)
    assert [float(np.float32(score)) for score in scores] == list(scores)


async def test_half_a_surrogate_pair_is_text_like_any_other(tiny_model: TinyModel) -> None:
    """JSON can spell it, but no tokenizer accepts it."""
    async with running({"m": tiny_model("bert")}) as engine:
        broken = await engine.scores("m", "a \ud83d query", ["b \udc00 text"])
        replaced = await engine.scores("m", "a \ufffd query", ["b \ufffd text"])
    assert broken.values == replaced.values


async def test_what_was_scored_is_remembered(tiny_model: TinyModel) -> None:
    registry = CollectorRegistry()
    async with running({"m": tiny_model("bert")}, registry) as engine:
        first = await engine.scores("m", "a query", ["one", "two"])
        second = await engine.scores("m", "a query", ["two", "three", "one"])
        other = await engine.scores("m", "another query", ["one"])
    assert (first.cached, second.cached, other.cached) == (0, 2, 0)
    assert (second.values[2], second.values[0]) == tuple(first.values)
    assert other.values[0] != first.values[0]
    assert value(registry, "pairs_scored_total") == 4
    assert (value(registry, "cache_hits_total"), value(registry, "cache_misses_total")) == (2, 4)


async def test_remembered_is_per_model(tiny_model: TinyModel) -> None:
    directory = tiny_model("bert")
    models: dict[str, OnDisk] = {"short": {"source": directory, "max_length": 12}, "long": directory}
    async with running(models) as engine:
        for name in models:
            assert (await engine.scores(name, "a query", ["rivers and trees " * 5])).cached == 0


async def test_without_a_cache_nothing_is_remembered(tiny_model: TinyModel) -> None:
    async with running({"m": tiny_model("bert")}, cache_bytes=0) as engine:
        for _ in range(2):
            assert (await engine.scores("m", "a query", ["one"])).cached == 0


@pytest.mark.parametrize("cache_bytes", [0, 1_000_000])
async def test_the_same_text_runs_once_in_a_call(tiny_model: TinyModel, cache_bytes: int) -> None:
    registry = CollectorRegistry()
    async with running({"m": tiny_model("bert")}, registry, cache_bytes=cache_bytes) as engine:
        scores = (await engine.scores("m", "a query", ["one", "two", "one"] * 20)).values
    assert value(registry, "pairs_scored_total") == 2
    assert scores == [*scores[:3]] * 20
    assert scores[0] == scores[2]


async def test_the_same_call_at_the_same_time_runs_once(tiny_model: TinyModel) -> None:
    registry = CollectorRegistry()
    async with running({"m": tiny_model("bert")}, registry) as engine:
        calls = [engine.scores("m", "a query", texts(200)) for _ in range(5)]
        replies = await asyncio.gather(*calls)
    assert all(reply.values == replies[0].values for reply in replies)
    assert value(registry, "pairs_scored_total") == len(set(texts(200)))


async def test_what_was_scored_while_a_call_tokenised_is_not_scored_again(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, gate, first = threading.Event(), threading.Event(), threading.Semaphore(1)
    encode = CrossEncoder.encode

    def slow_at_first(
        self: CrossEncoder, query: str, texts: Sequence[str], positions: Sequence[int]
    ) -> Iterator[list[Row]]:
        if texts[0] == "one" and first.acquire(blocking=False):
            entered.set()
            assert gate.wait(30)
        return encode(self, query, texts, positions)

    monkeypatch.setattr(CrossEncoder, "encode", slow_at_first)
    registry = CollectorRegistry()
    async with running({"m": tiny_model("bert")}, registry) as engine:
        slow = asyncio.create_task(engine.scores("m", "a query", ["one", "two"]))
        assert await asyncio.to_thread(entered.wait, TIMEOUT_S)
        quick = await engine.scores("m", "a query", ["one", "two"])
        gate.set()
        assert (await slow).values == quick.values
    assert value(registry, "pairs_scored_total") == 2


async def test_remembered_scores_of_a_few_texts_wait_for_no_other_thread(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    entered, gate = threading.Semaphore(0), threading.Event()
    encode = CrossEncoder.encode

    def held(
        self: CrossEncoder, query: str, texts: Sequence[str], positions: Sequence[int]
    ) -> Iterator[list[Row]]:
        if query == "held":
            entered.release()
            assert gate.wait(TIMEOUT_S)
        return encode(self, query, texts, positions)

    monkeypatch.setattr(CrossEncoder, "encode", held)
    async with running({"m": tiny_model("bert")}) as engine:
        expected = await engine.scores("m", "a query", texts(10))
        others = [asyncio.create_task(engine.scores("m", "held", [text])) for text in ("one", "two")]
        for _ in others:  # Now both threads that tokenise are busy.
            assert await asyncio.to_thread(entered.acquire, timeout=TIMEOUT_S)
        remembered = await engine.scores("m", "a query", texts(10))
        gate.set()
        await asyncio.gather(*others)
    assert (remembered.values, remembered.cached) == (expected.values, 10)


async def test_cut_texts_are_counted_also_when_remembered(tiny_model: TinyModel) -> None:
    registry = CollectorRegistry()
    async with running({"m": tiny_model("bert")}, registry) as engine:
        for _ in range(2):
            assert (await engine.scores("m", "a query", ["short", "rivers " * 60])).truncated == 1
        assert (await engine.scores("m", "rivers " * 60, ["short", "text"])).truncated == 2
    assert value(registry, "pairs_truncated_total") == 3


async def test_a_deadline_while_the_model_loads(tiny_model: TinyModel) -> None:
    async with running({"m": tiny_model("bert")}) as engine:
        with pytest.raises(DeadlineExceededError, match=r"model \[m\] was still loading"):
            await engine.scores("m", "a query", ["a text"], deadline=asyncio.get_running_loop().time())
        assert len((await engine.scores("m", "a query", ["a text"])).values) == 1


async def test_a_deadline_drops_what_still_waits(tiny_model: TinyModel) -> None:
    registry = CollectorRegistry()
    async with running({"m": tiny_model("bert")}, registry, budget_tokens=64) as engine:
        await engine.scores("m", "a query", ["a text"])
        with pytest.raises(DeadlineExceededError, match="not done with the texts"):
            await engine.scores("m", "rivers", texts(20_000), asyncio.get_running_loop().time() + 0.05)
        await engine.scores("m", "a query", ["another text"])
        assert value(registry, "queued_tokens") == value(registry, "queued_pairs") == 0
    assert value(registry, "pairs_scored_total") < 20_000


async def test_a_cancelled_call_drops_what_still_waits(tiny_model: TinyModel) -> None:
    registry = CollectorRegistry()
    async with running({"m": tiny_model("bert")}, registry, budget_tokens=64) as engine:
        await engine.scores("m", "a query", ["a text"])
        call = asyncio.create_task(engine.scores("m", "rivers", texts(5_000)))
        async with asyncio.timeout(TIMEOUT_S):
            while value(registry, "queued_pairs") == 0:
                await engine.scores("m", "a query", ["something to wait for"])
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert value(registry, "queued_tokens") == value(registry, "queued_pairs") == 0
        assert len((await engine.scores("m", "a query", ["another text"])).values) == 1
    assert value(registry, "pairs_scored_total") < 5_000


async def test_a_full_queue_refuses_the_call(tiny_model: TinyModel) -> None:
    registry = CollectorRegistry()
    async with running({"m": tiny_model("bert")}, registry, queue_tokens=500) as engine:
        with pytest.raises(QueueFullError, match=r"tokens, more than engine\.queue_tokens"):
            await engine.scores("m", "a query", texts(200))
        assert len((await engine.scores("m", "a query", texts(8))).values) == 8
    assert value(registry, "rejected_total") == 1


async def test_what_is_beyond_the_limit_of_a_text_is_cut(tiny_model: TinyModel) -> None:
    async with running({"m": tiny_model("bert")}, text_characters=20) as engine:
        long = await engine.scores("m", "rivers", ["trees " * 3, "trees and " + "x" * 1000])
        short = await engine.scores("m", "rivers", ["trees " * 3, "trees and " + "x" * 10])
        query = await engine.scores("m", "rivers " * 20, ["one", "two"])
    assert long.values == short.values
    assert (long.truncated, short.truncated, query.truncated) == (1, 0, 2)


async def test_the_memory_of_texts_is_bounded(tiny_model: TinyModel) -> None:
    registry = CollectorRegistry()
    async with running({"m": tiny_model("bert")}, registry, queue_bytes=10_000) as engine:
        with pytest.raises(QueueFullError, match=r"bytes, more than engine\.queue_bytes"):
            await engine.scores("m", "rivers", ["x" * 10_000])
        replies = await asyncio.gather(
            *(engine.scores("m", "rivers", ["x" * 4_000]) for _ in range(3)), return_exceptions=True
        )
        assert [type(reply).__name__ for reply in replies] == ["Scores", "Scores", "QueueFullError"]
        assert len((await engine.scores("m", "rivers", ["y" * 9_000])).values) == 1
    assert value(registry, "rejected_total") == 2


async def test_no_more_rows_are_made_than_the_queue_takes(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[int] = []
    encode = CrossEncoder.encode

    def counted(
        self: CrossEncoder, query: str, texts: Sequence[str], positions: Sequence[int]
    ) -> Iterator[list[Row]]:
        for piece in encode(self, query, texts, positions):
            made.append(len(piece))
            yield piece

    monkeypatch.setattr(CrossEncoder, "encode", counted)
    async with running({"m": tiny_model("bert")}, queue_tokens=500) as engine:
        made.clear()
        with pytest.raises(QueueFullError, match=r"more than engine\.queue_tokens"):
            await engine.scores("m", "rivers", [f"{number} " * 500 for number in range(2_000)])
    assert sum(made) < 20


async def test_closing_ends_calls_and_loads(tiny_model: TinyModel, tmp_path: Path) -> None:
    engine = Engine({"m": ModelSettings(source=str(tiny_model("bert")))}, EngineSettings(budget_tokens=64))
    await engine.start()
    await engine.scores("m", "a query", ["a text"])
    call = asyncio.create_task(engine.scores("m", "rivers", texts(5_000)))
    await asyncio.sleep(0)
    await engine.close()
    with pytest.raises(EngineClosedError):
        await call
    with pytest.raises(EngineClosedError):
        await engine.scores("m", "rivers", ["a text"])

    never_ready = Engine({"m": ModelSettings(source=str(tiny_model("bert")))}, EngineSettings())
    await never_ready.start()
    waiting = asyncio.create_task(never_ready.scores("m", "a query", ["a text"]))
    await never_ready.close()
    with pytest.raises(EngineClosedError):
        await waiting


async def test_metrics_tell_what_is_loaded(tiny_model: TinyModel, tmp_path: Path) -> None:
    registry = CollectorRegistry()
    async with running({"m": tiny_model("electra"), "bad": tmp_path}, registry) as engine:
        await engine.scores("m", "a query", texts(30))
    assert (value(registry, "model_ready"), value(registry, "model_load_failed")) == (1, 0)
    assert (value(registry, "model_ready", "bad"), value(registry, "model_load_failed", "bad")) == (0, 1)
    assert value(registry, "batches_total") >= 1
    assert value(registry, "batch_tokens_total") > 30
    assert value(registry, "batch_seconds_count") == value(registry, "batches_total")
    assert value(registry, "tokenize_seconds_count") == 1
    (info,) = [
        sample.labels
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == "rerank_proxy_engine_model_info"
    ]
    assert (info["model"], info["kind"], info["device"]) == ("m", "cross-encoder", "cpu")
    assert len(info["fingerprint"]) == 64


def test_importing_the_engine_imports_neither_torch_nor_transformers() -> None:
    heavy = {"torch", "transformers", "huggingface_hub"}
    code = f"import sys, rerank_proxy.engine; print({heavy} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT_S, check=True
    )
    assert done.stdout.strip() == "set()"


def test_loading_says_nothing_on_the_way(tiny_model: TinyModel) -> None:
    """No progress bars, advice or warnings: in a separate process, because pytest has disabled them here."""
    code = f"""
import asyncio
from rerank_proxy.engine import Engine
from rerank_proxy.engine.rows import Row
from rerank_proxy.engine.encoding.scorers import CrossEncoder
from rerank_proxy.settings import EngineSettings, ModelSettings
async def main():
    engine = Engine({{"m": ModelSettings(source={str(tiny_model("deberta-v2"))!r})}}, EngineSettings())
    await engine.start()
    print(len((await engine.scores("m", "a query", ["a text", "another"])).values))
    await engine.close()
asyncio.run(main())
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT_S, check=True
    )
    assert (done.stdout.strip(), done.stderr.strip()) == ("2", "")
