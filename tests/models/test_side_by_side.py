"""Several threads run one model at the same time, and each gets what it would get alone."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoConfig, BigBirdConfig, Qwen3Config

from rerank_proxy.engine.backends.cpu import DeviceThreads
from rerank_proxy.engine.backends.protocol import Backend
from rerank_proxy.engine.backends.stateless import is_stateless
from rerank_proxy.engine.encoding.encode import gathered
from rerank_proxy.engine.loading.load import load
from rerank_proxy.engine.rows import Batch, Row
from rerank_proxy.settings import EngineSettings, ModelSettings
from tests.models.conftest import TinyModel
from tests.models.samples import texts
from tests.support import packages
from tests.support.engines import running
from tests.support.raw_http import TIMEOUT_S
from tests.support.tiny_models import KINDS

WORKERS = 3
ROUNDS = 3


def batches(rows: list[Row]) -> list[Batch]:
    """Batches that all differ in the number and the lengths of their rows."""
    return [Batch.of(rows[at : at + at % 5 + 1]) for at in range(0, len(rows), 2)]


def check(backend: Backend, rows: list[Row]) -> None:
    """Compare what threads side by side get with what one gets."""
    assert not backend.serial
    every = batches(rows)
    expected = [backend.score(batch) for batch in every]
    begin = threading.Barrier(WORKERS)

    def work(first: int) -> None:
        DeviceThreads(1).use(1)
        begin.wait()
        for at in range(ROUNDS * len(every)):
            number = (at * (first + 1) + first) % len(every)
            np.testing.assert_allclose(backend.score(every[number]), expected[number], rtol=0, atol=1e-6)

    with ThreadPoolExecutor(WORKERS) as pool:
        list(pool.map(work, range(WORKERS)))


@pytest.mark.parametrize("kind", KINDS)
def test_of_transformers(tiny_model: TinyModel, kind: str) -> None:
    model = load("m", ModelSettings(source=str(tiny_model(kind))), EngineSettings(device="cpu"))
    if not model.backend.padded or is_stateless(AutoConfig.from_pretrained(tiny_model(kind))):
        check(model.backend, gathered(model.scorer.encode("rivers", texts(20), range(20))))
    else:
        assert model.backend.serial


def test_of_a_package(tiny_model: TinyModel, tmp_path: Path) -> None:
    packages.build("bert", tiny_model("bert"), tmp_path)
    model = load("m", ModelSettings(source=str(tmp_path)), EngineSettings(device="cpu"))
    check(model.backend, gathered(model.scorer.encode("rivers", texts(20), range(20))))


def test_models_that_may_change_while_they_run() -> None:
    assert not is_stateless(BigBirdConfig())
    assert is_stateless(Qwen3Config())
    dynamic = {"rope_type": "dynamic", "factor": 2.0, "rope_theta": 1e4}
    assert not is_stateless(Qwen3Config(rope_parameters=dynamic))


def test_a_thread_keeps_its_number_of_threads() -> None:
    """The first operation of a thread takes over the number that any thread set last, unless told before."""
    chosen, other = threading.Event(), threading.Event()

    def work() -> int:
        DeviceThreads(4).use(1)
        chosen.set()
        assert other.wait(TIMEOUT_S)
        values = torch.ones(1000, 1000)
        assert (values + values).sum() == 2e6
        return torch.get_num_threads()

    def disturb() -> None:
        assert chosen.wait(TIMEOUT_S)
        DeviceThreads(4).use(3)
        other.set()

    assert on_threads(work, disturb)[0] == 1


def on_threads(*work: Callable[[], int | None]) -> list[int | None]:
    with ThreadPoolExecutor(len(work)) as pool:
        return [each.result() for each in [pool.submit(each) for each in work]]


async def test_of_an_engine(tiny_model: TinyModel) -> None:
    """Whatever the number of workers, a call gets the same scores."""
    found = []
    for workers in (1, 3):
        async with running(
            {"m": tiny_model("bert")}, threads=3, workers=workers, cache_bytes=0, budget_tokens=200
        ) as engine:
            found.append((await engine.scores("m", "a query", texts(60))).values)
    np.testing.assert_allclose(found[1], found[0], rtol=0, atol=1e-6)
