"""Sparse encoders (SPLADE) of all layouts agree with sentence-transformers, which loads all of them."""

import json
import re
import shutil
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from sentence_transformers import SparseEncoder

from rerank_proxy.engine import InputTooLargeError, ModelFailedError
from rerank_proxy.engine.backends import sparse
from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.export import export
from rerank_proxy.engine.loading.load import load_checkpoint
from rerank_proxy.settings import EngineSettings, ModelSettings
from tests.models.samples import LONG_QUERY, QUERIES, texts
from tests.support import tiny_models
from tests.support.engines import OnDisk, running
from tests.support.tiny_models import CORPUS
from tests.support.tiny_sparse import as_version_5, rewrite, save, save_with_static_queries

TOLERANCE: Final = 1e-5
"""Relative to the largest score: sums over hundreds of terms."""

KINDS: Final = tuple(kind for kind in tiny_models.KINDS if kind in sparse.TRANSFORMS)

Masked = Callable[[str], Path]


@pytest.fixture(scope="module")
def masked(tmp_path_factory: pytest.TempPathFactory) -> Masked:
    built: dict[str, Path] = {}

    def make(kind: str) -> Path:
        if kind not in built:
            built[kind] = tiny_models.build_masked(kind, tmp_path_factory.mktemp(f"masked-{kind}"))
        return built[kind]

    return make


