"""Complete models in seconds: real classes of transformers with real fast tokenizers, tiny and random.

Each is saved as a trained one would be, so that the engine and sentence-transformers load the same files. The
weights are drawn wide, so that different texts get clearly different scores, and from a fixed seed.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

import msgspec
import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers

MAX_LENGTH: Final = 48
"""Tokens of one row: few, so that truncation is easy to reach."""

CORPUS: Final = (
    "The proxy forwards every request and reads the ones that ask for a new order.",
    "A model compares a query with each text and says how well they belong together.",
    "Rivers carry water from the mountains to the sea, and sometimes over their banks.",
    "She planted an apple tree, two plum trees and a row of beans behind the house.",
    "In 1956 a small group met for a summer and gave a new science its name.",
    "Wer nachts wach liegt, hört die Züge über die lange Brücke fahren.",
    "Le marché ouvre à sept heures; à midi il ne reste que des pommes.",
    "Numbers such as 7, 42 and 1024 are cut into pieces; so are unusual words.",
)

_CHARACTERS: Final = sorted({character for text in CORPUS for character in text.lower() if character != " "})

_SIZES: Final = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "initializer_range": 0.2,
}


def build(kind: str, directory: Path, labels: int = 1, max_length: int = MAX_LENGTH) -> Path:
    """Save a `…ForSequenceClassification` of the given kind with its tokenizer; see `KINDS`."""
    _save(kind, directory, "SequenceClassification", {"num_labels": labels}, max_length)
    return directory


def add_slow_tokenizer(directory: Path) -> None:
    """Save the vocabulary of a BERT or RoBERTa also in the files that tokenizers written in Python read."""
    state = msgspec.json.decode((directory / "tokenizer.json").read_bytes())["model"]
    if state["type"] == "WordPiece":
        tokens = sorted(state["vocab"], key=state["vocab"].get)
        (directory / "vocab.txt").write_text("".join(f"{token}\n" for token in tokens), encoding="utf-8")
        return
    (directory / "vocab.json").write_bytes(msgspec.json.encode(state["vocab"]))
    merges = ["#version: 0.2", *(" ".join(pair) for pair in state["merges"])]
    (directory / "merges.txt").write_text("\n".join(merges) + "\n", encoding="utf-8")


def build_encoder(kind: str, directory: Path) -> Path:
    """Build such a model without a head: a plain encoder."""
    _save(kind, directory, "", {})
    return directory


def build_masked(kind: str, directory: Path) -> Path:
    """Build a `…ForMaskedLM`, which has a logit for each token of the vocabulary."""
    _save(kind, directory, "MaskedLM", {})
    return directory


def _save(
    kind: str, directory: Path, task: str, extra: Mapping[str, Any], max_length: int = MAX_LENGTH
) -> None:
    tokenizer = _TOKENIZERS[KINDS.get(kind, "roberta")](kind)
    tokenizer.model_max_length = max_length
    own = dict(_OWN[kind])
    if "max_position_embeddings" in own:
        own["max_position_embeddings"] += max_length - MAX_LENGTH
    sizes = dict(_SIZES)
    if "hidden_dim" in own:  # DistilBERT's name for it
        del sizes["intermediate_size"]
    special = {
        name: getattr(tokenizer, name)
        for name in ("pad_token_id", "cls_token_id", "sep_token_id", "bos_token_id", "eos_token_id")
    }
    if kind in COUNTING:
        special["pad_index"] = special["pad_token_id"]
    family: Any = getattr(transformers, f"AutoModelFor{task}" if task else "AutoModel")
    config = transformers.AutoConfig.for_model(
        kind, vocab_size=len(tokenizer), **{**sizes, **special, **own, **extra}
    )
    torch.manual_seed(sum(map(ord, kind)))
    model = family.from_config(config)
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


_OF_BART: Final = {
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 64,
    "decoder_ffn_dim": 64,
    "max_position_embeddings": MAX_LENGTH,
    "decoder_start_token_id": 2,
    "init_std": 0.2,
}
_OF_T5: Final = {
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 64,
    "num_layers": 2,
    "num_heads": 4,
    "decoder_start_token_id": 1,
    "initializer_factor": 1.5,
}
_OF_XLM: Final = {"emb_dim": 32, "n_layers": 2, "n_heads": 4, "embed_init_std": 0.2, "init_std": 0.2}
_POSITIONS_FROM_2: Final = {"max_position_embeddings": MAX_LENGTH + 2, "type_vocab_size": 1}
_OWN: Final[Mapping[str, Mapping[str, Any]]] = {
    "bert": {"max_position_embeddings": MAX_LENGTH},
    "electra": {"max_position_embeddings": MAX_LENGTH, "embedding_size": 16},
    "roberta": _POSITIONS_FROM_2,
    "xlm-roberta": _POSITIONS_FROM_2,
    "mpnet": {"max_position_embeddings": MAX_LENGTH + 2},
    "deberta-v2": {
        "max_position_embeddings": MAX_LENGTH,
        "relative_attention": True,
        "position_buckets": 16,
        "norm_rel_ebd": "layer_norm",
        "share_att_key": True,
        "pos_att_type": ["p2c", "c2p"],
        "type_vocab_size": 0,
        "position_biased_input": False,
    },
    "modernbert": {
        "max_position_embeddings": MAX_LENGTH,
        "num_hidden_layers": 4,
        "local_attention": 8,
        "initializer_cutoff_factor": 3.0,
        "classifier_pooling": "mean",
    },
    "distilbert": {"hidden_dim": 64, "max_position_embeddings": MAX_LENGTH},
    "gte": {"max_position_embeddings": MAX_LENGTH, "type_vocab_size": 2},
    "nomic_bert": {"max_position_embeddings": MAX_LENGTH},
    **dict.fromkeys(("bart", "mbart", "mvp", "plbart"), _OF_BART),
    "bigbird_pegasus": {**_OF_BART, "attention_type": "original_full"},
    **dict.fromkeys(("t5", "mt5", "umt5"), _OF_T5),
    **dict.fromkeys(("xlm", "flaubert"), _OF_XLM),
    "xlnet": {"d_model": 32, "n_layer": 2, "n_head": 4, "d_inner": 64},
}


def _bert_tokenizer(kind: str) -> Any:
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    return transformers.BertTokenizer(vocab=_wordpiece(special, "[UNK]"), model_max_length=MAX_LENGTH)


def _mpnet_tokenizer(kind: str) -> Any:
    special = ["<s>", "<pad>", "</s>", "[UNK]", "<mask>"]
    return transformers.MPNetTokenizer(vocab=_wordpiece(special, "[UNK]"), model_max_length=MAX_LENGTH)


def _wordpiece(special: list[str], unknown: str) -> dict[str, int]:
    """Single characters, and the corpus' words of up to five: longer words fall to pieces."""
    words = [word.lower() for word in _words() if len(word) <= 5]
    pieces = [*_CHARACTERS, *("##" + character for character in _CHARACTERS), *words]
    return {token: number for number, token in enumerate(dict.fromkeys([*special, *pieces]))}


