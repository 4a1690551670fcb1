"""Generating rerankers in seconds: tiny random language models, saved as published ones are.

Their tokenizers cut texts as those of the families do, have the marks of their chat templates, and the words
that are asked for as single tokens. The sizes are those of `tiny_models`.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

import torch
import transformers
from tokenizers import AddedToken, Regex, Tokenizer, models, normalizers, pre_tokenizers, trainers

from tests.support.tiny_models import CORPUS

Task = Literal["CausalLM", "SequenceClassification"]

MAX_LENGTH: Final = 512
"""Tokens of one row: the longest of the published templates alone has some 300."""

WORDS: Final = ("yes", "no", "Yes", "No", "1", "0")
"""Words that are one token."""

_SIZES: Final = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "intermediate_size": 64,
    "initializer_range": 0.2,
    "max_position_embeddings": MAX_LENGTH,
}
KINDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "qwen2": {},
    "qwen3": {"tie_word_embeddings": True},
    "llama": {"attention_bias": True},
    "gemma": {"tie_word_embeddings": True},
    "gemma2": {"query_pre_attn_scalar": 8, "sliding_window": 24, "final_logit_softcapping": 5.0},
}
"""The `model_type` of each kind, and what is its own."""

_SPLIT: Final = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
    r"|\s+(?!\S)|\s+"
)
"""How tokenizers of Qwen find words."""

PAIR_TEMPLATE: Final = (
    "{%- set ns = namespace(system='Given a web search query, find passages', query='', document='') -%}"
    "{%- for message in messages -%}"
    "{%- if message.role == 'system' -%}{%- set ns.system = message.content -%}"
    "{%- elif message.role == 'query' -%}{%- set ns.query = message.content -%}"
    "{%- elif message.role == 'document' -%}{%- set ns.document = message.content -%}"
    "{%- endif -%}{%- endfor -%}"
    "<|im_start|>system\nAnswer yes or no.<|im_end|>\n<|im_start|>user\n<Instruct>: {{ ns.system }}\n"
    "<Query>: {{ ns.query }}\n<Document>: {{ ns.document }}<|im_end|>\n<|im_start|>assistant\n"
)
"""A chat template of the roles of a pair, as converted rerankers have it."""

CHAT_TEMPLATE: Final = (
    "{%- for message in messages -%}{%- if message.role in ['system', 'user', 'assistant'] -%}"
    "<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{%- endif -%}{%- endfor -%}"
)
"""One for conversations, as the models have it from which rerankers are made."""


def build(kind: str, task: Task, directory: Path, template: str | None = None) -> Path:
    """Save a model with its tokenizer, as on the hub.

    Args:
        template: The chat template of the tokenizer.
    """
    tokenizer = _gemma_tokenizer() if kind.startswith("gemma") else _qwen_tokenizer()
    if template is not None:
        tokenizer.chat_template = template
    own: dict[str, Any] = {"num_labels": 1} if task == "SequenceClassification" else {}
    config = transformers.AutoConfig.for_model(
        kind,
        vocab_size=len(tokenizer),
        pad_token_id=tokenizer.pad_token_id,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        **{**_SIZES, **KINDS[kind], **own},
    )
    torch.manual_seed(sum(map(ord, kind)))
    family: Any = getattr(transformers, f"AutoModelFor{task}")
    family.from_config(config).save_pretrained(directory)
    tokenizer.save_pretrained(directory)
    return directory


def save_modules(directory: Path, decision: Mapping[str, Any], **transformer: Any) -> Path:
    """Add the files of sentence-transformers 6 for a model that generates.

    Args:
        decision: The config of its LogitScore.
        transformer: More of the config of its Transformer.
    """
    text = {"method": "forward", "method_output_name": "logits"}
    files: dict[str, Any] = {
        "modules.json": [
            {
                "idx": 0,
                "name": "0",
                "path": "",
                "type": "sentence_transformers.base.modules.transformer.Transformer",
            },
            {
                "idx": 1,
                "name": "1",
                "path": "1_LogitScore",
                "type": "sentence_transformers.cross_encoder.modules.logit_score.LogitScore",
            },
        ],
        "config_sentence_transformers.json": {
            "model_type": "CrossEncoder",
            "activation_fn": "torch.nn.modules.activation.Sigmoid",
        },
        "sentence_bert_config.json": {
            "transformer_task": "text-generation",
            "modality_config": {"text": text},
            "module_output_name": "causal_logits",
            **transformer,
        },
        "1_LogitScore/config.json": {"module_input_name": "causal_logits", **decision},
    }
    for name, content in files.items():
        path = directory / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(content))
    return directory


def _qwen_tokenizer() -> Any:
    trained = Tokenizer(models.BPE())
    trained.normalizer = normalizers.NFC()
    trained.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    trained.decoder = None
    trained.train_from_iterator(
        [*CORPUS, *[" ".join(WORDS), "\n".join(WORDS)] * 50],
        trainers.BpeTrainer(vocab_size=500, initial_alphabet=pre_tokenizers.ByteLevel.alphabet()),
    )
    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    trained.add_special_tokens([AddedToken(mark, special=True) for mark in marks])
    trained.add_tokens([AddedToken(mark, normalized=False) for mark in ("<think>", "</think>")])
    family: Any = transformers.PreTrainedTokenizerFast
    return family(
        tokenizer_object=trained,
        pad_token="<|endoftext|>",
        eos_token="<|im_end|>",
        padding_side="left",
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=MAX_LENGTH,
    )


def _gemma_tokenizer() -> Any:
    trained = Tokenizer(models.BPE(unk_token="<unk>", byte_fallback=True, fuse_unk=True))
    trained.normalizer = normalizers.Replace(" ", "▁")
    trained.pre_tokenizer = pre_tokenizers.Split(" ", "merged_with_previous")
    marks = ["<pad>", "<eos>", "<bos>", "<unk>", "<|im_start|>", "<|im_end|>"]
    trained.train_from_iterator(
        [*CORPUS, *[each for word in WORDS for each in (word, "▁" + word)] * 50],
        trainers.BpeTrainer(vocab_size=500, special_tokens=marks, initial_alphabet=["▁", "\n"]),
    )
    family: Any = transformers.PreTrainedTokenizerFast
    return family(
        tokenizer_object=trained,
        pad_token="<pad>",
        eos_token="<eos>",
        bos_token="<bos>",
        unk_token="<unk>",
        padding_side="left",
        model_input_names=["input_ids", "attention_mask"],
        model_max_length=MAX_LENGTH,
    )
