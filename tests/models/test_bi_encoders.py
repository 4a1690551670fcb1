"""Bi-encoders of all builds agree with sentence-transformers, which saved them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from sentence_transformers import CrossEncoder, SentenceTransformer
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.sentence_transformer.modules import LayerNorm, Pooling

from rerank_proxy.engine import ModelFailedError
from tests.models.samples import QUERIES, texts
from tests.support import tiny_models
from tests.support.engines import running

TOLERANCE = 1e-5
DIMENSIONS = 32
POOLING_MODES = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Plain encoders, one that runs without padding and one that needs it."""
    return {
        kind: tiny_models.build_encoder(kind, tmp_path_factory.mktemp(f"encoder-{kind}"))
        for kind in ("bert", "mpnet")
    }


def save(
    directory: Path, encoder: Path, head: Sequence[torch.nn.Module], **options: Any
) -> SentenceTransformer:
    torch.manual_seed(7)
    limits = {"max_seq_length": options.pop("max_seq_length", None)}
    model = SentenceTransformer(modules=[Transformer(str(encoder), **limits), *head], device="cpu", **options)
    model.save(str(directory))
    return model.eval()


async def agree(directory: Path, model: SentenceTransformer) -> None:
    documents = texts(40)
    async with running({"m": directory}) as engine:
        for query in QUERIES:
            reranked = await engine.scores("m", query, documents)
            embedded = model.encode_query(query, show_progress_bar=False)
            others = model.encode_document(documents, show_progress_bar=False)
            expected = np.asarray(model.similarity(embedded, others)[0])
            np.testing.assert_allclose(reranked.values, expected, rtol=0, atol=TOLERANCE)
    assert np.ptp(expected) > 1e-3, "scores that hardly differ prove nothing"


@pytest.mark.parametrize("mode", POOLING_MODES)
@pytest.mark.parametrize("kind", ["bert", "mpnet"])
async def test_every_pooling(encoders: dict[str, Path], tmp_path: Path, kind: str, mode: Any) -> None:
    await agree(tmp_path, save(tmp_path, encoders[kind], [Pooling(DIMENSIONS, mode)]))


async def test_several_poolings_side_by_side(encoders: dict[str, Path], tmp_path: Path) -> None:
    await agree(tmp_path, save(tmp_path, encoders["bert"], [Pooling(DIMENSIONS, ("cls", "mean"))]))


async def test_dense_and_normalised(encoders: dict[str, Path], tmp_path: Path) -> None:
    head = [Pooling(DIMENSIONS), Dense(DIMENSIONS, 8), Dense(8, 4, use_residual=True), Normalize()]
    await agree(tmp_path, save(tmp_path, encoders["bert"], head))


async def test_prompts(encoders: dict[str, Path], tmp_path: Path) -> None:
    prompts = {"query": "ask: ", "document": "text: "}
    await agree(tmp_path, save(tmp_path, encoders["bert"], [Pooling(DIMENSIONS)], prompts=prompts))


@pytest.mark.parametrize("similarity", ["dot", "euclidean", "manhattan"])
@pytest.mark.parametrize("head", [(), (Normalize(),)], ids=["as pooled", "normalised"])
async def test_other_similarities(
    encoders: dict[str, Path], tmp_path: Path, head: tuple[torch.nn.Module, ...], similarity: str
) -> None:
    """Those that the model was trained with, in their own scale: the order may be another one."""
    modules = [Pooling(DIMENSIONS), *head]
    model = save(tmp_path, encoders["bert"], modules, similarity_fn_name=similarity)
    documents = texts(40)
    query = model.encode_query([QUERIES[0]] * len(documents), show_progress_bar=False)
    expected = model.similarity_pairwise(query, model.encode_document(documents, show_progress_bar=False))
    async with running({"m": tmp_path}) as engine:
        scores = await engine.scores("m", QUERIES[0], documents)
    np.testing.assert_allclose(scores.values, np.asarray(expected), rtol=1e-5, atol=TOLERANCE)
    assert np.ptp(scores.values) > 1e-3


@pytest.mark.parametrize("dimensions", [8, DIMENSIONS, 2 * DIMENSIONS])
@pytest.mark.parametrize("similarity", ["cosine", "dot"])
async def test_fewer_dimensions(
    encoders: dict[str, Path], tmp_path: Path, similarity: str, dimensions: int
) -> None:
    modules = [Pooling(DIMENSIONS), Normalize()]
    model = save(tmp_path, encoders["bert"], modules, similarity_fn_name=similarity, truncate_dim=dimensions)
    documents = texts(40)
    query = model.encode_query([QUERIES[0]] * len(documents), show_progress_bar=False)
    expected = model.similarity_pairwise(query, model.encode_document(documents, show_progress_bar=False))
    async with running({"m": {"source": tmp_path, "truncate_dim": dimensions}}) as engine:
        scores = await engine.scores("m", QUERIES[0], documents)
    np.testing.assert_allclose(scores.values, np.asarray(expected), rtol=1e-5, atol=TOLERANCE)


async def test_the_dimensions_that_a_checkpoint_names(encoders: dict[str, Path], tmp_path: Path) -> None:
    await agree(tmp_path, save(tmp_path, encoders["bert"], [Pooling(DIMENSIONS)], truncate_dim=8))


async def test_a_limit_of_its_own(encoders: dict[str, Path], tmp_path: Path) -> None:
    await agree(tmp_path, save(tmp_path, encoders["mpnet"], [Pooling(DIMENSIONS)], max_seq_length=12))


