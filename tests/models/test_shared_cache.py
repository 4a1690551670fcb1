"""Engines that share their outputs: what one has scored another finds, and nothing else."""

import asyncio
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer import modules

from rerank_proxy.engine import DeadlineUnreachableError, Engine
from rerank_proxy.engine.batching.pace import Pace
from rerank_proxy.settings.values import InvalidSettingsError
from tests.models.conftest import TinyModel
from tests.models.samples import texts
from tests.support import tiny_generating, tiny_late, tiny_models
from tests.support.engines import OnDisk, running
from tests.support.raw_http import TIMEOUT_S
from tests.support.valkey import CLOSES, HANGS, Answer, misbehaving, valkey
from tests.support.waiting import until_true

QUERY = "who carries water to the sea?"
WINDOW = texts(12)


@pytest.fixture(scope="module")
def server() -> Iterator[int]:
    with valkey() as port:
        yield port


@dataclass(frozen=True)
class Replica:
    """An engine with its metrics."""

    engine: Engine
    registry: CollectorRegistry

    def count(self, name: str, **labels: str) -> int:
        return int(self.registry.get_sample_value(f"rerank_proxy_engine_{name}", labels) or 0)

    @property
    def ran(self) -> int:
        """How many rows the model has run."""
        return self.count("pairs_scored_total", model="m")

    async def scores(self, window: Sequence[str] = WINDOW, instruction: str | None = None) -> list[float]:
        return list((await self.engine.scores("m", QUERY, window, instruction=instruction)).values)


@asynccontextmanager
async def replica(
    port: int, model: OnDisk, prefix: str, shared: Mapping[str, Any] | None = None, **settings: Any
) -> AsyncIterator[Replica]:
    """Run an engine whose shared cache is used."""
    cache = {"url": f"redis://127.0.0.1:{port}", "prefix": prefix, "timeout_s": TIMEOUT_S, **(shared or {})}
    registry = CollectorRegistry()
    async with running({"m": model}, registry, shared_cache=cache, **settings) as engine:
        started = Replica(engine, registry)
        await until_true(lambda: started.count("shared_cache_used") == 1)
        yield started


async def filled(
    port: int, model: OnDisk, prefix: str, instruction: str | None = None, **settings: Any
) -> list[float]:
    """Have one replica score and write; return its scores."""
    async with replica(port, model, prefix, **settings) as one:
        scores = await one.scores(instruction=instruction)
        await until_true(lambda: one.count("shared_cache_written_total") == one.ran > 0)
        return scores


def bi_encoder(directory: Path) -> Path:
    transformer = modules.Transformer(str(tiny_models.build_encoder("bert", directory / "encoder")))
    pooling = modules.Pooling(transformer.get_embedding_dimension())
    SentenceTransformer(modules=[transformer, pooling]).save(str(directory / "model"))
    return directory / "model"


def late_interaction(directory: Path) -> Path:
    tiny_late.save(directory / "model", tiny_models.build_encoder("bert", directory / "encoder"))
    return directory / "model"


def cross_encoder(directory: Path) -> Path:
    return tiny_models.build("bert", directory)


def windows(directory: Path) -> Any:
    return {"source": cross_encoder(directory), "windows": "max", "max_length": 24}


@pytest.mark.parametrize("build", [cross_encoder, bi_encoder, late_interaction, windows])
async def test_what_one_has_scored_another_has(
    server: int, tmp_path: Path, build: Callable[[Path], OnDisk]
) -> None:
    model = build(tmp_path)
    async with replica(server, model, tmp_path.name + build.__name__) as one:
        expected = await one.engine.scores("m", QUERY, WINDOW)
        await until_true(lambda: one.count("shared_cache_written_total") > 0)
        assert one.count("shared_cache_dropped_total") == 0
    async with replica(server, model, tmp_path.name + build.__name__) as other:
        scores = await other.engine.scores("m", QUERY, WINDOW)
        assert list(scores.values) == list(expected.values)
        assert (scores.cached, scores.truncated, expected.cached) == (len(WINDOW), expected.truncated, 0)
        assert other.ran == 0
        hits = other.count("shared_cache_hits_total", model="m")
        assert await other.scores() == list(expected.values)
        assert other.count("shared_cache_hits_total", model="m") == hits, "the first level has them now"
        await other.scores([*WINDOW, "another"])
        assert other.ran == 1


@pytest.mark.parametrize(
    ("changed", "settings"),
    [
        ({"max_length": 30}, {}),
        ({"truncation": "second"}, {}),
        ({"windows": "max"}, {}),
        ({}, {"precision": "int8"}),
    ],
)
async def test_what_changes_scores_is_not_shared(
    server: int, tmp_path: Path, changed: dict[str, Any], settings: dict[str, Any]
) -> None:
    source = cross_encoder(tmp_path / "model")
    model = {"source": source, **changed}
    prefix = f"settings-{'-'.join([*changed, *settings])}"
    await filled(server, source, prefix)
    async with running({"m": model}, **settings) as engine:
        alone = list((await engine.scores("m", QUERY, WINDOW)).values)
    async with replica(server, model, prefix, **settings) as other:
        assert await other.scores() == alone
        assert other.ran >= len(WINDOW)


