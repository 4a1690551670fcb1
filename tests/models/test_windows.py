"""Long texts in windows: scores are those of sentence-transformers for the same windows."""

import asyncio
import json
import re
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
import pytest
import torch
from prometheus_client import CollectorRegistry
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling

from rerank_proxy.engine import ModelFailedError, QueueFullError
from tests.models.conftest import TinyModel
from tests.models.samples import LONG_QUERY, texts
from tests.support import packages, tiny_models
from tests.support.engines import running
from tests.support.tiny_models import CORPUS, MAX_LENGTH

OVERLAP: Final = 5
QUERY: Final = "who carries water?"
LONG: Final = [" ".join(CORPUS), " ".join(reversed(CORPUS)), "rivers " * 40, *texts(12)]
REDUCTIONS: Final[Mapping[str, Callable[[Any], Any]]] = {"max": np.max, "mean": np.mean}

either = pytest.mark.parametrize("reduction", REDUCTIONS)


def windows_of(tokenizer: Any, *given: str) -> dict[str, torch.Tensor]:
    """Return the windows of a text, behind its query if there is one, as the tokenizer makes them."""
    cuts: Any = "only_second" if len(given) == 2 else True
    made = tokenizer(
        *([each] for each in given),  # Only in a batch does transformers keep an empty text of a pair.
        truncation=cuts,
        max_length=MAX_LENGTH,
        stride=OVERLAP,
        return_overflowing_tokens=True,
        padding=True,
        return_tensors="pt",
    )
    made.pop("overflow_to_sample_mapping")
    return dict(made)


@either
@pytest.mark.parametrize("kind", ["bert", "modernbert"])
async def test_cross_encoders(tiny_model: TinyModel, kind: str, reduction: str) -> None:
    directory = tiny_model(kind)
    reference = CrossEncoder(str(directory), device="cpu").eval()
    expected = []
    for text in LONG:
        with torch.no_grad():
            scores = reference.forward(windows_of(reference.tokenizer, QUERY, text))["scores"]
        expected.append(REDUCTIONS[reduction](scores.numpy()))
    model = {"source": directory, "windows": reduction, "window_overlap": OVERLAP}
    async with running({"m": model}) as engine:
        reranked = await engine.scores("m", QUERY, LONG)
        again = await engine.scores("m", QUERY, LONG)
    np.testing.assert_allclose(reranked.values, expected, rtol=0, atol=1e-5)
    assert again.values == reranked.values
    assert (reranked.truncated, again.truncated, again.cached) == (0, 0, len(LONG))


@either
@pytest.mark.parametrize("prompt", ["", "text: "])
async def test_bi_encoders(tmp_path: Path, reduction: str, prompt: str) -> None:
    encoder = tiny_models.build_encoder("bert", tmp_path / "encoder")
    model = SentenceTransformer(
        modules=[Transformer(str(encoder)), Pooling(32)], device="cpu", prompts={"document": prompt}
    ).eval()
    model.save(str(tmp_path / "model"))
    query = model.encode_query(QUERY, convert_to_tensor=True, show_progress_bar=False)
    expected = []
    for text in LONG:
        embeddings = _embedded(model, prompt, text)
        expected.append(REDUCTIONS[reduction](model.similarity(query, embeddings)[0].numpy()))
    settings = {"source": tmp_path / "model", "windows": reduction, "window_overlap": OVERLAP}
    async with running({"m": settings}) as engine:
        reranked = await engine.scores("m", QUERY, LONG)
    np.testing.assert_allclose(reranked.values, expected, rtol=0, atol=1e-5)
    assert reranked.truncated == 0


def _embedded(model: SentenceTransformer, prompt: str, text: str) -> torch.Tensor:
    """Return the embeddings of a text's windows. Each has the prompt."""
    ids = model.tokenizer(text, add_special_tokens=False)["input_ids"]
    before = model.tokenizer(prompt, add_special_tokens=False)["input_ids"]
    room = MAX_LENGTH - 2 - len(before)
    starts = range(0, max(1, len(ids) - OVERLAP), room - OVERLAP)
    cls, sep = model.tokenizer.cls_token_id, model.tokenizer.sep_token_id
    embeddings = []
    for start in starts:
        row = torch.tensor([[cls, *before, *ids[start : start + room], sep]])
        features = {
            "input_ids": row,
            "attention_mask": torch.ones_like(row),
            "token_type_ids": torch.zeros_like(row),
        }
        with torch.no_grad():
            embeddings.append(model.forward(features)["sentence_embedding"][0])
    return torch.stack(embeddings)


