"""Scores agree with sentence-transformers, which loads the same files: raw logits and cosines, in float32."""

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer

from tests.models.conftest import TinyModel
from tests.models.samples import LONG_QUERY, QUERIES, texts
from tests.support.engines import running
from tests.support.tiny_models import CORPUS, KINDS

TOLERANCE = 1e-5


def logits(directory: Path, query: str, documents: list[str], **options: Any) -> "np.ndarray[Any, Any]":
    model = CrossEncoder(str(directory), device="cpu", **options)
    pairs = [(query, text) for text in documents]
    scores: np.ndarray[Any, Any] = model.predict(
        pairs, activation_fn=torch.nn.Identity(), show_progress_bar=False
    )
    return scores


@pytest.mark.parametrize("kind", KINDS)
async def test_cross_encoders_of_every_family(tiny_model: TinyModel, kind: str) -> None:
    documents = texts(60)
    directory = tiny_model(kind)
    async with running({"m": {"source": directory, "truncation": "longest_first"}}) as engine:
        for query in (*QUERIES, LONG_QUERY):
            reranked = await engine.scores("m", query, documents)
            expected = logits(directory, query, documents)
            assert np.ptp(expected) > 0.1, "scores that hardly differ prove nothing"
            assert reranked.truncated > 0
            np.testing.assert_allclose(reranked.values, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("kind", KINDS)
async def test_balanced_is_the_same_for_what_is_not_cut(tiny_model: TinyModel, kind: str) -> None:
    documents = [text for text in texts(60) if len(text) < 30]
    async with running({"m": tiny_model(kind)}) as engine:
        reranked = await engine.scores("m", "trees", documents)
    assert reranked.truncated == 0
    expected = logits(tiny_model(kind), "trees", documents)
    np.testing.assert_allclose(reranked.values, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize("count", [1, 500])
async def test_one_text_and_many(tiny_model: TinyModel, count: int) -> None:
    documents = texts(count)[:count]
    directory = tiny_model("bert")
    async with running({"m": {"source": directory, "truncation": "longest_first"}}) as engine:
        reranked = await engine.scores("m", "rivers", documents)
    np.testing.assert_allclose(
        reranked.values, logits(directory, "rivers", documents), rtol=0, atol=TOLERANCE
    )


async def test_a_shorter_limit_of_the_settings(tiny_model: TinyModel) -> None:
    documents = texts(40)
    directory = tiny_model("roberta")
    model = {"source": directory, "truncation": "longest_first", "max_length": 16}
    async with running({"m": model}) as engine:
        reranked = await engine.scores("m", "rivers and trees", documents)
    expected = logits(directory, "rivers and trees", documents, max_length=16)
    np.testing.assert_allclose(reranked.values, expected, rtol=0, atol=TOLERANCE)


async def test_a_very_long_text_is_its_beginning(tiny_model: TinyModel) -> None:
    """Only the beginning is tokenised; the outcome is that of the whole."""
    rng = random.Random(1)
    words = " ".join(CORPUS).split()
    long = [" ".join(rng.choices(words, k=20_000)), " " * 5_000 + " ".join(words), "x" * 50_000]
    directory = tiny_model("deberta-v2")
    async with running({"m": {"source": directory, "truncation": "longest_first"}}) as engine:
        reranked = await engine.scores("m", "rivers", long)
    expected = logits(directory, "rivers", long)
    np.testing.assert_allclose(reranked.values, expected, rtol=0, atol=TOLERANCE)
    assert reranked.truncated == 3


async def test_sigmoid_where_the_settings_ask_for_it(tiny_model: TinyModel) -> None:
    documents = texts(20)
    directory = tiny_model("bert")
    async with running(
        {"raw": directory, "sigmoid": {"source": directory, "activation": "sigmoid"}}
    ) as engine:
        raw = await engine.scores("raw", "rivers", documents)
        sigmoid = await engine.scores("sigmoid", "rivers", documents)
    np.testing.assert_allclose(sigmoid.values, 1 / (1 + np.exp(-np.array(raw.values))), rtol=1e-6)


async def test_lower_precision_is_near_and_its_scores_are_float32(tiny_model: TinyModel) -> None:
    documents = texts(40)
    async with running({"m": tiny_model("bert")}, precision="fp16") as engine:
        reranked = await engine.scores("m", "rivers", documents)
    expected = logits(tiny_model("bert"), "rivers", documents)
    np.testing.assert_allclose(reranked.values, expected, rtol=0, atol=0.05)
    half = torch.tensor(reranked.values).half().float()
    assert (half != torch.tensor(reranked.values)).any(), "the head ran in low precision"


def cosines(model: SentenceTransformer, query: str, documents: list[str]) -> "np.ndarray[Any, Any]":
    embedded = model.encode_query(query, show_progress_bar=False)
    scores = model.similarity(embedded, model.encode_document(documents, show_progress_bar=False))
    return np.asarray(scores[0])


async def test_all_minilm(minilm: Path) -> None:
    documents = [*texts(40), "word " * 600]
    async with running({"m": minilm}) as engine:
        reranked = await engine.scores("m", "which river is the longest?", documents)
        again = await engine.scores("m", "", documents)
    model = SentenceTransformer(str(minilm), device="cpu", similarity_fn_name="cosine")
    assert reranked.truncated > 0
    expected = cosines(model, "which river is the longest?", documents)
    np.testing.assert_allclose(reranked.values, expected, rtol=0, atol=TOLERANCE)
    np.testing.assert_allclose(again.values, cosines(model, "", documents), rtol=0, atol=TOLERANCE)
    assert again.cached == len(documents), "a text's embedding does not depend on the query"
