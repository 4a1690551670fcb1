"""Backends of other packages: real distributions, found as installed ones are."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry

from rerank_proxy.engine import InferenceError, ModelFailedError, QueueFullError
from rerank_proxy.engine.encoding.encode import gathered
from rerank_proxy.engine.loading.plugins import _pairs, _TextsAsRows
from rerank_proxy.engine.rows import Batch
from tests.models.samples import texts
from tests.support.engines import running

CODE = """
from rerank_proxy.engine.errors import ModelLoadError

class Overlap:
    info = {"device": "abacus"}

    def __init__(self, weight):
        self.weight = weight
        self.calls = []

    def score(self, query, texts):
        self.calls.append((query, list(texts)))
        if "nan" in texts:
            return [float("nan")] * len(texts)
        if "few" in texts:
            return []
        words = set(query.split())
        return [self.weight * len(words & set(text.split())) for text in texts]

def load(directory, settings, engine):
    if settings.max_length is not None:
        raise ModelLoadError("it takes no max_length")
    loaded.append(Overlap(float((directory / "weight.txt").read_text())))
    return loaded[-1]

loaded = []
"""

Install = Callable[[str], None]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Install:
    """Install a package [overlap-backend] with this code, under the entry point [overlap]."""

    def install(code: str) -> None:
        site = tmp_path / "site"
        about = site / "overlap_backend-1.5.dist-info"
        about.mkdir(parents=True)
        (site / "overlap_backend.py").write_text(code)
        (about / "METADATA").write_text("Metadata-Version: 2.1\nName: overlap-backend\nVersion: 1.5\n")
        (about / "entry_points.txt").write_text("[rerank_proxy.backends]\noverlap = overlap_backend\n")
        monkeypatch.syspath_prepend(site)
        monkeypatch.delitem(sys.modules, "overlap_backend", raising=False)

    return install


@pytest.fixture
def model(tmp_path: Path) -> dict[str, Any]:
    directory = tmp_path / "model"
    directory.mkdir()
    (directory / "weight.txt").write_text("0.5")
    return {"source": directory, "backend": "overlap"}


async def test_a_plug_in_is_a_model_like_any_other(install: Install, model: dict[str, Any]) -> None:
    install(CODE)
    registry = CollectorRegistry()
    async with running({"m": model}, registry, queue_tokens=2000) as engine:
        documents = ["Brücke 北京 🙂", "", "a b", "b a c"]
        first = await engine.scores("m", "a b 北京", documents)
        assert list(first.values) == [0.5, 0.0, 1.0, 1.0]
        assert (await engine.scores("m", "a b 北京", documents)).cached == 4
        assert registry.get_sample_value("rerank_proxy_engine_pairs_scored_total", {"model": "m"}) == 4
        with pytest.raises(QueueFullError, match=r"engine\.queue_tokens"):
            await engine.scores("m", "a", ["text " * 3000])
        status = engine.status()["m"]
    assert "cross-encoder overlap (overlap-backend 1.5) on abacus" in status.detail


async def test_settings_of_every_model_hold(install: Install, model: dict[str, Any]) -> None:
    install(CODE)
    async with running({"m": {**model, "activation": "sigmoid"}}) as engine:
        (score,) = (await engine.scores("m", "a", ["b"])).values
    assert score == 0.5


async def test_texts_of_one_query_run_together(install: Install, model: dict[str, Any]) -> None:
    install(CODE)
    async with running({"m": model}) as engine:
        await engine.scores("m", "a query", texts(20))
        import overlap_backend  # type: ignore[import-not-found]  # installed above

        (query, together), *_ = overlap_backend.loaded[-1].calls[1:]  # the first one warms up
        assert (query, len(together)) == ("a query", 20)


@pytest.mark.parametrize(
    ("text", "reason"),
    [("nan", "not a finite number .*; ask those"), ("few", "gave 0 scores for 1")],
)
async def test_scores_that_are_none_fail_their_call(
    install: Install, model: dict[str, Any], text: str, reason: str
) -> None:
    install(CODE)
    async with running({"m": model}) as engine:
        with pytest.raises(InferenceError, match=reason):
            await engine.scores("m", "a", [text])
        assert len((await engine.scores("m", "a", ["b"])).values) == 1


async def refusal(model: dict[str, Any]) -> str:
    async with running({"m": model}) as engine:
        with pytest.raises(ModelFailedError) as failed:
            await engine.scores("m", "a", ["b"])
    assert "\n" not in str(failed.value)
    return str(failed.value)


async def test_an_unknown_backend(install: Install, model: dict[str, Any]) -> None:
    install(CODE)
    assert "there is no backend [unheard]; there are: auto, torch, onnx, overlap." in await refusal(
        {**model, "backend": "unheard"}
    )


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (
            "import nothing_like_it",
            "[overlap] of overlap-backend 1.5 cannot be imported (ModuleN",
        ),
        ("", "[overlap] of overlap-backend 1.5 has no function [load]"),
        ("def load(*given): raise OSError('no abacus')", "cannot be loaded (OSError: no abacus)"),
    ],
)
async def test_broken_plug_ins(install: Install, model: dict[str, Any], code: str, reason: str) -> None:
    install(code)
    assert reason in await refusal(model)


async def test_a_plug_in_tells_what_it_does_not_take(install: Install, model: dict[str, Any]) -> None:
    install(CODE)
    assert "it takes no max_length" in await refusal({**model, "max_length": 20})


@given(query=st.text(), documents=st.lists(st.text(), min_size=1, max_size=5))
def test_texts_survive_the_queue(query: str, documents: list[str]) -> None:
    rows = gathered(_TextsAsRows().encode(query, documents))
    assert _pairs(Batch.of(rows)) == [(query, text) for text in documents]
    lengths = np.array([len(row) for row in rows])
    assert (lengths <= [2 + (len(query.encode()) + len(text.encode())) // 4 for text in documents]).all()
