"""Late-interaction models of all layouts agree with sentence-transformers, which loads all of them."""

import asyncio
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from sentence_transformers import MultiVectorEncoder
from sentence_transformers.base.modules import Dense, Normalize, Transformer
from sentence_transformers.multi_vector_encoder.modules import HierarchicalTokenPooling, MultiVectorMask

from rerank_proxy.engine import ModelFailedError
from rerank_proxy.engine.engine import Engine
from tests.models.samples import LONG_QUERY, QUERIES, texts
from tests.support import tiny_models
from tests.support.engines import OnDisk, running
from tests.support.tiny_late import (
    OF_COLBERT,
    OF_PYLATE,
    PUNCTUATION,
    VECTORS,
    made_by_colbert,
    made_by_pylate,
    projection,
    save,
)

TOLERANCE = 1e-4
"""Of sums over up to 20 tokens."""

KINDS = ("bert", "roberta", "modernbert", "deberta-v2")
"""Two that run without padding and two that need it, with masks of four kinds of attention."""

EXPANSIONS: dict[str, dict[str, Any] | None] = {
    "none": None,
    "fixed": {"strategy": "fixed", "length": 20},
    "attended": {"strategy": "fixed", "length": 20, "attend": True},
    "at least": {"strategy": "min", "length": 12},
    "of its own": {"strategy": "min", "length": 12, "token": "e"},
}

Encoders = Callable[[str], Path]


@pytest.fixture(scope="module")
def encoders(tmp_path_factory: pytest.TempPathFactory) -> Encoders:
    built: dict[str, Path] = {}

    def encoder(kind: str) -> Path:
        if kind not in built:
            built[kind] = tiny_models.build_encoder(kind, tmp_path_factory.mktemp(f"tokens-{kind}"))
        return built[kind]

    return encoder


