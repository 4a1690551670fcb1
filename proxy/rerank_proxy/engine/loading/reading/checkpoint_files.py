"""Every file of a checkpoint that sentence-transformers 6 or transformers 5 reads for a reranker: one table.

docs/models.md has the same table. `check_keys` refuses what a file says beyond the keys of its row.
"""

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from rerank_proxy.engine.errors import ModelLoadError

Treatment = Literal["read", "strict", "refused", "ignored"]


@dataclass(frozen=True, slots=True)
class CheckpointFile:
    """A file, or several that are treated alike."""

    names: tuple[str, ...]
    treatment: Treatment
    """`strict`: it is read, and a key or value that is not understood is refused."""
    what: str
    """What is read of it, or why it is not."""
    keys: Mapping[str, str] | None = None
    """What is understood in a strict file, and what becomes of it."""


TRANSFORMER_CONFIGS: Final = (
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
)
"""The first that says anything counts."""

_TRANSFORMER_KEYS: Final = {
    "transformer_task": "read",
    "modality_config": "read",
    "module_output_name": "read",
    "processing_kwargs": "read",
    "max_seq_length": "read",
    "do_lower_case": "read",
    "unpad_inputs": "ignored: scores do not depend on padding",
    "query_length": "read for late interaction; refused for bi-encoders, whose queries it cuts; not used by "
    "cross-encoders",
    "document_length": "as query_length",
    "query_expansion": "as query_length",
    "tokenizer_name_or_path": "refused unless null",
    **dict.fromkeys(
        ("model_args", "model_kwargs", "tokenizer_args", "processor_kwargs", "config_args", "config_kwargs"),
        "refused where they change the output",
    ),
}

_MODULE_KEYS: Final[Mapping[str, Mapping[str, str]]] = {
    "Pooling": {
        "embedding_dimension": "ignored: the weights say it",
        "word_embedding_dimension": "ignored: the weights say it",
        "pooling_mode": "read",
        "pooling_mode_cls_token": "read",
        "pooling_mode_max_tokens": "read",
        "pooling_mode_mean_tokens": "read",
        "pooling_mode_mean_sqrt_len_tokens": "read",
        "pooling_mode_weightedmean_tokens": "read",
        "pooling_mode_lasttoken": "read",
        "include_prompt": "refused unless true",
    },
    "Dense": {
        "in_features": "read",
        "out_features": "read",
        "bias": "read",
        "activation_function": "read",
        "use_residual": "read",
        "module_input_name": "refused unless it is the pooled embedding, or for late interaction those of "
        "the tokens",
        "module_output_name": "refused unless it is the embedding or the scores, or for late interaction "
        "the vectors of the tokens",
    },
    "LayerNorm": {"dimension": "read"},
    "Normalize": {
        "module_input_name": "as for Dense",
        "module_output_name": "as for Dense",
    },
    "Dropout": {"dropout": "ignored: only in training"},
    "MultiVectorMask": {
        "skiplist_words": "read",
        "skiplist_tasks": "read",
        "keep_only_token_ids": "refused unless null",
    },
    "LogitScore": {
        "true_token_id": "read",
        "false_token_id": "read",
        "module_input_name": "refused unless it is what the transformer gives",
    },
    "SpladePooling": {
        "pooling_strategy": "read",
        "activation_function": "read",
        "embedding_dimension": "ignored: the weights say it",
        "word_embedding_dimension": "ignored: the weights say it",
        "chunk_size": "ignored: it changes no weight",
    },
    "SparseStaticEmbedding": {
        "frozen": "ignored: only in training",
        "path": "refused unless null",
    },
}

