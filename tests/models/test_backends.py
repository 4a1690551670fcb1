"""Ways to run a model: the result of a row depends neither on the way nor on its neighbours."""

import json
import random
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from rerank_proxy.engine.backends.networks import Classifier
from rerank_proxy.engine.backends.packed import PackedTorchBackend, families
from rerank_proxy.engine.backends.padded import PaddedTorchBackend
from rerank_proxy.engine.encoding.encode import gathered
from rerank_proxy.engine.errors import OutOfDeviceMemoryError
from rerank_proxy.engine.loading.choose import load
from rerank_proxy.engine.loading.loaded_model import LoadedModel
from rerank_proxy.engine.rows import Batch, Row
from rerank_proxy.settings import EngineSettings, ModelSettings
from tests.models.conftest import TinyModel
from tests.models.samples import texts
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
    padded = PaddedTorchBackend(network, torch.device("cpu"), pad_id=1, type_ids=False)
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


def test_a_device_without_room_is_told_apart() -> None:
    class Full(torch.nn.Module):
        def forward(self, inputs: dict[str, torch.Tensor], mask: torch.Tensor) -> torch.Tensor:
            raise torch.OutOfMemoryError("CUDA out of memory")

    backend = PaddedTorchBackend(Full(), torch.device("cpu"), pad_id=0, type_ids=False)
    with pytest.raises(OutOfDeviceMemoryError, match="CUDA out of memory"):
        backend.score(Batch.of([Row(np.ones(3, np.int32), np.zeros(3, np.uint8), False)]))


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
