"""Ways to run a model: the result of a row depends neither on the way nor on its neighbours."""

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.modules.module import register_module_forward_pre_hook

from rerank_proxy.engine.backends.device import names_of
from rerank_proxy.engine.backends.model_inputs import ModelInputs
from rerank_proxy.engine.backends.networks import Classifier
from rerank_proxy.engine.backends.packed import PackedTorchBackend, families
from rerank_proxy.engine.backends.padded import PaddedTorchBackend
from rerank_proxy.engine.encoding.encode import gathered
from rerank_proxy.engine.errors import ModelLoadError, OutOfDeviceMemoryError
from rerank_proxy.engine.loading.choose import load
from rerank_proxy.engine.loading.loaded_model import LoadedModel
from rerank_proxy.engine.rows import Batch, Row
from rerank_proxy.settings import EngineSettings, ModelSettings
from tests.models.conftest import TinyModel
from tests.models.samples import texts
from tests.support.tiny_late import made_by_colbert
from tests.support.tiny_models import KINDS, MAX_LENGTH

TOLERANCE = 1e-5


def loaded(directory: Path) -> LoadedModel:
    return load("m", ModelSettings(source=str(directory)), EngineSettings())


def rows(model: LoadedModel, count: int = 25) -> list[Row]:
    documents = texts(count)
    return gathered(model.scorer.encode("rivers", documents, range(count)))


