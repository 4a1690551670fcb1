"""What recordings say that a model read of a text: whatever is behind that may change, and nothing before."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import pytest
from sentence_transformers import SentenceTransformer
from sentence_transformers.base.modules import Transformer
from sentence_transformers.sentence_transformer.modules import Pooling

from rerank_proxy.engine import Engine
from rerank_proxy.observe import stages
from rerank_proxy.observe.recording import Around, Read, Seen, Span
from rerank_proxy.observe.stages import Stage
from tests.models.conftest import TinyModel
from tests.support import tiny_generating, tiny_models
from tests.support.engines import running
from tests.support.tiny_late import made_by_pylate
from tests.support.tiny_models import CORPUS, MAX_LENGTH

QUERY: Final = "who carries water to the sea?"
OTHER: Final = " and the trees stand still" * 40
LONG: Final = [
    " ".join(CORPUS * 3),
    " ".join(reversed(CORPUS * 3)),
    "rivers " * 200,
    "北京 naïve Brücke 🙂 café " * 40,
    "\n  two   lines\n" + " ".join(CORPUS * 3),
]
NOISE: Final = 1e-5
"""What else is in a batch changes a score by less."""
SHORT: Final = ["rivers", "", "two words"]


class Notes:
    """A recorder that keeps what finds out what is read."""

    def __init__(self) -> None:
        self.read: Read | None = None
        self.known: dict[str, bool] = {}

    def stage(self, stage: Stage, began: float, ended: float, label: str | None) -> None:
        """Do nothing."""

    def chunked(self, spans: Sequence[Sequence[Span]], values: Sequence[float]) -> None:
        """Do nothing."""

    def looked_up(self, texts: Sequence[str], known: Sequence[bool]) -> None:
        self.known.update(zip(texts, known, strict=True))

    def read_by(self, read: Read) -> None:
        self.read = read


async def seen(engine: Engine, query: str, texts: Sequence[str]) -> list[Seen]:
    """Return what a recorded call says of its texts; its scores are those of a call that is not recorded."""
    notes = Notes()
    with stages.recorded_by(notes):
        recorded = await engine.scores("m", query, texts)
    assert recorded.values == (await engine.scores("m", query, texts)).values
    assert notes.read is not None
    assert notes.known.keys() == set(texts)
    return [*await notes.read(texts)]


async def check(model: Mapping[str, Any], query: str = QUERY) -> list[int]:
    """Hold a model to what it says. Return where it cut the long texts."""
    async with running({"m": model}) as engine:
        found = await seen(engine, query, [*LONG, *SHORT])
        scores = await engine.scores("m", query, LONG)
        places = [each.cut_at for each in found]
        assert places[len(LONG) :] == [None] * len(SHORT)
        cuts = [at for at in places if at is not None]
        assert len(cuts) == len(LONG)
        for at, text, score in zip(cuts, LONG, scores.values, strict=True):
            assert 0 < at < len(text)
            # The word that the cut is in stays: another end of it might be other tokens.
            end = min((place for mark in " \n" if (place := text.find(mark, at)) >= 0), default=len(text))
            begin = max(text.rfind(" ", 0, at - 1), 0)
            behind, before = text[:end] + OTHER, text[:begin] + " sea" + text[at:]
            same, other = (await engine.scores("m", query, [behind, before])).values
            assert same == pytest.approx(score, abs=NOISE), text[:at]
            assert other != pytest.approx(score, abs=NOISE), text[:at]
    return cuts


@pytest.mark.parametrize("kind", ["bert", "roberta", "modernbert"])
async def test_cross_encoders(tiny_model: TinyModel, kind: str) -> None:
    long_query = await check({"source": tiny_model(kind)}, "a long query about trees and rivers " * 10)
    short_query = await check({"source": tiny_model(kind)})
    assert all(one < other for one, other in zip(long_query, short_query, strict=True))


async def test_tokens_are_those_of_the_row(tiny_model: TinyModel) -> None:
    async with running({"m": {"source": tiny_model("bert")}}) as engine:
        cut, short = await seen(engine, QUERY, [LONG[0], "rivers"])
    assert cut.tokens == MAX_LENGTH
    assert short.tokens is not None
    assert short.tokens < MAX_LENGTH


async def test_bi_encoders_with_a_prompt(tmp_path: Path) -> None:
    encoder = Transformer(str(tiny_models.build_encoder("bert", tmp_path / "encoder")))
    cuts = []
    for prompt in ("", "a text about trees: "):
        model = SentenceTransformer(
            modules=[encoder, Pooling(32)], device="cpu", prompts={"document": prompt}
        )
        model.save(str(tmp_path / "model"))
        cuts.append(await check({"source": tmp_path / "model"}))
    assert all(one > other for one, other in zip(*cuts, strict=True))


async def test_what_is_read_around_a_text(tiny_model: TinyModel, tmp_path: Path) -> None:
    """A query with the same words as the text stands before it, and is not taken for it."""
    encoder = Transformer(str(tiny_models.build_encoder("bert", tmp_path / "encoder")))
    prompts = {"query": "trees ", "document": "rivers "}
    apart = SentenceTransformer(modules=[encoder, Pooling(32)], device="cpu", prompts=prompts)
    apart.save(str(tmp_path / "model"))
    async with running({"m": {"source": tmp_path / "model"}}) as engine:
        found = {each.around for each in await seen(engine, "sea", ["sea", LONG[0], "sea water"])}
        assert found == {Around("[CLS] r ##i ##v ##e ##r ##s", "[SEP]", "[CLS] trees sea [SEP]")}
    async with running({"m": {"source": tiny_model("bert")}}) as engine:
        same, behind, empty, cut = await seen(engine, "sea water", ["sea water", "water", "", LONG[0]])
    around = {each.around for each in (same, behind, empty, cut)}
    assert around == {Around("[CLS] sea water [SEP]", "[SEP]")}


async def test_late_interaction_with_a_mark(tmp_path: Path) -> None:
    settings = {"model_type": "ColBERT", "document_prefix": "[D] ", "document_length": 40}
    made_by_pylate(tmp_path / "model", tiny_models.build_encoder("bert", tmp_path / "encoder"), settings)
    await check({"source": tmp_path / "model"})


async def test_texts_in_windows(tiny_model: TinyModel) -> None:
    model = {"source": tiny_model("bert"), "windows": "mean", "max_windows": 2}
    await check(model)


async def test_prompts_of_generating_models(tmp_path: Path) -> None:
    chat = tiny_generating.CHAT_TEMPLATE
    directory = tiny_generating.build("qwen3", "CausalLM", tmp_path / "Qwen3-Reranker-0.6B", chat)
    await check({"source": directory, "max_length": 256})


async def test_texts_beyond_what_is_tokenised_at_all(tiny_model: TinyModel) -> None:
    model = {"source": tiny_model("bert")}
    async with running({"m": model}, text_characters=10) as engine:
        (found,) = await seen(engine, "q", ["sea trees rivers"])
    assert found.cut_at == 10
