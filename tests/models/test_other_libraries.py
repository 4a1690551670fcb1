"""`precision: auto`: ONNX Runtime and OpenVINO are taken where they are fastest and give the same."""

import logging
import shutil
import sys
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.typing import NDArray

from rerank_proxy.engine.encoding.encode import gathered
from rerank_proxy.engine.loading.choose import load
from rerank_proxy.engine.loading.choosing import other_libraries, parity, precision
from rerank_proxy.engine.loading.choosing.probes import QUERIES
from rerank_proxy.engine.loading.loaded_model import LoadedModel
from rerank_proxy.engine.rows import Batch
from rerank_proxy.settings import EngineSettings, ModelSettings
from tests.models.conftest import TinyModel
from tests.models.samples import texts

LIBRARIES = [each for each in ("onnxruntime", "openvino") if find_spec(each) is not None]
Fastest = Callable[[str], list[set[str]]]


@pytest.fixture(autouse=True)
def _few_probes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parity, "QUERIES", QUERIES[:1])


@pytest.fixture
def fastest(monkeypatch: pytest.MonkeyPatch) -> Fastest:
    """Have one way be measured as the fastest. Return the names of what is measured, by load."""

    def make(name: str) -> list[set[str]]:
        measured: list[set[str]] = []

        def seconds(backends: Mapping[str, Any], *_: Any) -> dict[str, float]:
            measured.append(set(backends))
            return {each: 0.5 if each == name else 1.0 for each in backends}

        monkeypatch.setattr(precision, "_seconds", seconds)
        return measured

    return make


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory, tiny_model: TinyModel) -> Path:
    """What `auto` has made for ONNX Runtime of a checkpoint without an ONNX file. Copy it to change it."""
    directory = tmp_path_factory.mktemp("artifacts")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(precision._Chooser, "_best", lambda self, seconds: "fp32 by onnxruntime")
        assert loaded(tiny_model("bert"), directory).info["library"] == "onnxruntime"
    return directory


def loaded(directory: Path, artifacts: Path, wanted: str = "auto") -> LoadedModel:
    engine = EngineSettings(artifacts_dir=artifacts, precision=wanted, device="cpu", offline=True)
    return load("m", ModelSettings(source=str(directory)), engine)


def outputs(model: LoadedModel) -> NDArray[np.float32]:
    return np.asarray(model.backend.score(batch(model)))


def batch(model: LoadedModel) -> Batch:
    documents = texts(12)
    return Batch.of(gathered(model.scorer.encode("rivers", documents, range(len(documents)))))


def own_file(model: Path, artifacts: Path, target: Path) -> Path:
    """Copy a checkpoint and put its ONNX file beside the weights. Return the file."""
    shutil.copytree(model, target)
    (made,) = artifacts.glob("exported/*/onnx")
    return Path(shutil.copytree(made, target / "onnx")) / "model.onnx"


