"""The backend `onnx`: its tokens and scores are those of torch, and torch is not in the process."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Dense, Transformer
from sentence_transformers.sentence_transformer.modules import LayerNorm, Pooling

from rerank_proxy.engine import ModelFailedError
from rerank_proxy.engine.backends.networks import Pooling as TorchPooling
from rerank_proxy.engine.encoding.encode import derive_pair, derive_single
from rerank_proxy.engine.encoding.tokenizer import Tokenizer
from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.building.array_head import build_array_head
from rerank_proxy.engine.loading.building.checkpoint import load_tokenizer, load_transformer
from rerank_proxy.engine.loading.building.head import build_head
from rerank_proxy.engine.loading.choose import load
from rerank_proxy.engine.loading.export import export
from rerank_proxy.engine.loading.reading.profile import read
from rerank_proxy.engine.loading.tokenizers.json_tokenizer import read_tokenizer
from rerank_proxy.settings import EngineSettings, ModelSettings
from tests.models.conftest import TinyModel
from tests.models.samples import LONG_QUERY, QUERIES, texts
from tests.support import tiny_models
from tests.support.engines import running
from tests.support.project import ROOT

TOLERANCE = 1e-5
DIMENSIONS = 32
TOKENIZERS = ("bert", "electra", "roberta", "xlm-roberta", "mpnet", "deberta-v2", "modernbert")
Exported = Callable[[str], Path]


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory, tiny_model: TinyModel) -> Exported:
    """Return the directory of a tiny cross-encoder with an ONNX file and no weights. Copy it to change it."""
    made: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in made:
            made[kind] = tmp_path_factory.mktemp("exported") / kind
            export(str(tiny_model(kind)), made[kind], offline=True)
        return made[kind]

    return make


@pytest.fixture(scope="module")
def bi_encoder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bi-encoder of sentence-transformers with several modules and an ONNX file beside its weights."""
    directory = tmp_path_factory.mktemp("bi-encoder")
    encoder = tiny_models.build_encoder("mpnet", tmp_path_factory.mktemp("encoder"))
    torch.manual_seed(7)
    modules = [
        Transformer(str(encoder)),
        Pooling(DIMENSIONS, ("cls", "mean")),
        Dense(2 * DIMENSIONS, 16, activation_function=torch.nn.GELU()),
        LayerNorm(16),
        Dense(16, 8, use_residual=True),
    ]
    model = SentenceTransformer(modules=modules, device="cpu", similarity_fn_name="dot")
    model.save(str(directory))
    assert export(str(directory), None, offline=True) == directory / "onnx" / "model.onnx"
    return directory


def changed(directory: Path, target: Path) -> Path:
    return Path(shutil.copytree(directory, target))


async def test_the_scores_of_a_cross_encoder_are_those_of_torch(
    tiny_model: TinyModel, exported: Exported
) -> None:
    documents = texts(60)
    models = {"torch": tiny_model("bert"), "onnx": exported("bert")}
    async with running(models) as engine:
        for query in (*QUERIES, LONG_QUERY):
            expected = await engine.scores("torch", query, documents)
            scores = await engine.scores("onnx", query, documents)
            np.testing.assert_allclose(scores.values, expected.values, rtol=0, atol=TOLERANCE)
            assert scores.truncated == expected.truncated > 0
    assert np.ptp(scores.values) > 0.1


async def test_the_scores_of_a_bi_encoder_are_those_of_sentence_transformers(bi_encoder: Path) -> None:
    documents = texts(40)
    async with running({"m": {"source": bi_encoder, "backend": "onnx"}}) as engine:
        scores = await engine.scores("m", QUERIES[0], documents)
        assert "(ONNX)" in engine.status()["m"].detail
    model = SentenceTransformer(str(bi_encoder), device="cpu").eval()
    query = model.encode_query(QUERIES[0], show_progress_bar=False)
    expected = model.similarity(query, model.encode_document(documents, show_progress_bar=False))[0]
    np.testing.assert_allclose(scores.values, np.asarray(expected), rtol=0, atol=TOLERANCE)
    assert np.ptp(scores.values) > 1e-3


async def test_weights_are_run_by_torch_unless_the_settings_say_otherwise(bi_encoder: Path) -> None:
    models = {backend: {"source": bi_encoder, "backend": backend} for backend in ("auto", "torch", "onnx")}
    async with running(models) as engine:
        for name in models:
            await engine.scores(name, "rivers", ["trees"])
        details = {name: status.detail for name, status in engine.status().items()}
    assert {name for name, detail in details.items() if "(ONNX)" in detail} == {"onnx"}


def test_neither_torch_nor_transformers_is_imported(exported: Exported) -> None:
    code = f"""
import asyncio, sys
from pathlib import Path
from tests.support.engines import running
async def main():
    async with running({{"m": Path({str(exported("bert"))!r})}}) as engine:
        print((await engine.scores("m", "rivers", ["trees", "a river"])).values)
        await engine.scores("m", "rivers", ["x"] * 3)
asyncio.run(main())
print(sorted({{"torch", "transformers", "sentence_transformers", "onnxruntime"}} & sys.modules.keys()))
"""
    ran = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ran.stdout.splitlines()[-1] == "['onnxruntime']"