async def test_a_long_query_is_cut_to_half_and_counts_as_truncated(tiny_model: TinyModel) -> None:
    directory = tiny_model("bert")
    reference = CrossEncoder(str(directory), device="cpu").eval()
    half = "sea " * ((MAX_LENGTH - 3) // 2)
    with torch.no_grad():
        expected = reference.forward(windows_of(reference.tokenizer, half, LONG[0]))["scores"].max()
    async with running({"m": {"source": directory, "windows": "max", "window_overlap": OVERLAP}}) as engine:
        reranked = await engine.scores("m", "sea " * 200, [LONG[0], "water"])
    assert reranked.values[0] == pytest.approx(expected.item(), abs=1e-5)
    assert reranked.truncated == 2


@either
async def test_the_activation_does_not_change_the_order(tiny_model: TinyModel, reduction: str) -> None:
    plain = {"source": tiny_model("bert"), "windows": reduction}
    async with running({"plain": plain, "sigmoid": {**plain, "activation": "sigmoid"}}) as engine:
        logits = (await engine.scores("plain", QUERY, LONG)).values
        probabilities = (await engine.scores("sigmoid", QUERY, LONG)).values
    np.testing.assert_allclose(probabilities, 1 / (1 + np.exp(-np.array(logits))), rtol=1e-5)


async def test_a_model_package(tiny_model: TinyModel, tmp_path: Path) -> None:
    """The rule of the package, which forbids to cut a text, is replaced."""
    directory = tiny_model("bert")
    packages.build("bert", directory, tmp_path, truncate="none")
    reference = CrossEncoder(str(directory), device="cpu").eval()
    with torch.no_grad():
        expected = reference.forward(windows_of(reference.tokenizer, QUERY, LONG[0]))["scores"].max()
    model = {"source": tmp_path, "windows": "max", "window_overlap": OVERLAP}
    async with running({"m": model}) as engine:
        reranked = await engine.scores("m", QUERY, [LONG[0]])
    assert reranked.values[0] == pytest.approx(expected.item(), abs=1e-5)


@pytest.mark.parametrize("kind", ["cross-encoder", "bi-encoder"])
async def test_what_is_behind_the_last_window_is_cut(
    tiny_model: TinyModel, tmp_path: Path, kind: str
) -> None:
    directory = tiny_model("bert")
    if kind == "bi-encoder":
        encoder = tiny_models.build_encoder("bert", tmp_path / "encoder")
        SentenceTransformer(modules=[Transformer(str(encoder)), Pooling(32)]).save(str(tmp_path / "model"))
        directory = tmp_path / "model"
    model = {"source": directory, "windows": "mean", "window_overlap": 0, "max_windows": 2}
    room = MAX_LENGTH - 3 - 1 if kind == "cross-encoder" else MAX_LENGTH - 2
    fits = "sea " * (2 * room)
    async with running({"m": model}) as engine:
        whole = await engine.scores("m", "sea", [fits])
        cut = await engine.scores("m", "sea", [fits + "tree " * 500])
        long_query = await engine.scores("m", LONG_QUERY, ["sea"])
    assert (whole.truncated, cut.truncated, long_query.truncated) == (0, 1, 1)
    assert cut.values == pytest.approx(whole.values, abs=1e-6)


def value(registry: CollectorRegistry, name: str) -> float:
    return registry.get_sample_value(f"rerank_proxy_engine_{name}", {"model": "m"}) or 0.0


async def test_windows_run_once_for_calls_at_the_same_time(tiny_model: TinyModel) -> None:
    registry = CollectorRegistry()
    model = {"source": tiny_model("bert"), "windows": "max", "window_overlap": 0}
    long = "sea " * (10 * (MAX_LENGTH - 4))
    async with running({"m": model}, registry) as engine:
        replies = await asyncio.gather(*(engine.scores("m", "sea", [long, "tree"]) for _ in range(5)))
    assert all(reply.values == replies[0].values for reply in replies)
    assert value(registry, "pairs_scored_total") == 11


async def test_many_long_texts_are_scored_in_portions(tiny_model: TinyModel) -> None:
    model = {"source": tiny_model("bert"), "windows": "max", "max_windows": 1024}
    async with running({"m": model}) as engine:
        apart = [(await engine.scores("m", QUERY, [text])).values[0] for text in LONG]
    async with running({"m": model}) as engine:
        together = await engine.scores("m", QUERY, LONG)
    np.testing.assert_allclose(together.values, apart, rtol=0, atol=1e-5)


async def test_the_queue_is_bounded_in_tokens_of_windows(tiny_model: TinyModel) -> None:
    model = {"source": tiny_model("bert"), "windows": "max"}
    async with running({"m": model}, queue_tokens=1000) as engine:
        with pytest.raises(QueueFullError, match=r"more than engine\.queue_tokens"):
            await engine.scores("m", "sea", ["tree " * 2000])
        assert len((await engine.scores("m", "sea", ["tree " * 500])).values) == 1


REFUSED: Final[Mapping[str, tuple[Mapping[str, Any], str]]] = {
    "a rule": ({"windows": "max", "truncation": "second"}, r"[truncation] [second] has nothing to cut"),
    "overlap": ({"windows": "max", "window_overlap": 25}, r"[window_overlap] 25 is more than half of the 48"),
    "no windows": ({"window_overlap": 3}, r"has [window_overlap] without [windows]"),
    "none at all": ({"max_windows": 3}, r"has [max_windows] without [windows]"),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_settings_that_contradict_one_another(tiny_model: TinyModel, name: str) -> None:
    settings, reason = REFUSED[name]
    await refused({"source": tiny_model("bert"), **settings}, reason)


async def test_pairs_that_follow_no_template(tiny_model: TinyModel, tmp_path: Path) -> None:
    shutil.copytree(tiny_model("modernbert"), tmp_path, dirs_exist_ok=True)
    tokenizer = json.loads((tmp_path / "tokenizer.json").read_text())
    tokenizer["post_processor"]["pair"].reverse()
    (tmp_path / "tokenizer.json").write_text(json.dumps(tokenizer))
    await refused({"source": tmp_path, "windows": "max"}, "leaves no place for windows: remove its [windows]")


async def refused(model: Mapping[str, Any], reason: str) -> None:
    async with running({"m": model}) as engine:
        with pytest.raises(ModelFailedError, match=re.escape(reason)) as failed:
            await engine.scores("m", QUERY, ["a text"])
    assert "\n" not in str(failed.value)