@pytest.fixture(scope="module")
def plain(encoders: Encoders, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model that was saved once, to be spoilt in copies."""
    directory = tmp_path_factory.mktemp("plain")
    save(directory, encoders("bert"))
    return directory


def reference(model: MultiVectorEncoder, query: str, documents: list[str]) -> np.ndarray[Any, Any]:
    (expected,) = references(model, [query], documents)
    return np.asarray(expected)


def references(model: MultiVectorEncoder, queries: list[str], documents: list[str]) -> np.ndarray[Any, Any]:
    # Each query alone: where an added token attends to nothing, its vector depends on the padding.
    vectors = [model.encode_query([query], show_progress_bar=False)[0] for query in queries]
    others = model.encode_document(documents, show_progress_bar=False)
    expected: np.ndarray[Any, Any] = model.similarity(vectors, others).numpy()
    return expected


def without_unknown(model: MultiVectorEncoder) -> list[str]:
    """Texts that PyLate and ColBERT encode as sentence-transformers does.

    They skip all unknown tokens if the tokenizer lacks a word to be skipped, and PyLate removes white space
    around a text.
    """
    unknown = model.tokenizer.unk_token
    return [text.strip() for text in texts(24) if unknown not in model.tokenizer.tokenize(text)]


async def agree(directory: OnDisk, model: MultiVectorEncoder, documents: list[str] | None = None) -> None:
    documents = documents or texts(24)
    queries = [*QUERIES, LONG_QUERY]
    async with running({"m": directory}) as engine:
        reranked = [(await engine.scores("m", query, documents)).values for query in queries]
    expected = references(model, queries, documents)
    np.testing.assert_allclose(reranked, expected, rtol=0, atol=TOLERANCE)
    assert np.ptp(expected[0]) > 1e-2, "scores that hardly differ prove nothing"


@pytest.mark.parametrize("kind", KINDS)
async def test_every_kind_of_network(encoders: Encoders, tmp_path: Path, kind: str) -> None:
    expansion = EXPANSIONS["fixed"]
    await agree(tmp_path, save(tmp_path, encoders(kind), query_expansion=expansion, document_length=30))


@pytest.mark.parametrize("expansion", EXPANSIONS)
async def test_every_expansion_of_queries(encoders: Encoders, tmp_path: Path, expansion: str) -> None:
    await agree(tmp_path, save(tmp_path, encoders("bert"), query_expansion=EXPANSIONS[expansion]))


@pytest.mark.parametrize(
    "lengths",
    [
        {"query_length": 8, "document_length": 16},
        {"query_length": 16, "query_expansion": EXPANSIONS["at least"]},
        {"max_seq_length": 12},
    ],
    ids=["both", "beyond the expansion", "of all"],
)
async def test_every_length(encoders: Encoders, tmp_path: Path, lengths: dict[str, Any]) -> None:
    await agree(tmp_path, save(tmp_path, encoders("bert"), **lengths))


@pytest.mark.parametrize("tasks", [None, ["query"], ["query", "document"], "query"])
async def test_every_side_that_skips_words(encoders: Encoders, tmp_path: Path, tasks: Any) -> None:
    mask = MultiVectorMask([*PUNCTUATION, "e", "no token at all"], skiplist_tasks=tasks)
    await agree(tmp_path, save(tmp_path, encoders("bert"), mask=mask, query_expansion=EXPANSIONS["fixed"]))


async def test_nothing_is_skipped(encoders: Encoders, tmp_path: Path) -> None:
    await agree(tmp_path, save(tmp_path, encoders("bert"), mask=MultiVectorMask()))


async def test_texts_of_which_all_is_skipped_come_last(encoders: Encoders, tmp_path: Path) -> None:
    mask = MultiVectorMask([*PUNCTUATION, "[CLS]", "[SEP]"])
    model = save(tmp_path, encoders("bert"), mask=mask)
    documents = [". , ;", "rivers", ""]
    async with running({"m": tmp_path}) as engine:
        scores = (await engine.scores("m", "rivers", documents)).values
    np.testing.assert_allclose(scores, reference(model, "rivers", documents), rtol=1e-6)
    assert scores[0] == scores[2] < -1e8 < scores[1]


async def test_a_chain_of_projections(encoders: Encoders, tmp_path: Path) -> None:
    head = [
        projection(bias=True, activation_function=torch.nn.GELU()),
        Dense(8, 8, use_residual=True, module_input_name=VECTORS),
        Dense(8, 4, use_residual=True, bias=False, module_input_name=VECTORS),
    ]
    await agree(tmp_path, save(tmp_path, encoders("bert"), head=head))


async def test_prompts_and_the_average(encoders: Encoders, tmp_path: Path) -> None:
    prompts = {"query": "ask: ", "document": "text: "}
    model = save(tmp_path, encoders("bert"), similarity="meanmaxsim", prompts=prompts)
    await agree(tmp_path, model)


@pytest.mark.parametrize("kind", ["bert", "modernbert"])
@pytest.mark.parametrize(
    "settings",
    [
        {"model_type": "ColBERT"},
        {},
        {"attend_to_expansion_tokens": True},
        {"do_query_expansion": False},
        {"skiplist_words": []},
        {"prompts": {"query": "ask:", "document": "text:"}},
    ],
    ids=["named", "older", "attended", "not expanded", "no skipped words", "prompts"],
)
async def test_pylates_layout(
    encoders: Encoders, tmp_path: Path, kind: str, settings: dict[str, Any]
) -> None:
    made_by_pylate(tmp_path, encoders(kind), {**OF_PYLATE, **settings})
    model = MultiVectorEncoder(str(tmp_path), device="cpu")
    await agree(tmp_path, model, [text.strip() for text in texts(24)])


async def test_pylates_defaults(encoders: Encoders, tmp_path: Path) -> None:
    made_by_pylate(tmp_path, encoders("bert"), {"model_type": "ColBERT", "query_length": 20})
    (tmp_path / "sentence_bert_config.json").write_text('{"max_seq_length": 48}')
    explicit = {"query_prefix": "[Q] ", "document_prefix": "[D] ", "document_length": 48, "query_length": 20}
    saved = tmp_path / "config_sentence_transformers.json"
    written = saved.read_text()
    saved.write_text(json.dumps({**json.loads(written), **explicit}))
    model = MultiVectorEncoder(str(tmp_path), device="cpu")
    saved.write_text(written)
    await agree({"source": tmp_path, "max_length": 48}, model, without_unknown(model))


async def test_unknown_words_to_skip_mean_all_unknown_tokens_for_pylate(
    encoders: Encoders, tmp_path: Path
) -> None:
    made_by_pylate(tmp_path, encoders("bert"), {**OF_PYLATE, "skiplist_words": ["no token"]})
    async with running({"m": tmp_path}) as engine:
        unknown, other = (await engine.scores("m", "北", ["北", "rivers"])).values
        (of_none,) = (await engine.scores("m", "北", [""])).values
    model = MultiVectorEncoder(str(tmp_path), device="cpu")
    model[-2]._skiplist_ids = torch.tensor([model.tokenizer.unk_token_id])
    np.testing.assert_allclose(
        [unknown, other, of_none], reference(model, "北", ["北", "rivers", ""]), rtol=0, atol=TOLERANCE
    )


async def test_white_space_around_texts_does_not_count_for_pylate(encoders: Encoders, tmp_path: Path) -> None:
    made_by_pylate(tmp_path, encoders("modernbert"), OF_PYLATE)
    async with running({"m": tmp_path}) as engine:
        one, other = (await engine.scores("m", " rivers", ["apple trees", " \n apple trees "])).values
        (third,) = (await engine.scores("m", "rivers", ["apple trees"])).values
    assert one == other == third


@pytest.mark.parametrize(
    "metadata",
    [{}, {"attend_to_mask_tokens": True}, {"mask_punctuation": False}],
    ids=["plain", "attended", "with punctuation"],
)
async def test_colberts_own_layout(tmp_path: Path, metadata: dict[str, Any]) -> None:
    made_by_colbert(tmp_path, "bert", {**OF_COLBERT, **metadata})
    model = MultiVectorEncoder(str(tmp_path), device="cpu")
    await agree(tmp_path, model, without_unknown(model))


@pytest.mark.parametrize("query", QUERIES)
@pytest.mark.parametrize("text", ["", "Rivers carry water, to the sea."])
async def test_by_the_formula(encoders: Encoders, tmp_path: Path, query: str, text: str) -> None:
    """Of ColBERT's paper, with transformers alone: markers, masks, projection, unit length, MaxSim."""
    made_by_pylate(tmp_path, encoders("bert"), OF_PYLATE)
    import transformers

    tokenizer: Any = transformers.AutoTokenizer.from_pretrained(tmp_path)
    network: Any = transformers.AutoModel.from_pretrained(tmp_path).eval()
    weight = load_file(tmp_path / "1_Dense/model.safetensors")["linear.weight"]

    def vectors(words: str, marker: str, length: int) -> tuple[torch.Tensor, list[int]]:
        plain = tokenizer.encode(words, add_special_tokens=False)[: length - 3]
        own = [
            tokenizer.cls_token_id,
            tokenizer.convert_tokens_to_ids(marker),
            *plain,
            tokenizer.sep_token_id,
        ]
        added = length - len(own) if marker == "[Q] " else 0
        ids = own + [tokenizer.mask_token_id] * added
        seen = torch.tensor([[1] * len(own) + [0] * added])
        with torch.inference_mode():
            hidden = network(input_ids=torch.tensor([ids]), attention_mask=seen).last_hidden_state[0]
        return torch.nn.functional.normalize(hidden @ weight.T, dim=-1), ids

    asked, _ = vectors(query, "[Q] ", 16)
    told, ids = vectors(text, "[D] ", 24)
    skipped = tokenizer.convert_tokens_to_ids(PUNCTUATION)
    kept = told[[at for at, token in enumerate(ids) if token not in skipped]]
    expected = sum(max(float(mine @ other) for other in kept) for mine in asked)
    async with running({"m": tmp_path}) as engine:
        (score,) = (await engine.scores("m", query, [text])).values
    assert score == pytest.approx(expected, abs=TOLERANCE)


async def scores(engine: Engine, query: str, documents: list[str]) -> list[float]:
    return list((await engine.scores("m", query, documents)).values)


async def test_neither_the_cache_nor_other_texts_change_a_score(encoders: Encoders, tmp_path: Path) -> None:
    save(tmp_path, encoders("bert"), query_expansion=EXPANSIONS["fixed"])
    documents = texts(30)
    async with running({"m": tmp_path}, cache_bytes=0) as engine:
        together = await scores(engine, "rivers", documents)
        alone = [(await scores(engine, "rivers", [text]))[0] for text in documents]
    async with running({"m": tmp_path}) as engine:
        await scores(engine, "another query", documents)
        first = await engine.scores("m", "rivers", documents)
        again = await engine.scores("m", "rivers", documents)
    assert first.cached == len(documents), "vectors of texts serve all queries"
    assert again.values == first.values
    np.testing.assert_allclose(together, alone, rtol=0, atol=1e-5)
    np.testing.assert_allclose(together, first.values, rtol=0, atol=1e-5)


async def test_a_query_and_a_text_of_the_same_words_are_encoded_apart(
    encoders: Encoders, tmp_path: Path
) -> None:
    model = save(tmp_path, encoders("bert"), query_expansion=EXPANSIONS["fixed"])
    await agree(tmp_path, model, ["rivers", QUERIES[0], "rivers. rivers, trees"])
    async with running({"m": tmp_path}) as engine:
        (score,) = await scores(engine, "rivers", ["rivers"])
    assert score == pytest.approx(float(reference(model, "rivers", ["rivers"])[0]), abs=TOLERANCE)


async def test_more_texts_than_a_portion(
    encoders: Encoders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rerank_proxy.engine.loading import load

    monkeypatch.setattr(load, "PORTION_OF_VECTORS", 4)
    model = save(tmp_path, encoders("bert"))
    documents = texts(30)
    async with running({"m": tmp_path}, cache_bytes=0) as engine:
        got = await engine.scores("m", "rivers", documents)
    np.testing.assert_allclose(got.values, reference(model, "rivers", documents), rtol=0, atol=TOLERANCE)


async def test_many_vectors_are_not_compared_on_the_event_loop(
    encoders: Encoders, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    from rerank_proxy.engine.encoding import late_interaction

    save(tmp_path, encoders("bert"))
    original, threads = late_interaction.max_sim, set()

    def watched(*arguments: Any, **options: Any) -> float:
        threads.add(threading.current_thread().name)
        return original(*arguments, **options)

    monkeypatch.setattr(late_interaction, "max_sim", watched)
    async with running({"m": tmp_path}) as engine:
        few = await scores(engine, "rivers", texts(20))
        assert threads == {threading.current_thread().name}, "few need no other thread"
        monkeypatch.setattr(late_interaction, "_PRODUCTS_OF_A_STEP", 1000)
        threads.clear()
        calls = [scores(engine, "rivers", texts(20)) for _ in range(2)]
        many = await asyncio.gather(*calls)
    assert many == [few, few]
    assert threading.current_thread().name not in threads


@pytest.mark.parametrize(
    ("file", "content", "reason"),
    [
        ("config_sentence_transformers.json", {"similarity_fn_name": "cosine"}, r"compares vectors by \[cos"),
        ("config_sentence_transformers.json", {"query_prefix": "[Q]"}, "settings of PyLate as well"),
        ("sentence_bert_config.json", {"query_expansion": {"strategy": "other", "length": 8}}, "strategy"),
        ("sentence_bert_config.json", {"query_expansion": {"strategy": "min"}}, "length"),
        (
            "sentence_bert_config.json",
            {"query_expansion": {"strategy": "min", "length": 8, "other": 1}},
            "unknown field `other`",
        ),
        (
            "sentence_bert_config.json",
            {"query_length": 4, "query_expansion": {"strategy": "min", "length": 8}},
            "cuts queries to 4 tokens and fills them up to 8",
        ),
        (
            "sentence_bert_config.json",
            {"query_expansion": {"strategy": "min", "length": 8, "token": "[Other]"}},
            r"token \[\[Other\]\] into texts",
        ),
        (
            "sentence_bert_config.json",
            {"query_expansion": {"strategy": "fixed", "length": 100}},
            "positions for 48 tokens, and its queries have 100",
        ),
        ("sentence_bert_config.json", {"document_length": 2}, "leaves no room|too few for any word"),
        ("2_MultiVectorMask/config.json", {"keep_only_token_ids": [1]}, "keep_only_token_ids"),
        ("2_MultiVectorMask/config.json", {"skiplist_other": 1}, "skiplist_other"),
        ("3_Normalize/config.json", {"module_input_name": "sentence_embedding"}, "Normalize for"),
        ("1_Dense/config.json", {"module_output_name": "other"}, r"Dense for \[other\]"),
    ],
)
async def test_what_is_not_understood_is_refused(
    plain: Path, tmp_path: Path, file: str, content: dict[str, Any], reason: str
) -> None:
    shutil.copytree(plain, tmp_path, dirs_exist_ok=True)
    path = tmp_path / file
    path.write_text(json.dumps({**json.loads(path.read_text()), **content}))
    await refused(tmp_path, reason)


async def refused(model: OnDisk, reason: str) -> None:
    async with running({"m": model}) as engine:
        with pytest.raises(ModelFailedError, match=reason) as failure:
            await engine.scores("m", "a query", ["a text"])
    assert "\n" not in str(failure.value)


async def test_token_pooling_is_refused(encoders: Encoders, tmp_path: Path) -> None:
    modules = [
        Transformer(str(encoders("bert"))),
        projection(),
        MultiVectorMask(),
        Normalize(VECTORS),
        HierarchicalTokenPooling(2),
    ]
    MultiVectorEncoder(modules=modules, device="cpu").save(str(tmp_path))
    await refused(tmp_path, r"names \[HierarchicalTokenPooling\]")


async def test_fewer_dimensions_are_refused(plain: Path) -> None:
    await refused({"source": plain, "truncate_dim": 4}, "late-interaction model, which is scored in all")


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"query_prefix": "[Other]"}, r"token \[\[Other\]\] into texts"),
        ({"similarity_fn_name": "XTR"}, r"compares vectors by \[XTR\]"),
        ({"query_length": 100}, "positions for 48 tokens, and its queries have 100"),
        ({"query_length": "many"}, "cannot be read"),
    ],
)
async def test_what_pylate_would_not_understand_is_refused(
    encoders: Encoders, tmp_path: Path, settings: dict[str, Any], reason: str
) -> None:
    made_by_pylate(tmp_path, encoders("bert"), OF_PYLATE)
    path = tmp_path / "config_sentence_transformers.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **settings}))
    await refused(tmp_path, reason)


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({"similarity": "l2"}, r"compares vectors by \[l2\]"),
        ({"interaction": "flipr"}, r"compares vectors by \[flipr\]"),
        ({"query_token_id": "[unused7]"}, r"token \[\[unused7\]\] into texts"),
    ],
)
async def test_what_colbert_may_say_and_is_not_supported(
    tmp_path: Path, metadata: dict[str, Any], reason: str
) -> None:
    made_by_colbert(tmp_path, "bert", {**OF_COLBERT, **metadata})
    await refused(tmp_path, reason)


async def test_a_colbert_without_its_projection(tmp_path: Path) -> None:
    made_by_colbert(tmp_path, "bert", OF_COLBERT)
    weights = load_file(tmp_path / "model.safetensors")
    del weights["linear.weight"]
    save_file(weights, tmp_path / "model.safetensors", {"format": "pt"})
    await refused(tmp_path, r"without \[linear\.weight\]")


async def test_a_reduced_precision_keeps_the_order(plain: Path) -> None:
    async with running({"m": plain}) as engine:
        exact = (await engine.scores("m", QUERIES[0], texts(24))).values
    async with running({"m": plain}, precision="bf16") as engine:
        reduced = (await engine.scores("m", QUERIES[0], texts(24))).values
    assert reduced != exact
    assert np.corrcoef(reduced, exact)[0, 1] > 0.99