@pytest.mark.parametrize("kind", TOKENIZERS)
def test_tokens_are_those_of_transformers(tiny_model: TinyModel, kind: str) -> None:
    directory = tiny_model(kind)
    profile = read(directory)
    expected = load_tokenizer(profile, load_transformer(profile))
    actual = read_tokenizer(directory)
    agree(expected, Tokenizer(actual))
    assert actual.pad_token_id == expected.transformers.pad_token_id
    assert actual.model_max_length == expected.transformers.model_max_length


def agree(expected: Tokenizer, actual: Any) -> None:
    samples = [*texts(60), *QUERIES, "Upper CASE Ünïcödé  two  spaces", "[PAD]<mask>[CLS] x"]
    assert list(actual.ids(samples, 512)) == list(expected.ids(samples, 512))
    for derive in (derive_pair, derive_single):
        wanted, found = derive(expected), derive(actual)
        assert wanted is not None
        assert found is not None
        for part in ("before", "between", "after"):
            np.testing.assert_array_equal(getattr(found, part), getattr(wanted, part))
        if expected.gives_type_ids:
            assert found.type_ids == wanted.type_ids


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("bert", {"do_lower_case": False, "strip_accents": True}),
        ("bert", {"do_lower_case": None, "tokenize_chinese_chars": False}),
        ("electra", {"do_lower_case": False}),
        ("mpnet", {"do_lower_case": False}),
        ("roberta", {"add_prefix_space": True}),
        ("deberta-v2", {"do_lower_case": True, "split_by_punct": True}),
    ],
)
def test_tokens_with_options_that_tokenizer_json_does_not_say(
    tiny_model: TinyModel, tmp_path: Path, kind: str, options: dict[str, Any]
) -> None:
    directory = changed(tiny_model(kind), tmp_path / kind)
    path = directory / "tokenizer_config.json"
    said = {**json.loads(path.read_text()), **options}
    path.write_text(json.dumps({name: value for name, value in said.items() if value is not None}))
    profile = read(directory)
    agree(load_tokenizer(profile, load_transformer(profile)), Tokenizer(read_tokenizer(directory)))


def test_lower_case_of_sentence_transformers(tiny_model: TinyModel, tmp_path: Path) -> None:
    directory = changed(tiny_model("roberta"), tmp_path / "m")
    (directory / "sentence_bert_config.json").write_text('{"max_seq_length": 20, "do_lower_case": true}')
    profile = read(directory)
    expected = load_tokenizer(profile, load_transformer(profile))
    agree(expected, Tokenizer(read_tokenizer(directory, lower_case=True)))


@pytest.mark.parametrize("activation", ["Identity", "Tanh", "ReLU", "GELU", "SiLU", "Sigmoid", "Softplus"])
def test_modules_on_arrays_are_those_of_torch(tmp_path: Path, activation: str) -> None:
    torch.manual_seed(3)
    dense = Dense(8, 8, activation_function=getattr(torch.nn, activation)(), use_residual=True)
    for number, module in enumerate((Pooling(8, tiny_modes()), Dense(48, 8), dense, LayerNorm(8))):
        directory = tmp_path / f"{number}_{type(module).__name__}"
        directory.mkdir()
        module.save(str(directory))
    described = tuple(head_module(path) for path in sorted(tmp_path.iterdir(), key=lambda path: path.name))
    mask = np.arange(7) < np.array([[7], [1], [4]])
    values = np.random.default_rng(1).normal(size=(3, 7, 8)).astype(np.float32)
    expected = torch.from_numpy(values)
    for module in build_head(described):
        pools = isinstance(module, TorchPooling)
        expected = module(expected, torch.from_numpy(mask)) if pools else module(expected)
    for array_module in build_array_head(described):
        values = array_module(values, mask)
    np.testing.assert_allclose(values, expected.detach().numpy(), rtol=0, atol=1e-5)


def tiny_modes() -> tuple[Any, ...]:
    return ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")


def head_module(directory: Path) -> Any:
    from rerank_proxy.engine.loading.reading.modules import HeadModule

    return HeadModule(directory.name[2:], directory, json.loads((directory / "config.json").read_text()))


def test_weights_in_a_file_of_their_own_stay_in_the_directory(exported: Exported, tmp_path: Path) -> None:
    directory = changed(exported("bert"), tmp_path / "m")
    path = directory / "onnx" / "model.onnx"
    graph = onnx.load(path)
    onnx.save(graph, path, save_as_external_data=True, location="model.onnx_data", size_threshold=1024)
    settings = ModelSettings(source=str(directory))
    before = load("m", settings, EngineSettings()).info["fingerprint"]
    data = path.with_name("model.onnx_data")
    data.write_bytes(data.read_bytes()[:-4] + b"\0\0\0\1")
    assert load("m", settings, EngineSettings()).info["fingerprint"] != before
    data.rename(tmp_path / "outside")
    refused(directory, r"names weights that are not there \(\[model\.onnx_data\]\)")
    data.symlink_to(tmp_path / "outside")
    refused(directory, "leads out of the model's directory")
    data.unlink()
    for initializer in graph.graph.initializer:
        for entry in initializer.external_data:
            if entry.key == "location":
                entry.value = "../../outside"
    path.write_bytes(graph.SerializeToString())
    refused(directory, r"names weights that are not beside it \(\[\.\./\.\./outside\]\)")