async def test_the_older_layout_of_its_files(encoders: dict[str, Path], tmp_path: Path) -> None:
    """Pooling by flags, and lower-casing by sentence-transformers instead of the tokenizer."""
    save(tmp_path, encoders["bert"], [Pooling(DIMENSIONS)])
    (tmp_path / "1_Pooling" / "config.json").write_text(
        '{"word_embedding_dimension": 32, "pooling_mode_cls_token": true, "pooling_mode_mean_tokens": false}'
    )
    tokenizer = tmp_path / "tokenizer.json"
    tokenizer.write_text(tokenizer.read_text().replace('"lowercase": true', '"lowercase": false'))
    configuration = tmp_path / "tokenizer_config.json"
    configuration.write_text(
        configuration.read_text().replace('"do_lower_case": true', '"do_lower_case": false')
    )
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 20, "do_lower_case": true}')
    await agree(tmp_path, SentenceTransformer(str(tmp_path), device="cpu"))


async def test_a_cross_encoder_with_a_head_of_modules(encoders: dict[str, Path], tmp_path: Path) -> None:
    head = [
        Pooling(DIMENSIONS, "cls"),
        Dense(DIMENSIONS, DIMENSIONS, activation_function=torch.nn.GELU()),
        LayerNorm(DIMENSIONS),
        Dense(DIMENSIONS, 1, activation_function=torch.nn.Identity(), module_output_name="scores"),
    ]
    torch.manual_seed(7)
    model = CrossEncoder(modules=[Transformer(str(encoders["bert"])), *head], device="cpu")
    model.save(str(tmp_path))
    documents = [text for text in texts(40) if len(text) < 30]
    async with running({"m": tmp_path}) as engine:
        reranked = await engine.scores("m", "rivers", documents)
    pairs = [("rivers", text) for text in documents]
    expected = model.eval().predict(pairs, activation_fn=torch.nn.Identity(), show_progress_bar=False)
    np.testing.assert_allclose(reranked.values, expected, rtol=0, atol=TOLERANCE)


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("2_Dense/config.json", '{"in_features": 32}', r"gives no \[out_features\]"),
        ("2_Dense/model.safetensors", "damaged", r"2_Dense/model\.safetensors\] is cut short"),
        (
            "2_Dense/config.json",
            '{"in_features": 1000000, "out_features": 1000000}',
            r"2_Dense\]: its weights cannot be loaded",
        ),
        (
            "config_sentence_transformers.json",
            '{"model_type": "SentenceTransformer", "similarity_fn_name": "hamming"}',
            r"compares embeddings by \[hamming\]; supported are cosine, dot",
        ),
        (
            "sentence_bert_config.json",
            '{"modality_config": {"message": {"method": "forward", '
            '"method_output_name": "last_hidden_state"}}}',
            "by a chat template",
        ),
        (
            "sentence_bert_config.json",
            '{"modality_config": {"text": {"method": "get_text_features"}}}',
            r"does not read text by \[forward\]",
        ),
        ("1_Pooling/config.json", '{"pooling_mode": "median"}', r"pools by \[median\]"),
        (
            "1_Pooling/config.json",
            '{"pooling_mode": "mean", "layers": 2}',
            r"\[layers\], which is not understood",
        ),
        ("sentence_bert_config.json", '{"max_length": 8}', r"\[max_length\], which is not understood"),
        ("sentence_bert_config.json", '{"query_length": 8}', "cuts or fills queries otherwise than texts"),
        (
            "sentence_bert_config.json",
            '{"tokenizer_name_or_path": "x/y"}',
            "names a tokenizer from elsewhere",
        ),
        (
            "sentence_bert_config.json",
            '{"transformer_task": "retrieval"}',
            r"\[transformer_task\] \[retrieval\]",
        ),
        (
            "sentence_bert_config.json",
            '{"config_kwargs": {"num_hidden_layers": 1}}',
            r"\[config_kwargs\.num_hidden_layers\], which is not supported",
        ),
        (
            "sentence_bert_config.json",
            '{"processing_kwargs": {"text": {"add_special_tokens": false}}}',
            r"\[processing_kwargs\] \[add_special_tokens\]",
        ),
        (
            "config_sentence_transformers.json",
            '{"model_type": "SentenceTransformer", "requirements": {"transformers": "<4"}}',
            r"needs transformers<4, and [\d.]+ is installed",
        ),
        (
            "2_Dense/config.json",
            '{"in_features": 32, "out_features": 4, "module_input_name": "token_embeddings"}',
            r"\[module_input_name\] \[token_embeddings\]",
        ),
        ("1_Pooling/config.json", '{"include_prompt": false}', "pools without the prompt"),
        (
            "2_Dense/config.json",
            '{"in_features": 32, "out_features": 4, "activation_function": "os.system"}',
            r"names the activation \[os\.system\]",
        ),
    ],
)
async def test_damaged_modules_are_told_in_a_line(
    encoders: dict[str, Path], tmp_path: Path, file: str, content: str, reason: str
) -> None:
    save(tmp_path, encoders["bert"], [Pooling(DIMENSIONS), Dense(DIMENSIONS, 4)])
    (tmp_path / file).write_text(content)
    async with running({"m": tmp_path}) as engine:
        with pytest.raises(ModelFailedError, match=reason) as failed:
            await engine.scores("m", "rivers", ["a text"])
    assert "\n" not in str(failed.value)
