"""Lower precision: near float32, whatever lies beside a row, and refused where the order changes."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats
from torch import nn

from rerank_proxy.engine.backends.packed import reduced
from rerank_proxy.engine.backends.packed.linear import FullPrecision
from rerank_proxy.engine.backends.packed.reduced import BFloat16, Float16, Int8, best_engine, running
from rerank_proxy.engine.encoding.encode import gathered
from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.choose import load
from rerank_proxy.engine.loading.choosing import parity
from rerank_proxy.engine.loading.choosing.other_libraries import OtherLibraries
from rerank_proxy.engine.loading.choosing.parity import compare, overlap, spearman
from rerank_proxy.engine.loading.choosing.probes import QUERIES, TEXTS
from rerank_proxy.engine.rows import Batch, Row
from rerank_proxy.settings import EngineSettings, ModelSettings
from tests.models.conftest import TinyModel
from tests.models.samples import texts
from tests.support.examples import examples

ENGINES = [
    "onnxruntime",
    *(each for each in ("fbgemm", "onednn") if each in torch.backends.quantized.supported_engines),
]
REDUCED: dict[str, Callable[..., Any]] = {
    "bf16": BFloat16,
    "fp16": Float16,
    **{f"int8 {engine}": partial(Int8, engine=engine) for engine in ENGINES},
}
NEAR = {"bf16": 0.02, "fp16": 0.003}


@pytest.fixture(autouse=True)
def _only_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave out what `test_other_libraries.py` tests, which takes seconds."""
    monkeypatch.setattr(OtherLibraries, "ways", lambda self: [])


def layers(*sizes: int) -> list[nn.Linear]:
    torch.manual_seed(1)
    return [nn.Linear(64, size) for size in sizes]


def batch(*lengths: int) -> Batch:
    """Rows between a special token of its own at the start and one at the end."""
    rng = np.random.default_rng(len(lengths))
    rows = [np.concatenate([[1], rng.integers(3, 99, length - 2), [2]]) for length in lengths]
    return Batch.of([Row(ids.astype(np.int32), np.zeros(len(ids), np.uint8), False) for ids in rows])


@pytest.mark.parametrize("name", REDUCED)
def test_layers_in_lower_precision_are_near_the_exact_ones(name: str) -> None:
    parts = layers(32, 48)
    rows = batch(40, 20, 7)
    values = torch.randn(rows.tokens, 64)
    exact = FullPrecision(*parts)(values)
    with running(rows), torch.inference_mode():
        reduced = REDUCED[name](*parts)(values)
    assert reduced.dtype == torch.float32
    difference = (reduced - exact).abs().max()
    assert 0 < difference < NEAR.get(name, 0.08)


@pytest.mark.parametrize("name", REDUCED)
def test_layers_without_a_bias(name: str) -> None:
    part = nn.Linear(64, 32, bias=False)
    rows = batch(30)
    values = torch.randn(rows.tokens, 64)
    with running(rows), torch.inference_mode():
        np.testing.assert_allclose(REDUCED[name](part)(values), FullPrecision(part)(values), atol=0.08)


@pytest.mark.parametrize("engine", ENGINES)
@given(lengths=st.lists(st.integers(2, 60), min_size=1, max_size=5), at=st.integers(0, 4))
@examples(5)
def test_a_row_of_integers_does_not_depend_on_its_neighbours(
    engine: str, lengths: list[int], at: int
) -> None:
    at %= len(lengths)
    layer = Int8(*layers(32), engine=engine)
    rows = batch(*lengths)
    torch.manual_seed(2)
    # Values of one row that are much larger would take the steps of the others' if they shared them.
    values = torch.randn(rows.tokens, 64) * torch.repeat_interleave(
        torch.tensor([10.0**number for number in range(len(lengths))]), torch.from_numpy(rows.lengths)
    ).unsqueeze(1)
    start = int(rows.lengths[:at].sum())
    part = slice(start, start + lengths[at])
    with torch.inference_mode():
        with running(rows):
            together = layer(values)[part]
        with running(Batch(rows.ids[part], rows.type_ids[part], rows.lengths[at : at + 1])):
            alone = layer(values[part])
    np.testing.assert_allclose(together, alone, rtol=1e-5, atol=1e-5 * 10.0**at)


