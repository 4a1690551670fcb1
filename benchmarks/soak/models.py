"""The models of a soak run, their texts, and the scores that each text gets alone."""

import json
import random
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from benchmarks.soak import faults
from rerank_proxy.engine import Engine
from rerank_proxy.settings import EngineSettings, ModelSettings
from tests.support import tiny_models

QUERIES: Final = ("who carries water to the sea?", "apple trees", "Brücke 北京 🙂", "")
NO_TOKEN: Final = "ᚠᚢᚦ"
"""A text that the tokenizer of `strict` has no tokens for."""

PLUGIN: Final = "plug-in"
STRICT: Final = "strict"
BROKEN: Final = "broken"
GUESTS: Final = ("guest-1", "guest-2")
"""Models that come and go."""

_STRICT_CHARACTERS: Final = sorted({*map(chr, range(33, 127)), *"äöüïéèçñßàâêôû—…北京東🙂"})
_SPECIAL: Final = ("[PAD]", "[CLS]", "[SEP]", "[MASK]")

Table = Mapping[tuple[str, str, str], float]
"""Scores by model, query and text."""


@dataclass(frozen=True, slots=True)
class World:
    """What calls are drawn from."""

    models: Mapping[str, ModelSettings]
    """By name; the guests are among them."""
    texts: Sequence[str]
    table: Table

    @property
    def weights_bytes(self) -> int:
        """The size of the largest weights on disk."""
        return max(size_of(Path(each.source)) for each in self.models.values())


def size_of(directory: Path) -> int:
    """Return the bytes of a model's weights."""
    return sum(path.stat().st_size for path in directory.glob("*.safetensors"))


async def make_world(directory: Path, texts: int) -> World:
    """Make the models below `directory`, and score each text alone."""
    faults.install(directory / "site")
    known = {name: ModelSettings(**each, preload=False) for name, each in _settings(directory).items()}
    drawn = make_texts(texts)
    return World(known, drawn, await _table(known, drawn))


def make_texts(count: int) -> list[str]:
    """Make texts of all lengths up to the limit of a tiny model and beyond, the same in every run."""
    rng = random.Random(count)
    words = " ".join(tiny_models.CORPUS).split()
    odd = ["", "rivers", "北京 naïve Brücke 🙂 café", "x" * 300, "\n\t two\n\nlines ", "river " * 400]
    return [*odd, *(" ".join(rng.choices(words, k=rng.randint(1, 60))) for _ in range(count - len(odd)))]


def _settings(directory: Path) -> dict[str, dict[str, Any]]:
    """Make the models, and return their settings by name."""
    crosses = {name: directory / name for name in ("bert", "deberta-v2", "xlm-roberta", *GUESTS)}
    for name, path in crosses.items():
        tiny_models.build("distilbert" if name in GUESTS else name, path)
    encoder = _with_pooling(tiny_models.build_encoder("mpnet", directory / "bi-encoder"))
    broken = tiny_models.build("bert", directory / BROKEN)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    sources = {**crosses, "bi-encoder": encoder, BROKEN: broken, STRICT: _build_strict(directory / STRICT)}
    plugin = directory / PLUGIN
    plugin.mkdir()
    return {
        **{name: {"source": str(path)} for name, path in sources.items()},
        PLUGIN: {"source": str(plugin), "backend": faults.BACKEND},
    }


def _with_pooling(encoder: Path) -> Path:
    """Make a bi-encoder of an encoder, with the files that sentence-transformers would write."""
    pooling = encoder / "1_Pooling"
    pooling.mkdir()
    modules = [
        {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
        {"idx": 1, "name": "1", "path": pooling.name, "type": "sentence_transformers.models.Pooling"},
    ]
    (encoder / "modules.json").write_text(json.dumps(modules))
    (pooling / "config.json").write_text(json.dumps({"pooling_mode_mean_tokens": True}))
    return encoder


def _build_strict(directory: Path) -> Path:
    """Save a BERT whose tokenizer raises at characters that it does not know."""
    pieces = [*_SPECIAL, *_STRICT_CHARACTERS, *("##" + character for character in _STRICT_CHARACTERS)]
    vocabulary = {token: number for number, token in enumerate(pieces)}
    tokenizer = Tokenizer(models.WordPiece(vocabulary, max_input_chars_per_word=1000))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    special = {"pad_token": "[PAD]", "cls_token": "[CLS]", "sep_token": "[SEP]", "mask_token": "[MASK]"}
    family: Any = transformers.PreTrainedTokenizerFast
    family(tokenizer_object=tokenizer, model_max_length=tiny_models.MAX_LENGTH, **special).save_pretrained(
        directory
    )
    config = transformers.AutoConfig.for_model(
        "bert",
        vocab_size=len(vocabulary),
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        intermediate_size=64,
        initializer_range=0.2,
        max_position_embeddings=tiny_models.MAX_LENGTH,
        num_labels=1,
    )
    network: Any = transformers.AutoModelForSequenceClassification
    network.from_config(config).save_pretrained(directory)
    return directory


async def _table(known: Mapping[str, ModelSettings], texts: Sequence[str]) -> Table:
    """Score each text alone, in an engine that remembers nothing."""
    table: dict[tuple[str, str, str], float] = {}
    async with running(known, EngineSettings(device="cpu", cache_bytes=0, offline=True)) as engine:
        for name in known:
            if name in (PLUGIN, BROKEN):
                continue
            for query in QUERIES:
                for text in texts:
                    (table[name, query, text],) = (await engine.scores(name, query, [text])).values
    for query in QUERIES:
        table |= {(PLUGIN, query, text): faults.score(query, text) for text in texts}
    return table


@asynccontextmanager
async def running(models: Mapping[str, ModelSettings], settings: EngineSettings) -> AsyncIterator[Engine]:
    """Run an engine."""
    engine = Engine(models, settings)
    await engine.start()
    try:
        yield engine
    finally:
        await engine.close()
