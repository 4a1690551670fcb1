"""Texts of any length and shape: with every kind of model each has a score, or its rule refuses it."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from functools import cache, partial
from typing import Any, Final, get_args

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry
from sentence_transformers import MultiVectorEncoder, SentenceTransformer
from sentence_transformers.base.modules import Normalize, Transformer
from sentence_transformers.multi_vector_encoder.modules import MultiVectorMask
from sentence_transformers.sentence_transformer.modules import Pooling
from tokenizers import processors
from transformers import AutoTokenizer

from rerank_proxy.concurrency.steps import run_at_once
from rerank_proxy.engine import InputTooLargeError, ModelFailedError
from rerank_proxy.engine.batching.cache import OutputCache
from rerank_proxy.engine.divided_texts import DividedTexts
from rerank_proxy.engine.encoding.encode import (
    PlainPairEncoder,
    TemplatePairEncoder,
    TextEncoder,
    derive_pair,
    derive_single,
    gathered,
)
from rerank_proxy.engine.encoding.inputs import Inputs
from rerank_proxy.engine.encoding.late_interaction import LateInteraction, TokenEncoder
from rerank_proxy.engine.encoding.prompts import PromptEncoder
from rerank_proxy.engine.encoding.scorers import BiEncoder, CrossEncoder, Scorer
from rerank_proxy.engine.encoding.tokenizer import PIECE_CHARACTERS, Tokenizer
from rerank_proxy.engine.encoding.truncate import Truncation
from rerank_proxy.engine.encoding.windows import Division, WindowPairEncoder, WindowTextEncoder
from rerank_proxy.engine.loading.reading.templates import TEMPLATES
from rerank_proxy.engine.rows import Output, Row
from tests.models.conftest import TinyModel
from tests.support import tiny_generating, tiny_models
from tests.support.engines import OnDisk, running
from tests.support.examples import examples
from tests.support.raw_http import TIMEOUT_S
from tests.support.tiny_models import CORPUS, MAX_LENGTH

LIMIT: Final = 20_000
"""`engine.text_characters`: less than by default, so that many examples are cheap."""

RULES: Final = get_args(Truncation)
DIVISION: Final = Division(overlap=5, most=6)
LONGEST: Final = {"prompt": tiny_generating.MAX_LENGTH}

ODD: Final = ["北京", "naïve", "🙂", "</s>", "[MASK]", "\ud83d", "e\u0301"]
units = st.sampled_from(
    [*" ".join(CORPUS).split(), *ODD, "a", " ", "\n", "0", "北", "\u0301", "\0", "\udc00", "a b"]
)
shapes = st.builds(
    lambda parts, times, end: "".join(parts) * times + end,
    st.lists(units, max_size=4),
    st.sampled_from([0, 1, 2, 9, 40, 300, 300, 4_000, 250_000]),
    units,
)


@pytest.fixture(scope="session")
def scorers(
    tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str, Truncation], Scorer]:
    """Return a scorer of each kind, with a rule of truncation."""
    prompts = tiny_generating.build("qwen3", "CausalLM", tmp_path_factory.mktemp("prompts"))

    @cache
    def tokenizer(kind: str) -> Tokenizer:
        directory = prompts if kind == "prompt" else tiny_model("bert")
        made: Any = AutoTokenizer.from_pretrained(directory)
        if kind == "odd pair":
            special = [(token, made.convert_tokens_to_ids(token)) for token in ("[CLS]", "[SEP]")]
            made.backend_tokenizer.post_processor = processors.TemplateProcessing(
                single="[CLS] $A [SEP]", pair="[CLS] $B [SEP] $A [SEP]", special_tokens=special
            )
        return Tokenizer(made)

    def scorer(kind: str, truncation: Truncation) -> Scorer:
        tokens = tokenizer(kind)
        if kind == "prompt":
            prompt = TEMPLATES["qwen3-reranker"].prompt
            return CrossEncoder("m", PromptEncoder(tokens, prompt, LONGEST["prompt"], truncation))
        if kind == "odd pair":
            return CrossEncoder("m", PlainPairEncoder(tokens, MAX_LENGTH, truncation))
        pair, single = derive_pair(tokens), derive_single(tokens)
        assert pair is not None
        assert single is not None
        encoder = partial(TextEncoder, tokens, single, MAX_LENGTH, truncation)
        pairs = TemplatePairEncoder(tokens, pair, MAX_LENGTH, truncation)
        windows = WindowTextEncoder(tokens, single, MAX_LENGTH, DIVISION, [7, 8])
        made: dict[str, Scorer] = {
            "pair": CrossEncoder("m", pairs),
            "bi": BiEncoder("m", encoder("query"), texts=encoder("text")),
            "late": LateInteraction("m", TokenEncoder(encoder("query")), TokenEncoder(encoder("text"))),
            "pair windows": CrossEncoder("m", WindowPairEncoder(tokens, pair, MAX_LENGTH, DIVISION)),
            "bi windows": BiEncoder("m", encoder("query"), texts=windows, reduction="mean"),
        }
        return made[kind]

    return scorer


@pytest.mark.parametrize("kind", ["pair", "odd pair", "bi", "late", "prompt", "pair windows", "bi windows"])
@examples(1.5)
@given(rule=st.sampled_from(RULES), query=shapes, texts=st.lists(shapes, min_size=1, max_size=2))
def test_every_text_has_a_score_or_is_refused_by_its_rule(
    scorers: Callable[[str, Truncation], Scorer], kind: str, rule: Truncation, query: str, texts: list[str]
) -> None:
    rule = "balanced" if "windows" in kind else rule
    scorer = scorers(kind, rule)
    inputs = run_at_once(Inputs.of(scorer, query, texts, LIMIT))
    try:
        rows = gathered(scorer.encode(inputs.query, inputs.texts, range(len(inputs.keys))))
    except InputTooLargeError:
        assert rule in ("first", "none")
        return
    assert len(rows) == len(inputs.keys)
    longest = LONGEST.get(kind, MAX_LENGTH)
    for row in rows:
        assert all(0 < len(window) <= longest for window in row.windows)
        assert len(row.windows) <= (DIVISION.most if "windows" in kind else 1)
        assert not row.truncated or rule != "none"
    scores = scorer.scores(outputs(inputs.keys, rows, kind))
    scores = scores if isinstance(scores, list) else run_at_once(scores)
    assert len(scores) == len(texts)
    assert np.isfinite(scores).all()


def outputs(keys: Sequence[bytes], rows: Sequence[Row], kind: str) -> list[Output]:
    """Return what a model might give."""
    divided = DividedTexts(dict(zip(keys, rows, strict=True)), OutputCache(0))
    shape = (1,) if "pair" in kind or kind == "prompt" else (3, 4) if kind == "late" else (4,)
    given = {key: Output(np.full(shape, len(row), np.float32), False) for key, row in divided.rows.items()}
    joined = divided.joined(given)
    return [joined[key] for key in keys]


@pytest.mark.parametrize("part", ["rivers ", "a", " ", "北", "!", "🙂 "])
def test_no_step_reads_much_of_a_text_that_is_divided(
    tiny_model: TinyModel, part: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first reads as much as a step may take; each that follows up to four times as much as needed."""
    tokenizer = Tokenizer(AutoTokenizer.from_pretrained(tiny_model("bert")))
    read: list[int] = []
    plain = tokenizer._plain_ids

    def counted(texts: Sequence[str]) -> list[list[int]]:
        read.append(sum(map(len, texts)))
        return plain(texts)

    monkeypatch.setattr(tokenizer, "_plain_ids", counted)
    gathered(tokenizer.ids([part * (250_000 // len(part))], 32 * 450))
    assert read[0] <= PIECE_CHARACTERS
    assert sum(read) <= 250_000 * 7 / 3


HOSTILE: Final = [
    *("", "x" * 1_000_000, " " * 1_000_000, "北" * 100_000),
    *("\ud83d" * 5_000, "🙂e\u0301 x\0" * 5_000),
]
ORDINARY: Final = ["rivers carry water", "an apple tree"]


@pytest.fixture(scope="session")
def models(tiny_model: TinyModel, tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, OnDisk]:
    home = tmp_path_factory.mktemp("long")
    encoder = tiny_models.build_encoder("bert", home / "encoder")
    SentenceTransformer(modules=[Transformer(str(encoder)), Pooling(32)]).save(str(home / "bi"))
    vectors = "token_embeddings"
    late = [Transformer(str(encoder)), MultiVectorMask([]), Normalize(vectors)]
    MultiVectorEncoder(modules=late, device="cpu").save(str(home / "late"))
    prompts = tiny_generating.build("qwen3", "CausalLM", home / "prompts")
    return {
        "pair": {"source": tiny_model("bert")},
        "pair windows": {"source": tiny_model("bert"), "windows": "max"},
        "bi": {"source": home / "bi"},
        "bi windows": {"source": home / "bi", "windows": "mean"},
        "late": {"source": home / "late"},
        "prompt": {"source": prompts, "template": "qwen3-reranker"},
    }


async def test_no_text_changes_the_scores_of_others(models: Mapping[str, OnDisk]) -> None:
    async with running(models) as engine:
        for name in models:
            alone = await engine.scores(name, "who carries water?", ORDINARY)
            beside = await engine.scores(name, "who carries water?", [*HOSTILE, *ORDINARY])
            assert np.isfinite(beside.values).all()
            np.testing.assert_allclose(beside.values[-2:], alone.values, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", ["bi", "late", "prompt"])
async def test_what_a_rule_forbids_to_cut_is_refused(models: Mapping[str, OnDisk], kind: str) -> None:
    model = models[kind]
    assert isinstance(model, Mapping)
    rules = {rule: {**model, "truncation": rule} for rule in RULES}
    long = "rivers " * 300
    async with running(rules) as engine:
        for rule in RULES:
            assert (await engine.scores(rule, "sea", ["a tree"])).truncated == 0
            if rule == "none":
                with pytest.raises(InputTooLargeError, match="Input too large"):
                    await engine.scores(rule, long, ["a tree"])
            else:
                assert (await engine.scores(rule, long, ["a tree"])).truncated == 1
            if rule in ("first", "none"):
                with pytest.raises(InputTooLargeError, match="too large"):
                    await engine.scores(rule, "sea", ["a tree", long])
            else:
                assert (await engine.scores(rule, "sea", ["a tree", long])).truncated == 1


@pytest.mark.parametrize("kind", ["late", "prompt"])
async def test_models_that_have_no_windows(models: Mapping[str, OnDisk], kind: str) -> None:
    model = models[kind]
    assert isinstance(model, Mapping)
    async with running({"m": {**model, "windows": "max"}}) as engine:
        with pytest.raises(ModelFailedError, match=r"are cut: remove its \[windows\]"):
            await engine.scores("m", "sea", ["a tree"])


async def test_a_small_call_does_not_wait_for_all_windows_of_a_large_one(tiny_model: TinyModel) -> None:
    registry = CollectorRegistry()

    def scored() -> float:
        return registry.get_sample_value("rerank_proxy_engine_pairs_scored_total", {"model": "m"}) or 0.0

    model = {"source": tiny_model("bert"), "windows": "max", "window_overlap": 0}
    texts = [f"{number} " + "sea " * 1_300 for number in range(60)]
    async with running({"m": model}, registry, budget_tokens=64) as engine:
        await engine.scores("m", "sea", ["a text"])
        large = asyncio.create_task(engine.scores("m", "sea", texts))
        async with asyncio.timeout(TIMEOUT_S):
            while scored() < 20:
                await engine.scores("m", "sea", [f"waiting {scored()}"])
        before = scored()
        await engine.scores("m", "tree", ["two", "small", "texts"])
        assert scored() - before < 300
        assert not large.done()
        assert (await large).truncated == 0
    assert scored() > 60 * 29