@pytest.mark.parametrize("kind", KINDS)
def test_neighbours_do_not_matter(tiny_model: TinyModel, kind: str) -> None:
    model = loaded(tiny_model(kind))
    every = rows(model)
    alone = np.concatenate([model.backend.score(Batch.of([row])) for row in every])
    order = random.Random(1).sample(range(len(every)), len(every))
    together = model.backend.score(Batch.of([every[at] for at in order]))
    np.testing.assert_allclose(together, alone[order], rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("kind", KINDS)
def test_padding_is_left_out_where_the_build_allows(tiny_model: TinyModel, kind: str) -> None:
    backend = loaded(tiny_model(kind)).backend
    assert type(backend) is PackedTorchBackend
    assert not backend.padded


def test_an_encoder_whose_weights_were_merged_still_runs_the_general_way(tiny_model: TinyModel) -> None:
    model = loaded(tiny_model("roberta"))
    assert isinstance(model.backend, PackedTorchBackend)
    network = model.backend._network
    assert isinstance(network, Classifier)
    padded = PaddedTorchBackend(network, ModelInputs(torch.device("cpu"), pad_id=1, type_ids=False))
    batch = Batch.of(rows(model))
    np.testing.assert_allclose(padded.score(batch), model.backend.score(batch), rtol=0, atol=TOLERANCE)


def test_a_build_that_only_looks_alike_runs_the_general_way(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The two ways are compared on loading: a difference decides for the general one."""
    score = PackedTorchBackend.score
    monkeypatch.setattr(PackedTorchBackend, "score", lambda self, batch: score(self, batch) + 0.01)
    assert isinstance(loaded(tiny_model("bert")).backend, PaddedTorchBackend)


def test_a_build_that_is_not_known_runs_the_general_way(
    tiny_model: TinyModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(vars(families)["FAMILIES"], "mpnet")
    assert isinstance(loaded(tiny_model("mpnet")).backend, PaddedTorchBackend)


@pytest.mark.parametrize("kind", ["roberta", "mpnet", "bert", "deberta-v2"])
def test_the_limit_of_a_model_whose_tokenizer_names_none(
    tiny_model: TinyModel, tmp_path: Path, kind: str
) -> None:
    """RoBERTa and its relatives have two more positions than the tokens that they can take."""
    directory = Path(shutil.copytree(tiny_model(kind), tmp_path / kind))
    path = directory / "tokenizer_config.json"
    config = json.loads(path.read_text())
    del config["model_max_length"]
    path.write_text(json.dumps(config))
    model = loaded(directory)
    assert model.info["max_length"] == str(MAX_LENGTH)
    (row,) = gathered(model.scorer.encode("rivers", ["trees " * 100], [0]))
    assert len(row) == MAX_LENGTH
    assert np.isfinite(model.backend.score(Batch.of([row]))).all()


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory"),
        RuntimeError("MPS backend out of memory"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
        MemoryError("no room"),
    ],
)
@pytest.mark.parametrize("kind", ["packed", "padded", "vectors"])
def test_a_device_without_room_is_told_apart(
    tiny_model: TinyModel, tmp_path: Path, kind: str, error: Exception
) -> None:
    def fail(module: torch.nn.Module, arguments: object) -> None:
        raise error

    directory = tiny_model("bart" if kind == "padded" else "bert")
    if kind == "vectors":
        directory = made_by_colbert(tmp_path / "colbert", "bert", None)
    model = loaded(directory)
    batch = Batch.of(rows(model, 2))
    with register_module_forward_pre_hook(fail), pytest.raises(OutOfDeviceMemoryError, match=str(error)):
        model.backend.score(batch)


def test_other_errors_pass_through(tiny_model: TinyModel) -> None:
    def fail(module: torch.nn.Module, arguments: object) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    model = loaded(tiny_model("bert"))
    batch = Batch.of(rows(model, 2))
    with register_module_forward_pre_hook(fail), pytest.raises(RuntimeError, match="mat1 and mat2"):
        model.backend.score(batch)


def test_each_device_has_a_copy(tiny_model: TinyModel) -> None:
    """Two names of the CPU stand for two devices."""
    settings = ModelSettings(source=str(tiny_model("bert")))
    model = load("m", settings, EngineSettings(device="cpu,cpu:0", workers=2))
    assert model.info["device"] == "cpu, cpu:0"
    (copy,) = model.copies
    assert copy is not model.backend
    batch = Batch.of(rows(model))
    np.testing.assert_allclose(copy.score(batch), model.backend.score(batch), rtol=0, atol=TOLERANCE)
    alone = load("m", settings, EngineSettings(device="cpu"))
    assert model.memory_bytes == 2 * (alone.memory_bytes or 0)
    assert not load("m", settings, EngineSettings(device="cpu,cpu:0", workers=1)).copies


@pytest.mark.parametrize(
    ("setting", "gpus", "expected"),
    [
        ("auto", 0, ["cpu"]),
        ("auto", 1, ["cuda"]),
        ("auto", 3, ["cuda:0", "cuda:1", "cuda:2"]),
        ("cuda", 2, ["cuda:0", "cuda:1"]),
        ("cuda:1", 2, ["cuda:1"]),
        ("cuda:1,cuda:0,cuda:1", 2, ["cuda:1", "cuda:0"]),
        ("cpu", 2, ["cpu"]),
        ("mps", 0, ["mps"]),
    ],
)
def test_the_devices_of_a_setting(
    monkeypatch: pytest.MonkeyPatch, setting: str, gpus: int, expected: list[str]
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert names_of(setting) == expected


def test_a_device_that_is_not_there_is_named(tiny_model: TinyModel) -> None:
    with pytest.raises(ModelLoadError, match=r"engine\.device \[cuda:7\] cannot be used here"):
        load(
            "m", ModelSettings(source=str(tiny_model("bert"))), EngineSettings(device="cpu,cuda:7", workers=2)
        )


def test_a_fingerprint_is_of_the_model_and_how_it_runs(tiny_model: TinyModel) -> None:
    directory = str(tiny_model("bert"))
    settings = [
        ModelSettings(source=directory),
        ModelSettings(source=directory, truncation="second"),
        ModelSettings(source=directory, activation="sigmoid"),
        ModelSettings(source=directory, max_length=32),
        ModelSettings(source=str(tiny_model("electra"))),
    ]
    prints = [load("m", each, EngineSettings()).info["fingerprint"] for each in settings]
    assert len(set(prints)) == len(prints)
    assert load("m", settings[0], EngineSettings()).info["fingerprint"] == prints[0]