def refused(directory: Path, reason: str, **settings: Any) -> None:
    with pytest.raises(ModelLoadError, match=reason) as error:
        load("m", ModelSettings(source=str(directory), **settings), EngineSettings())
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (lambda whole: whole[: len(whole) // 2], "is not an ONNX file, or damaged"),
        (lambda whole: b"", "cannot be loaded by ONNX Runtime"),
        (lambda whole: b"not at all", "is not an ONNX file, or damaged"),
    ],
)
def test_damaged_files_are_told_in_a_line(
    exported: Exported, tmp_path: Path, damage: Callable[[bytes], bytes], reason: str
) -> None:
    directory = changed(exported("bert"), tmp_path / "m")
    path = directory / "onnx" / "model.onnx"
    path.write_bytes(damage(path.read_bytes()))
    refused(directory, reason)


def test_a_graph_for_another_task_is_refused(exported: Exported, tmp_path: Path) -> None:
    directory = changed(exported("bert"), tmp_path / "m")
    path = directory / "onnx" / "model.onnx"
    graph = onnx.load(path)
    graph.graph.output[0].name = graph.graph.node[-1].output[0] = "start_logits"
    onnx.save(graph, path)
    refused(directory, r"gives start_logits; needed is logits")


def test_a_graph_in_which_padding_counts_is_refused(exported: Exported, tmp_path: Path) -> None:
    """As that of a model whose output is read at the last position."""
    directory = changed(exported("bert"), tmp_path / "m")
    path = directory / "onnx" / "model.onnx"
    graph = onnx.load(path)
    everywhere = onnx.helper.make_node("Abs", ["input_ids"], ["all_tokens"])
    one = onnx.helper.make_node("Sign", ["all_tokens"], ["ones"])
    for node in graph.graph.node:
        for at, name in enumerate(node.input):
            if name == "attention_mask" and node.op_type != "Shape":
                node.input[at] = "ones_or_more"
    more = onnx.helper.make_node("Max", ["ones", "attention_mask", "forced"], ["ones_or_more"])
    graph.graph.initializer.append(onnx.numpy_helper.from_array(np.array(1, np.int64), "forced"))
    for node in (more, one, everywhere):
        graph.graph.node.insert(0, node)
    onnx.save(graph, path)
    refused(directory, "gives other numbers for a row beside longer ones than alone")


async def test_what_it_cannot_run_is_told_in_a_line(
    tiny_model: TinyModel, exported: Exported, tmp_path: Path
) -> None:
    odd = changed(exported("bert"), tmp_path / "odd")
    path = odd / "tokenizer_config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "tokenizer_class": "FunnelTokenizer"}))
    models: dict[str, dict[str, Any]] = {
        "no file": {"source": tiny_model("bert"), "backend": "onnx"},
        "odd tokenizer": {"source": odd},
    }
    async with running(models) as engine:
        with pytest.raises(ModelFailedError, match=r"has no ONNX file .* `rerank-proxy export`"):
            await engine.scores("no file", "rivers", ["trees"])
        with pytest.raises(ModelFailedError, match=r"class \[FunnelTokenizer\], which cannot be built"):
            await engine.scores("odd tokenizer", "rivers", ["trees"])
    async with running({"m": exported("bert")}, device="cuda") as engine:
        with pytest.raises(ModelFailedError, match=r"the backend \[onnx\] runs on the CPU only"):
            await engine.scores("m", "rivers", ["trees"])


def test_without_the_library_the_extra_is_named(exported: Exported, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rerank_proxy.engine.backends.onnx.find_spec", lambda name: None)
    refused(
        exported("bert"),
        r'needs ONNX Runtime, as it has an ONNX file and no weights: pip install "rerank-proxy\[onnx\]"',
    )
    refused(exported("bert"), r"as its backend is \[onnx\]", backend="onnx")


def test_an_encoder_decoder_is_not_exported(tiny_model: TinyModel, tmp_path: Path) -> None:
    """The rows of its batches need equally many ends, which a graph does not check."""
    with pytest.raises(ModelLoadError, match="cannot"):
        export(str(tiny_model("bart")), tmp_path / "out", offline=True)
    assert list(tmp_path.iterdir()) == []


def test_an_export_overwrites_nothing(tiny_model: TinyModel, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with pytest.raises(ModelLoadError, match="is there already"):
        export(str(tiny_model("bert")), tmp_path / "out", offline=True)