async def test_another_file_is_another_model(server: int, tmp_path: Path) -> None:
    one = cross_encoder(tmp_path / "one")
    await filled(server, one, "files")
    other = shutil.copytree(one, tmp_path / "other")
    async with replica(server, other, "files") as same:
        await same.scores()
        assert same.ran == 0
    config = other / "config.json"
    config.write_text(config.read_text().replace('"hidden_act": "gelu"', '"hidden_act": "relu"'))
    async with replica(server, other, "files") as changed:
        await changed.scores()
        assert changed.ran == len(WINDOW)


async def test_another_instruction_is_another_question(server: int, tmp_path: Path) -> None:
    model = {
        "source": tiny_generating.build(
            "qwen3", "SequenceClassification", tmp_path, tiny_generating.PAIR_TEMPLATE
        )
    }
    expected = await filled(server, model, "told", "Find rivers")
    async with replica(server, model, "told") as other:
        assert await other.scores(instruction="Find rivers") == expected
        assert other.ran == 0
        assert await other.scores(instruction="Find trees") != expected
        assert other.ran == len(WINDOW)


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: HANGS,
        lambda _: CLOSES,
        lambda _: b"*12\r\n$400\r\nthe beginning" + CLOSES,
        lambda _: b"*12\r\n" + 12 * b"$5\r\nwrong\r\n",
        lambda _: b"-OOM command not allowed when used memory > 'maxmemory'.\r\n",
        lambda _: b"\xff\x00 what is this?\r\n",
    ],
    ids=["hangs", "closes", "closes on the way", "wrong values", "an error", "noise"],
)
async def test_whatever_the_server_does_scores_are_right(tiny_model: TinyModel, answer: Answer) -> None:
    async with running({"m": tiny_model("bert")}) as engine:
        expected = list((await engine.scores("m", QUERY, WINDOW)).values)
    async with (
        misbehaving(answer) as double,
        replica(double.port, tiny_model("bert"), "p", {"timeout_s": 0.02}) as one,
    ):
        assert await one.scores() == expected
        assert await one.scores([*WINDOW, "another"]) == [*expected, *(await one.scores(["another"]))]
        assert one.ran == len(WINDOW) + 1
        assert b"MGET" in double.commands


async def test_without_a_server_there_are_scores(tiny_model: TinyModel) -> None:
    with valkey() as port:
        pass
    cache = {"url": f"redis://127.0.0.1:{port}"}
    async with running({"m": tiny_model("bert")}, shared_cache=cache) as engine:
        assert len((await engine.scores("m", QUERY, WINDOW)).values) == len(WINDOW)


async def test_what_is_shared_costs_no_time_of_the_device(server: int, tiny_model: TinyModel) -> None:
    """A call whose texts could not be scored by its deadline is served if others have scored them."""
    window = [f"text {number}" for number in range(2100)]
    async with replica(server, tiny_model("bert"), "time") as one:
        expected = await one.scores(window)
        await until_true(lambda: one.count("shared_cache_written_total") == len(window))
    async with replica(server, tiny_model("bert"), "time") as other:
        await other.scores(["warm"])
        async with other.engine._models.get("m").ready() as (_, lane):
            lane.pace = Pace()
        for tokens in (100, 200) * 5:
            lane.pace.observe(tokens, float(tokens))
        deadline = asyncio.get_running_loop().time() + TIMEOUT_S
        scores = await other.engine.scores("m", QUERY, window, deadline)
        assert list(scores.values) == expected
        with pytest.raises(DeadlineUnreachableError):
            await other.engine.scores("m", "another query", window, deadline)


def test_off_means_that_nothing_of_it_is_imported() -> None:
    code = """
import asyncio, sys
from rerank_proxy.engine import Engine
from rerank_proxy.settings import EngineSettings
async def main():
    engine = Engine({}, EngineSettings())
    await engine.start()
    await engine.close()
asyncio.run(main())
print({"redis", "hiredis"} & set(sys.modules))
"""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=TIMEOUT_S, check=True
    )
    assert done.stdout.strip() == "set()"


async def test_without_its_library_it_is_refused_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rerank_proxy.engine.shared_cache.opening.find_spec", lambda name: None)
    with pytest.raises(InvalidSettingsError, match=r"pip install 'rerank-proxy\[shared-cache\]'"):
        async with running({}, shared_cache={"url": "redis://localhost"}):
            pass
