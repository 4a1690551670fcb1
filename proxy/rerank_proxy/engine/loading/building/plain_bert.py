"""Load an ordinary BERT without transformers, whose import takes longer than all else until the first score.

Ordinary is a checkpoint whose files say nothing but what is known here, so that the outcome is that of
transformers. For every other one, whether unusual or damaged, there is `checkpoint.py`, which knows more and
says what is wrong. Imports torch.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Final

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from rerank_proxy.engine.backends.bert import (
    ACTIVATIONS,
    BertConfig,
    BertForSequenceClassification,
    BertModel,
)
from rerank_proxy.engine.encoding.encode import derive_pair, derive_single
from rerank_proxy.engine.encoding.tokenizer import Tokenizer
from rerank_proxy.engine.loading.reading.directory_check import read_json
from rerank_proxy.engine.loading.reading.profile import Profile
from rerank_proxy.engine.loading.tokenizers.plain_tokenizer import read_bert_tokenizer

PlainBert = BertModel | BertForSequenceClassification

_ONE_FILE: Final = "model.safetensors"

_FIXED: Final[Mapping[str, Any]] = {
    "model_type": "bert",
    "position_embedding_type": "absolute",
    "is_decoder": False,
    "is_encoder_decoder": False,
    "add_cross_attention": False,
    "chunk_size_feed_forward": 0,
    "output_attentions": False,
    "output_hidden_states": False,
    "pruned_heads": {},
    "return_dict": True,
    "torchscript": False,
}
"""What config.json may say in one way only."""

_WITHOUT_EFFECT: Final = frozenset(
    {
        "_name_or_path",
        "architectures",
        "attention_probs_dropout_prob",
        "bos_token_id",
        "classifier_dropout",
        "cls_token_id",
        "directionality",
        "dtype",
        "eos_token_id",
        "finetuning_task",
        "gradient_checkpointing",
        "hidden_dropout_prob",
        "id2label",
        "initializer_range",
        "label2id",
        "pooler_fc_size",
        "pooler_num_attention_heads",
        "pooler_num_fc_layers",
        "pooler_size_per_head",
        "pooler_type",
        "problem_type",
        "sep_token_id",
        "sentence_transformers",
        "tie_word_embeddings",
        "torch_dtype",
        "transformers_version",
        "use_cache",
    }
)
"""What config.json may say in any way, as it does not affect the output of an encoder with one label."""

_TYPES: Final = ("F32", "F16", "BF16")

_NOT_USED: Final = (
    "cls.",
    "bert.pooler.",
    "pooler.",
    "embeddings.position_ids",
    "bert.embeddings.position_ids",
)
"""How the names of weights begin that only pre-training and older versions use."""


def load(profile: Profile) -> tuple[PlainBert, Tokenizer] | None:
    """Load an ordinary BERT in float32, in evaluation mode, with its tokenizer; return None for all others.

    Raises:
        ModelLoadError: A file cannot be read.
    """
    config = _config(profile)
    formatted = profile.messages is not None or profile.template is not None
    if config is None or profile.do_lower_case or formatted:
        return None
    backend = read_bert_tokenizer(profile.directory, config.pad_token_id)
    if backend is None or len(backend) > config.vocab_size:
        return None
    model = _model(profile, config)
    if model is None:
        return None
    tokenizer = Tokenizer(backend)
    template = derive_single(tokenizer) if profile.head else derive_pair(tokenizer)
    return None if template is None else (model, tokenizer)


def _config(profile: Profile) -> BertConfig | None:
    """Return the config if it says nothing that is not known here."""
    wanted = "BertModel" if profile.head else "BertForSequenceClassification"
    if profile.architecture != wanted:
        return None
    said = read_json(profile.directory / "config.json", dict[str, Any]) or {}
    if any(key in said and said[key] != value for key, value in _FIXED.items()):
        return None
    if not profile.head and not (isinstance(said.get("id2label"), dict) and len(said["id2label"]) == 1):
        return None
    if not said.keys() <= {*BertConfig.__struct_fields__, *_FIXED, *_WITHOUT_EFFECT}:
        return None
    try:
        config = msgspec.convert(said, BertConfig)
    except msgspec.ValidationError:
        return None
    usual = config.hidden_act in ACTIVATIONS and config.hidden_size % config.num_attention_heads == 0
    return config if usual and config.pad_token_id < config.vocab_size else None


def _model(profile: Profile, config: BertConfig) -> PlainBert | None:
    """Return the model with its weights, if the file has all of them, in the sizes of the config."""
    path = profile.directory / _ONE_FILE
    if not path.is_file():
        return None
    try:
        with safe_open(path, framework="pt") as file:
            stored: list[str] = file.keys()
            names = _without_prefix(stored) if profile.head else {name: name for name in stored}
            if config.num_hidden_layers > len(names):
                return None
            with torch.device("meta"):  # where nothing takes memory
                model = BertModel(config) if profile.head else BertForSequenceClassification(config)
            weights = _weights(file, names, model.state_dict())
    except SafetensorError:
        return None
    if weights is None:
        return None
    model.load_state_dict(weights, assign=True)
    return model.eval()


def _without_prefix(names: Iterable[str]) -> dict[str, str]:
    """Return the names in the file by those of `BertModel`. Files of pre-training have a prefix."""
    return {name.removeprefix("bert."): name for name in names}


def _weights(file: Any, names: Mapping[str, str], wanted: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """Return the weights in float32, if all are there in their sizes, and no others that might be meant."""
    if not wanted.keys() <= names.keys():
        return None
    if not all(name.startswith(_NOT_USED) for name in names.keys() - wanted.keys()):
        return None
    slices = {name: file.get_slice(names[name]) for name in wanted}
    if any(slices[name].get_shape() != list(wanted[name].shape) for name in wanted):
        return None
    if any(each.get_dtype() not in _TYPES for each in slices.values()):
        return None
    # Copied out of the file's mapping: a file that is replaced in place must not change a model that serves.
    return {name: file.get_tensor(names[name]).to(torch.float32, copy=True) for name in wanted}