def test_onnx_runtime_multiplies_where_it_is_installed_and_a_batch_has_one_thread(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert best_engine() == "onnxruntime"
    assert best_engine(threads=2) in ENGINES[1:]
    monkeypatch.setattr(reduced, "installed", lambda: False)
    assert best_engine() in ENGINES[1:]


def test_outputs_whose_weights_are_zero() -> None:
    (part,) = layers(8)
    part.weight.data[3] = 0
    rows = batch(30)
    for engine in ENGINES:
        with running(rows), torch.inference_mode():
            output = Int8(part, engine=engine)(torch.randn(rows.tokens, 64))
        np.testing.assert_allclose(output[:, 3], part.bias[3].detach().expand(rows.tokens), rtol=1e-6)


def loaded(directory: Path, cache: Path, **engine: Any) -> Any:
    return load("m", ModelSettings(source=str(directory)), EngineSettings(artifacts_dir=cache, **engine))


@pytest.mark.parametrize(
    ("kind", "precision"), [("bert", "int8"), ("bert", "bf16"), ("bert", "fp16"), ("modernbert", "int8")]
)
def test_scores_are_near_those_in_fp32(
    tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, precision: str
) -> None:
    monkeypatch.setattr(parity, "MIN_OVERLAP", 0.8)  # a random model scores many texts almost alike
    models = [loaded(tiny_model(kind), tmp_path, precision=each) for each in ("fp32", precision)]
    documents = texts(40)
    rows = gathered(models[0].scorer.encode("rivers", documents, range(len(documents))))
    exact, reduced = (model.backend.score(Batch.of(rows)).ravel() for model in models)
    assert models[1].info["precision"] == precision
    assert models[0].info["fingerprint"] != models[1].info["fingerprint"]
    assert (exact != reduced).any()
    assert stats.spearmanr(exact, reduced)[0] > 0.99


def test_a_precision_that_changes_the_order_is_refused(
    tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Int8, "__call__", lambda self, values: torch.round(self._exact(values)))
    with pytest.raises(ModelLoadError, match=r"\[int8\]: its order is too different .* \(Spearman"):
        loaded(tiny_model("bert"), tmp_path, precision="int8")


def test_a_model_that_needs_padding_has_no_int8(tiny_model: TinyModel, tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match=r"\[int8\]: there is no such way to run this kind of model"):
        loaded(tiny_model("bart"), tmp_path, precision="int8")


def test_auto_measures_once_and_takes_what_keeps_the_order(
    tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parity, "MIN_OVERLAP", 0.8)
    from rerank_proxy.engine.loading.choosing import precision

    measured: list[set[str]] = []
    seconds = precision._seconds

    def count(backends: Any, *arguments: Any) -> Any:
        measured.append(set(backends))
        spent = seconds(backends, *arguments)
        return {name: spent["fp32"] * (0.5 if name == "int8" else 1) for name in spent}

    monkeypatch.setattr(precision, "_seconds", count)
    first = loaded(tiny_model("bert"), tmp_path, precision="auto")
    again = loaded(tiny_model("bert"), tmp_path, precision="auto")
    assert first.info["precision"] == again.info["precision"] == "int8"
    assert len(measured) == 1
    assert {"fp32", "int8"} <= measured[0]
    assert first.info["fingerprint"] == again.info["fingerprint"]
    loaded(tiny_model("electra"), tmp_path, precision="auto")
    assert len(measured) == 2, "another model is measured for itself"
    (tmp_path / "precision.json").write_text('{"damaged')
    loaded(tiny_model("bert"), tmp_path, precision="auto")
    assert len(measured) == 3
    assert loaded(tiny_model("bert"), tmp_path, precision="auto").info["precision"] == "int8"
    assert len(measured) == 3


def test_auto_never_takes_what_changes_the_order(
    tiny_model: TinyModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for kind in (Int8, BFloat16):
        monkeypatch.setattr(kind, "__call__", lambda self, values: torch.zeros(len(values), 1))
    assert loaded(tiny_model("bert"), tmp_path, precision="auto").info["precision"] == "fp32"


def test_measuring_leaves_the_number_of_threads(tiny_model: TinyModel, tmp_path: Path) -> None:
    before = torch.get_num_threads()
    torch.set_num_threads(2)  # measuring takes one, which is also what the tests have
    try:
        loaded(tiny_model("bert"), tmp_path, precision="auto")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


@given(st.data())
@examples(4)
def test_figures_are_those_of_scipy(data: st.DataObject) -> None:
    numbers = st.integers(0, 6).map(float)
    count = data.draw(st.integers(3, 30))
    first, second = (np.array(data.draw(st.lists(numbers, min_size=count, max_size=count))) for _ in range(2))
    if np.ptp(first) and np.ptp(second):
        assert spearman(first, second) == pytest.approx(stats.spearmanr(first, second)[0])
    assert spearman(first, first) == pytest.approx(1)
    assert overlap(first, first) == 1


def test_figures_of_what_cannot_be_compared() -> None:
    numbers = np.arange(20.0)
    assert spearman(numbers, np.where(numbers == 3, np.nan, numbers)) == -1
    assert spearman(numbers, np.zeros(20)) == 0
    assert overlap(numbers, -numbers) == 0
    assert not compare([numbers], [-numbers]).is_enough


def test_probes_have_ten_texts_for_each_query() -> None:
    assert len(TEXTS) == 10 * len(QUERIES)
    assert len(set(TEXTS)) == len(TEXTS)
    lengths = [len(text.split()) for text in TEXTS]
    assert min(lengths) == 1
    assert max(lengths) > 50