def _roberta_tokenizer(kind: str) -> Any:
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    vocabulary, merges = _byte_pairs(special)
    family: Any = transformers.RobertaTokenizer
    return family(vocab=vocabulary, merges=merges, model_max_length=MAX_LENGTH)


def _byte_pairs(special: list[str]) -> tuple[dict[str, int], list[tuple[str, str]]]:
    trained = Tokenizer(models.BPE())
    trained.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trained.train_from_iterator(
        CORPUS, trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet)
    )
    state = msgspec.json.decode(trained.to_str())["model"]
    return state["vocab"], [tuple(merge) for merge in state["merges"]]


def _modernbert_tokenizer(kind: str) -> Any:
    """Published ModernBERT tokenizers have no class of their own."""
    special = ["[UNK]", "[CLS]", "[SEP]", "[PAD]", "[MASK]"]
    vocabulary, merges = _byte_pairs(special)
    tokenizer = Tokenizer(models.BPE(vocabulary, merges))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS]:0 $A:0 [SEP]:0",
        pair="[CLS]:0 $A:0 [SEP]:0 $B:0 [SEP]:0",
        special_tokens=[("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])],
    )
    family: Any = transformers.PreTrainedTokenizerFast
    return family(
        tokenizer_object=tokenizer,
        unk_token="[UNK]",
        cls_token="[CLS]",
        sep_token="[SEP]",
        pad_token="[PAD]",
        mask_token="[MASK]",
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=MAX_LENGTH,
    )


def _xlm_roberta_tokenizer(kind: str) -> Any:
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    return transformers.XLMRobertaTokenizer(vocab=_unigram(special, "<unk>"), model_max_length=MAX_LENGTH)


def _deberta_tokenizer(kind: str) -> Any:
    special = ["[PAD]", "[CLS]", "[SEP]", "[UNK]", "[MASK]"]
    return transformers.DebertaV2Tokenizer(vocab=_unigram(special, "[UNK]"), model_max_length=MAX_LENGTH)


def _unigram(special: list[str], unknown: str) -> list[tuple[str, float]]:
    """Words, word beginnings and single characters, the longer the likelier per character."""
    words = ["▁" + word for word in _words()]
    pieces = dict.fromkeys(["▁", *_CHARACTERS, *(word[:4] for word in words), *words])
    return [(token, 0.0) for token in special] + [(piece, -2.0 - 3 / len(piece)) for piece in pieces]


def _words() -> list[str]:
    return re.findall(r"\w+", " ".join(CORPUS))


_TOKENIZERS: Final[Mapping[str, Callable[[str], Any]]] = {
    "bert": _bert_tokenizer,
    "mpnet": _mpnet_tokenizer,
    "roberta": _roberta_tokenizer,
    "xlm-roberta": _xlm_roberta_tokenizer,
    "deberta-v2": _deberta_tokenizer,
    "modernbert": _modernbert_tokenizer,
}

KINDS: Final[Mapping[str, str]] = {
    "bert": "bert",
    "roberta": "roberta",
    "xlm-roberta": "xlm-roberta",
    "deberta-v2": "deberta-v2",
    "electra": "bert",
    "mpnet": "mpnet",
    "modernbert": "modernbert",
    "distilbert": "bert",
    "gte": "bert",
    "nomic_bert": "bert",
}
"""The `model_type` of each kind, and whose tokenizer it has."""

COUNTING: Final = (
    *("bart", "bigbird_pegasus", "mbart", "mvp", "plbart"),
    *("t5", "mt5", "umt5"),
    *("xlm", "flaubert"),
    "xlnet",
)
"""Kinds whose classifiers look for special tokens, or for the end of a row, to read their output there."""
