"""The models of a soak run: one of each kind that is loaded, queued or scored in a way of its own."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

from tests.support import packages, tiny_generating, tiny_late, tiny_models

STRICT: Final = "strict"
NO_TOKEN: Final = "ᚠᚢᚦ"
"""A text that the tokenizer of `strict` has no tokens for."""

BROKEN: Final = "broken"
"""A model whose file of weights is cut short."""

_STRICT_CHARACTERS: Final = sorted({*map(chr, range(33, 127)), *"äöüïéèçñßàâêôû—…北京東🙂"})
_SPECIAL: Final = ("[PAD]", "[CLS]", "[SEP]", "[MASK]")
_GENERATING_LENGTH: Final = 192
"""Tokens of a row of the generating model, most of which are its template's."""


def build_all(directory: Path) -> Mapping[str, Mapping[str, Any]]:
    """Make the models that stay, and return their settings by name."""
    kinds = ("bert", "deberta-v2", "xlm-roberta")
    sources = {kind: tiny_models.build(kind, directory / kind) for kind in kinds}
    encoder = _with_pooling(tiny_models.build_encoder("mpnet", directory / "bi-encoder"))
    late = tiny_late.made_by_colbert(directory / "late", "bert", tiny_late.OF_COLBERT)
    generating = tiny_generating.build(
        "qwen3", "CausalLM", directory / "generating", tiny_generating.PAIR_TEMPLATE
    )
    package = directory / "package"
    package.mkdir()
    packages.build("bert", sources["bert"], package)
    broken = tiny_models.build("bert", directory / BROKEN)
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    sources |= {"bi-encoder": encoder, "late": late, "package": package, BROKEN: broken}
    return {
        **{name: {"source": str(path)} for name, path in sources.items()},
        STRICT: {"source": str(_build_strict(directory / STRICT))},
        "windows": {"source": str(sources["bert"]), "windows": "max"},
        "generating": {"source": str(generating), "max_length": _GENERATING_LENGTH},
    }


def build_guests(directory: Path) -> Mapping[str, Mapping[str, Any]]:
    """Make what a model that comes and goes may be, and return its settings by name."""
    kinds = ("distilbert", "electra")
    return {kind: {"source": str(tiny_models.build(kind, directory / kind))} for kind in kinds}


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