FILES: Final = (
    CheckpointFile(
        ("modules.json",),
        "strict",
        "which modules there are: Transformer (or "
        "MLMTransformer, with SpladePooling), and those below behind it",
    ),
    CheckpointFile(
        ("config_sentence_transformers.json",),
        "read",
        "`model_type`, `prompts`, `default_prompt_name`, `similarity_fn_name`, `truncate_dim`, "
        "`max_active_dims`; an "
        "`activation_fn` other than the sigmoid or none is refused unless the model's `activation` is set, "
        "and so are `requirements` that are not met. `keep_in_fp32_modules` is ignored (the head always runs "
        "in float32), as are keys that sentence-transformers does not know, either",
    ),
    CheckpointFile(
        TRANSFORMER_CONFIGS,
        "strict",
        "the task, how texts are read (plain or by the chat template), options of that, the limit of tokens",
        _TRANSFORMER_KEYS,
    ),
    *(
        CheckpointFile(
            (f"N_{module}/config.json",),
            "strict",
            f"the options of the module {module}",
            keys,
        )
        for module, keys in _MODULE_KEYS.items()
    ),
    CheckpointFile(
        (
            "N_Dense/model.safetensors",
            "N_Dense/pytorch_model.bin",
            "N_LayerNorm/model.safetensors",
            "N_SparseStaticEmbedding/model.safetensors",
        ),
        "read",
        "the weights of a module",
    ),
    CheckpointFile(
        ("config.json",),
        "read",
        "all of it, by transformers; `sentence_transformers.activation_fn` and "
        "`sbert_ce_default_activation_function` as `activation_fn` above. Code (`auto_map`) is refused "
        "unless the model's `trust_remote_code` is set",
    ),
    CheckpointFile(
        ("model.safetensors", "model-*.safetensors", "model.safetensors.index.json"),
        "read",
        "the weights; missing ones and ones of another size are refused",
    ),
    CheckpointFile(
        ("pytorch_model.bin", "pytorch_model-*.bin", "pytorch_model.bin.index.json"),
        "read",
        "the weights where there is no safetensors file; without running the code that a pickle may hold",
    ),
    CheckpointFile(
        ("onnx/model.onnx", "model.onnx", "model.onnx_data"),
        "read",
        "the network, with the backend `onnx`; one that asks for libraries of operations is refused, and so "
        "are files that it names elsewhere. Other files of `onnx` and `openvino` are ignored",
    ),
    CheckpointFile(
        ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
        "read",
        "the tokenizer, by transformers",
    ),
    CheckpointFile(
        (
            "vocab.txt",
            "vocab.json",
            "merges.txt",
            "spiece.model",
            "sentencepiece.bpe.model",
            "tokenizer.model",
        ),
        "read",
        "the vocabulary where there is no tokenizer.json, by transformers",
    ),
    CheckpointFile(
        ("chat_template.jinja", "chat_template.json", "additional_chat_templates/*.jinja"),
        "read",
        "how a pair is formatted, where the model reads messages; a template that does not carry query and "
        "document as they are is refused",
    ),
    CheckpointFile(
        ("artifact.metadata",),
        "read",
        "ColBERT's own settings: marker tokens, lengths, whether masks are attended to and punctuation is "
        "left out",
    ),
    CheckpointFile(
        ("*.py",), "refused", "code of the model's own; read where the model's `trust_remote_code` is set"
    ),
    CheckpointFile(
        ("adapter_config.json", "adapter_model.safetensors", "adapter_model.bin"),
        "refused",
        "an adapter, which has to be merged into the model",
    ),
    CheckpointFile(
        ("router_config.json",),
        "strict",
        "which modules encode queries and which texts (Router, Asym): SparseStaticEmbedding, and a "
        "transformer with SpladePooling; all others are refused",
        {
            "types": "read",
            "structure": "read",
            "parameters": "refused where they change the route of a query or text",
        },
    ),
    CheckpointFile(("generation_config.json",), "ignored", "how to sample text, which no reranker does"),
    CheckpointFile(
        ("preprocessor_config.json", "processor_config.json", "video_preprocessor_config.json"),
        "ignored",
        "how to read pictures and sound",
    ),
    CheckpointFile(("README.md",), "ignored", "sentence-transformers reads it for its own model card"),
)

_HARMLESS: Final[Mapping[str, Set[str]]] = {
    "model": {
        "torch_dtype",
        "dtype",
        "attn_implementation",
        "device_map",
        "low_cpu_mem_usage",
        "add_pooling_layer",
    },
    "tokenizer": {"model_max_length", "padding_side", "use_fast"},
    "config": {"use_cache", "attn_implementation"},
}
"""Of the arguments for transformers: what changes no score, or is applied here."""

_LOCATION: Final = {"trust_remote_code", "revision", "token", "cache_dir", "local_files_only", "subfolder"}
"""sentence-transformers overrides them when it loads a model."""


def check_keys(path: Path, row: str, content: Mapping[str, Any]) -> None:
    """Refuse keys of a strict file that are not in its row.

    Args:
        row: A name in the row.

    Raises:
        ModelLoadError: There is such a key.
    """
    known = next(file.keys for file in FILES if row in file.names) or {}
    for key in content:
        if key not in known:
            raise ModelLoadError(f"[{path}] says [{key}], which is not understood; {NEWER}")


def check_names(path: Path, content: Mapping[str, Any]) -> None:
    """Refuse a module behind a Pooling that takes or gives something else than embeddings or scores.

    Raises:
        ModelLoadError: It does.
    """
    for key, known in (
        ("module_input_name", ("sentence_embedding",)),
        ("module_output_name", ("sentence_embedding", "scores")),
    ):
        if content.get(key) not in (None, *known):
            raise ModelLoadError(
                f"[{path}] says [{key}] [{content[key]}], which is not supported; known: {', '.join(known)}"
            )


def check_arguments(path: Path, content: Mapping[str, Any]) -> None:
    """Refuse arguments for transformers in a Transformer's config that would change the output.

    Raises:
        ModelLoadError: There are such.
    """
    for name, key in _arguments(content):
        raise ModelLoadError(f"[{path}] says [{name}.{key}], which is not supported; {NEWER}")


def _arguments(content: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    for name, value in content.items():
        kind = {"processor": "tokenizer"}.get(name.partition("_")[0], name.partition("_")[0])
        if name.endswith(("_args", "_kwargs")) and kind in _HARMLESS and isinstance(value, dict):
            yield from ((name, key) for key in value if key not in _HARMLESS[kind] | _LOCATION)


NEWER: Final = "it may be of a newer sentence-transformers: give a model of version 6 or older"