def test_the_file_is_made_once_and_the_choice_remembered(
    tiny_model: TinyModel, artifacts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(other_libraries, "_EXPORT", "raise SystemExit('made again')")
    monkeypatch.setattr(precision, "_seconds", lambda *_: pytest.fail("measured again"))
    models = [loaded(tiny_model("bert"), artifacts, wanted) for wanted in ("fp32", "auto")]
    assert [model.info["library"] for model in models] == ["torch", "onnxruntime"]
    assert models[1].info["architecture"].endswith(" (onnxruntime)")
    assert models[1].info["precision"] == "fp32"
    assert models[0].info["fingerprint"] != models[1].info["fingerprint"]
    np.testing.assert_allclose(outputs(models[1]), outputs(models[0]), rtol=0, atol=1e-5)
    assert np.ptp(outputs(models[0])) > 0.1


@pytest.mark.parametrize("library", LIBRARIES)
def test_the_fastest_library_is_taken_and_several_threads_run_it(
    tiny_model: TinyModel, artifacts: Path, tmp_path: Path, fastest: Fastest, library: str
) -> None:
    own_file(tiny_model("bert"), artifacts, tmp_path / "m")
    measured = fastest(f"fp32 by {library}")
    model = loaded(tmp_path / "m", tmp_path)
    assert {f"fp32 by {each}" for each in LIBRARIES} <= measured[0]
    assert (model.info["library"], model.info["precision"]) == (library, "fp32")
    assert not (tmp_path / "exported").exists()
    expected = outputs(loaded(tmp_path / "m", tmp_path, "fp32"))
    with ThreadPoolExecutor(2) as pool:
        for given in pool.map(lambda _: outputs(model), range(8)):
            np.testing.assert_allclose(given, expected, rtol=0, atol=1e-5)


def test_a_file_that_is_not_needed_is_removed(
    tiny_model: TinyModel, artifacts: Path, tmp_path: Path, fastest: Fastest
) -> None:
    shutil.copytree(artifacts / "exported", tmp_path / "exported")
    measured = fastest("fp32")
    assert loaded(tiny_model("bert"), tmp_path).info["library"] == "torch"
    assert "fp32 by onnxruntime" in measured[0]
    assert list((tmp_path / "exported").iterdir()) == []


def test_a_file_that_is_gone_is_measured_again(
    tiny_model: TinyModel, artifacts: Path, tmp_path: Path, fastest: Fastest, caplog: pytest.LogCaptureFixture
) -> None:
    file = own_file(tiny_model("bert"), artifacts, tmp_path / "m")
    measured = fastest("fp32 by onnxruntime")
    chosen = [loaded(tmp_path / "m", tmp_path).info["library"]]
    content = file.read_bytes()
    file.write_bytes(content[: len(content) // 2])
    chosen.append(loaded(tmp_path / "m", tmp_path).info["library"])
    assert chosen == ["onnxruntime", "torch"]
    assert len(measured) == 2
    assert "does not run in fp32 by onnxruntime any more" in caplog.text


def test_what_cannot_run_is_left_out(
    tiny_model: TinyModel, tmp_path: Path, fastest: Fastest, caplog: pytest.LogCaptureFixture
) -> None:
    shutil.copytree(tiny_model("bert"), tmp_path / "m")
    (tmp_path / "m" / "model.onnx").write_bytes(b"\x08\x09garbage")
    measured = fastest("fp32 by onnxruntime")
    with caplog.at_level(logging.INFO):
        assert loaded(tmp_path / "m", tmp_path).info["library"] == "torch"
    assert not any(name.startswith("fp32 by") for name in measured[0])
    assert "does not run in fp32 by onnxruntime: ModelLoadError" in caplog.text


def test_what_gives_another_order_is_left_out(
    tiny_model: TinyModel, artifacts: Path, tmp_path: Path, fastest: Fastest, caplog: pytest.LogCaptureFixture
) -> None:
    file = own_file(tiny_model("bert"), artifacts, tmp_path / "m")
    graph = onnx.load(file)
    (last,) = (each for each in graph.graph.initializer if each.name.endswith("classifier.weight"))
    last.raw_data = (-onnx.numpy_helper.to_array(last)).tobytes()
    onnx.save(graph, file)
    measured = fastest("fp32 by onnxruntime")
    with caplog.at_level(logging.INFO):
        assert loaded(tmp_path / "m", tmp_path).info["library"] == "torch"
    assert not any(name.startswith("fp32 by") for name in measured[0])
    assert "fp32 by onnxruntime: its order is too different" in caplog.text


def test_what_cannot_be_exported_is_left_out(
    tiny_model: TinyModel,
    tmp_path: Path,
    fastest: Fastest,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(other_libraries, "_EXPORT", "raise ValueError('an operation that is not known')")
    fastest("fp32 by onnxruntime")
    with caplog.at_level(logging.INFO):
        assert loaded(tiny_model("bert"), tmp_path).info["library"] == "torch"
    assert "cannot be exported (ValueError: an operation that is not known)" in caplog.text


def test_libraries_that_are_not_installed_are_not_imported(
    tiny_model: TinyModel,
    artifacts: Path,
    tmp_path: Path,
    fastest: Fastest,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    own_file(tiny_model("bert"), artifacts, tmp_path / "m")
    for name in ("onnxruntime", "onnxscript", "openvino"):
        monkeypatch.setitem(sys.modules, name, None)  # an import would raise, and `find_spec` finds nothing
    measured = fastest("fp32")
    with caplog.at_level(logging.INFO):
        assert loaded(tmp_path / "m", tmp_path).info["library"] == "torch"
    assert measured[0] <= {"fp32", "int8", "bf16"}
    assert " by " not in caplog.text.replace("by speed", "")


def test_an_encoder_decoder_runs_by_torch(
    tiny_model: TinyModel, tmp_path: Path, fastest: Fastest, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(other_libraries, "_EXPORT", "raise SystemExit('tried')")
    measured = fastest("fp32")
    assert loaded(tiny_model("bart"), tmp_path).info["library"] == "torch"
    assert not any(" by " in name for name in measured[0])