@pytest.fixture(scope="module")
def plain(masked: Masked, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that was saved once, to be used as it is or spoilt in copies."""
    directory = tmp_path_factory.mktemp("plain")
    save(directory, masked("bert"))
    return directory


def references(model: SparseEncoder, queries: Sequence[str], documents: list[str]) -> np.ndarray[Any, Any]:
    options: Any = {"show_progress_bar": False, "convert_to_sparse_tensor": False}
    ours = model.encode_query(list(queries), **options)
    theirs = model.encode_document(documents, **options)
    expected: np.ndarray[Any, Any] = model.similarity(ours.double(), theirs.double()).numpy()
    return expected


async def agree(directory: OnDisk, model: SparseEncoder, documents: list[str] | None = None) -> None:
    documents = documents or texts(24)
    queries = [*QUERIES, LONG_QUERY]
    async with running({"m": directory}) as engine:
        reranked = [(await engine.scores("m", query, documents)).values for query in queries]
    expected = references(model, queries, documents)
    np.testing.assert_allclose(reranked, expected, rtol=0, atol=TOLERANCE * np.abs(expected).max())
    assert np.ptp(expected[0]) > 1e-2 * np.abs(expected).max(), "scores that hardly differ prove nothing"


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_of_network(masked: Masked, tmp_path: Path, kind: str) -> None:
    await agree(tmp_path, save(tmp_path, masked(kind)))


@pytest.mark.parametrize("strategy", ["max", "sum"])
@pytest.mark.parametrize("activation", ["relu", "log1p_relu"])
@pytest.mark.parametrize("most", [None, 5])
async def test_every_pooling(
    masked: Masked, tmp_path: Path, strategy: str, activation: str, most: int | None
) -> None:
    model = save(tmp_path, masked("bert"), strategy=strategy, activation=activation, max_active_dims=most)
    await agree(tmp_path, model)


@pytest.mark.parametrize("similarity", ["dot", "cosine", "euclidean", "manhattan"])
async def test_every_similarity(masked: Masked, tmp_path: Path, similarity: str) -> None:
    await agree(tmp_path, save(tmp_path, masked("bert"), similarity_fn_name=similarity))


async def test_prompts(masked: Masked, tmp_path: Path) -> None:
    prompts = {"query": "ask: ", "document": "text: "}
    await agree(tmp_path, save(tmp_path, masked("bert"), prompts=prompts))


@pytest.mark.parametrize(
    "options",
    [{}, {"max_active_dims": 4}, {"similarity_fn_name": "cosine", "prompts": {"query": "ask: "}}],
    ids=["plain", "few terms", "prompt"],
)
async def test_queries_of_static_weights(masked: Masked, tmp_path: Path, options: dict[str, Any]) -> None:
    await agree(tmp_path, save_with_static_queries(tmp_path, masked("distilbert"), **options))


async def test_a_query_of_static_weights_that_is_also_a_text(masked: Masked, tmp_path: Path) -> None:
    model = save_with_static_queries(tmp_path, masked("bert"))
    await agree(tmp_path, model, [QUERIES[0], LONG_QUERY, *texts(12)])


async def test_static_weights_beside_a_transformer_at_the_top(routed: Path, tmp_path: Path) -> None:
    """So that other libraries find it: a module whose name is empty."""
    directory = shutil.copytree(routed, tmp_path / "model")
    (transformer,) = directory.glob("document_0_*")
    for path in transformer.iterdir():
        path.rename(directory / path.name)
    router = directory / "router_config.json"
    router.write_text(router.read_text().replace(f'"{transformer.name}"', '""'))
    await agree(directory, SparseEncoder(str(directory), device="cpu"))


async def test_the_length_of_the_transformer(masked: Masked, tmp_path: Path) -> None:
    await agree(tmp_path, save(tmp_path, masked("bert"), transformer={"max_seq_length": 12}))


async def test_the_layout_of_version_5(plain: Path, tmp_path: Path) -> None:
    directory = shutil.copytree(plain, tmp_path / "model")
    as_version_5(directory)
    await agree(directory, SparseEncoder(str(directory), device="cpu"))


@pytest.mark.parametrize("kind", KINDS)
def test_transformers_run_without_padding(masked: Masked, tmp_path: Path, kind: str) -> None:
    save(tmp_path, masked(kind))
    settings = ModelSettings(source=str(tmp_path))
    loaded = load_checkpoint(tmp_path, settings, EngineSettings(device="cpu"), nullcontext, lambda _: None)
    assert (loaded.info["kind"], loaded.info["padded"]) == ("sparse-encoder", "false")


@pytest.mark.parametrize("kind", ["bert", "modernbert"])
async def test_texts_together_and_alone(masked: Masked, tmp_path: Path, kind: str) -> None:
    save(tmp_path, masked(kind))
    documents = texts(24)
    async with running({"m": tmp_path}, cache_bytes=0) as engine:
        together = (await engine.scores("m", QUERIES[0], documents)).values
        alone = [(await engine.scores("m", QUERIES[0], [each])).values[0] for each in documents]
    np.testing.assert_allclose(together, alone, rtol=1e-5)


async def test_few_logits_are_in_memory_at_a_time(plain: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows that span several pieces, and pieces that span several rows, give the same."""
    documents = texts(24)
    async with running({"m": plain}) as engine:
        whole = (await engine.scores("m", QUERIES[0], documents)).values
    sizes: list[int] = []
    forward = torch.nn.Linear.forward

    def watched(layer: torch.nn.Linear, features: torch.Tensor) -> torch.Tensor:
        logits = forward(layer, features)
        sizes.append(len(logits) if logits.dim() == 2 and layer.out_features > 64 else 0)
        return logits

    monkeypatch.setattr(torch.nn.Linear, "forward", watched)
    monkeypatch.setattr(sparse, "_PIECE_BYTES", 7 * 4 * vocabulary(plain))
    async with running({"m": plain}) as engine:
        in_pieces = (await engine.scores("m", QUERIES[0], documents)).values
    np.testing.assert_allclose(in_pieces, whole, rtol=1e-5)
    assert max(sizes) == 7


def vocabulary(directory: Path) -> int:
    return len(SparseEncoder(str(directory), device="cpu").tokenizer)


async def test_a_second_call_runs_nothing_for_texts_that_are_known(plain: Path) -> None:
    documents = texts(12)
    async with running({"m": plain}) as engine:
        first = await engine.scores("m", QUERIES[0], documents)
        again = await engine.scores("m", QUERIES[0], documents)
        other = await engine.scores("m", "trees", documents)
    assert (first.cached, again.cached, other.cached) == (0, len(documents), len(documents))
    assert again.values == first.values != other.values


@pytest.mark.parametrize("reduction", ["max", "mean"])
@pytest.mark.parametrize("similarity", ["dot", "cosine", "euclidean", "manhattan"])
async def test_long_texts_in_windows(masked: Masked, tmp_path: Path, reduction: str, similarity: str) -> None:
    """Windows of whole words, which are one token each here, are texts for sentence-transformers."""
    model = save(tmp_path, masked("bert"), similarity_fn_name=similarity)
    words = ["sea", "tree", "two", "plum", "water", "apple", "house"]
    room = tiny_models.MAX_LENGTH - 2
    text = [words[at * at % len(words)] for at in range(3 * room - 5)]
    windows = [" ".join(text[start : start + room]) for start in range(0, len(text), room)]
    assert all(len(model.tokenizer(window)["input_ids"]) <= room + 2 for window in windows)
    expected = references(model, ["tree"], windows)[0]
    settings = {"source": tmp_path, "windows": reduction, "window_overlap": 0}
    async with running({"m": settings}) as engine:
        scores = await engine.scores("m", "tree", [" ".join(text), "plum"])
        again = await engine.scores("m", "tree", [" ".join(text), "plum"])
    combined = expected.max() if reduction == "max" else expected.mean()
    assert scores.values[0] == pytest.approx(combined, rel=1e-5)
    assert again.values == scores.values


@pytest.mark.parametrize("rule", ["first", "none"])
async def test_texts_that_must_not_be_cut(plain: Path, rule: str) -> None:
    async with running({"m": {"source": plain, "truncation": rule}}) as engine:
        with pytest.raises(InputTooLargeError):
            await engine.scores("m", "sea", [" ".join(CORPUS)])
        assert len((await engine.scores("m", "sea", ["tree"])).values) == 1


def test_no_onnx_file_is_made(plain: Path, tmp_path: Path) -> None:
    with pytest.raises(ModelLoadError, match="this is neither; use the backend"):
        export(str(plain), tmp_path / "made", offline=True)
    assert not list(tmp_path.iterdir())


async def test_a_reduced_precision_keeps_the_order(plain: Path) -> None:
    documents = texts(24)
    async with running({"m": plain}) as engine:
        exact = (await engine.scores("m", QUERIES[0], documents)).values
    async with running({"m": plain}, precision="bf16") as engine:
        reduced = (await engine.scores("m", QUERIES[0], documents)).values
    assert reduced != exact
    assert np.corrcoef(reduced, exact)[0, 1] > 0.99


REFUSED: Final[dict[str, tuple[Callable[[Path], None], str]]] = {
    "a strategy": (
        lambda model: rewrite(model / "1_SpladePooling/config.json", pooling_strategy="mean"),
        "1_SpladePooling/config.json] cannot be read (Invalid enum value 'mean'",
    ),
    "a function": (
        lambda model: rewrite(model / "1_SpladePooling/config.json", activation_function="gelu"),
        "cannot be read (Invalid enum value 'gelu'",
    ),
    "a key": (
        lambda model: rewrite(model / "1_SpladePooling/config.json", temperature=2),
        "says [temperature], which is not understood",
    ),
    "terms": (
        lambda model: rewrite(model / "config_sentence_transformers.json", max_active_dims=0),
        "keeps [0] terms of a text (max_active_dims)",
    ),
    "a similarity": (
        lambda model: rewrite(model / "config_sentence_transformers.json", similarity_fn_name="maxsim"),
        "compares embeddings by [maxsim]",
    ),
    "another model": (
        lambda model: rewrite(model / "config_sentence_transformers.json", model_type="SentenceTransformer"),
        "is a SentenceTransformer model with SpladePooling",
    ),
    "no logits": (
        lambda model: rewrite(
            model / "sentence_bert_config.json",
            transformer_task="feature-extraction",
            module_output_name=None,
            modality_config=None,
        ),
        "has a transformer for [feature-extraction] with SpladePooling behind it",
    ),
}


@pytest.mark.parametrize("case", REFUSED)
async def test_what_is_not_understood_is_refused(plain: Path, tmp_path: Path, case: str) -> None:
    spoil, reason = REFUSED[case]
    directory = shutil.copytree(plain, tmp_path / "model")
    spoil(directory)
    async with running({"m": directory}) as engine:
        with pytest.raises(ModelFailedError, match=re.escape(reason)):
            await engine.scores("m", "a query", ["a text"])


STATIC: Final = "query_0_SparseStaticEmbedding"

REFUSED_ROUTES: Final[dict[str, tuple[Callable[[Path], None], str]]] = {
    "no file": (lambda model: (model / "router_config.json").unlink(), "has no router_config.json"),
    "another side": (
        lambda model: rewrite(model / "router_config.json", structure={"query": [STATIC], "image": []}),
        "has the routes [image, query]",
    ),
    "a key": (lambda model: rewrite(model / "router_config.json", gate=1), "says [gate], which is not"),
    "mappings": (
        lambda model: rewrite(model / "router_config.json", parameters={"route_mappings": {"a": "b"}}),
        "says [parameters] [route_mappings]",
    ),
    "the same on both sides": (
        lambda model: rewrite(
            model / "router_config.json", structure={"query": [STATIC], "document": [STATIC]}
        ),
        "texts by [SparseStaticEmbedding]; supported are",
    ),
    "a module that is not there": (
        lambda model: rewrite(model / "router_config.json", structure={"query": ["x"], "document": []}),
        "names [x], and does not say what that is",
    ),
    "a path that leads out": (
        lambda model: rewrite(
            model / "router_config.json",
            types={"/etc": "sentence_transformers.SparseStaticEmbedding", **types_of(model)},
            structure={"query": ["/etc"], "document": [*types_of(model)][1:]},
        ),
        "leads out of the model's directory",
    ),
    "weights from elsewhere": (
        lambda model: rewrite(model / STATIC / "config.json", path="idf.json"),
        "names weights elsewhere ([path])",
    ),
    "no weights": (
        lambda model: (model / STATIC / "model.safetensors").unlink(),
        "has no weights of queries (model.safetensors)",
    ),
    "other weights": (
        lambda model: save_file({"weight": torch.ones(7)}, model / STATIC / "model.safetensors"),
        "has weights of the shape (7,) for queries",
    ),
    "no tokenizer": (
        lambda model: (model / STATIC / "tokenizer.json").unlink(),
        "has no tokenizer (tokenizer.json)",
    ),
}


def types_of(model: Path) -> dict[str, str]:
    types: dict[str, str] = json.loads((model / "router_config.json").read_text())["types"]
    return types


@pytest.fixture(scope="module")
def routed(masked: Masked, tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("routed")
    save_with_static_queries(directory, masked("bert"))
    return directory


@pytest.mark.parametrize("case", REFUSED_ROUTES)
async def test_what_is_not_understood_of_two_sides_is_refused(
    routed: Path, tmp_path: Path, case: str
) -> None:
    spoil, reason = REFUSED_ROUTES[case]
    directory = shutil.copytree(routed, tmp_path / "model")
    spoil(directory)
    async with running({"m": directory}) as engine:
        with pytest.raises(ModelFailedError, match=re.escape(reason)):
            await engine.scores("m", "a query", ["a text"])
