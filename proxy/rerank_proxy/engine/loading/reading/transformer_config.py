"""Read what `sentence_bert_config.json` and its like say: how a Transformer module reads texts."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

import msgspec

from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.reading.chat_template import Messages
from rerank_proxy.engine.loading.reading.checkpoint_files import (
    NEWER,
    TRANSFORMER_CONFIGS,
    check_arguments,
    check_keys,
)
from rerank_proxy.engine.loading.reading.directory_check import read_json

Task = Literal["feature-extraction", "sequence-classification", "text-generation", "fill-mask"]

_OUTPUTS: Final[Mapping[str, tuple[str, str]]] = {
    "feature-extraction": ("last_hidden_state", "token_embeddings"),
    "sequence-classification": ("logits", "scores"),
    "text-generation": ("logits", "causal_logits"),
    "fill-mask": ("logits", "token_embeddings"),
}
"""By task: what of the model's output is read, and the name that sentence-transformers gives it."""

_NO_EFFECT: Final = {
    "padding",
    "padding_side",
    "pad_to_multiple_of",
    "return_tensors",
    "return_attention_mask",
    "logits_to_keep",
    "truncation",
}
"""Options of tokenisation that change no score, or only how texts that are too long are cut."""

_OF_CALLS: Final = {
    "conversation",
    "messages",
    "tokenize",
    "return_dict",
    "tokenizer_kwargs",
    "processor_kwargs",
}
_SIZES: Final = {"padding", "truncation", "max_length", "return_tensors"}


class _Modality(msgspec.Struct):
    method: str | None = None
    method_output_name: Any = None
    format: str | None = None


class _Content(msgspec.Struct):
    """The file, as far as it matters here. What is refused unless it is absent is checked by hand."""

    transformer_task: str | None = None
    modality_config: dict[str, _Modality] | None = None
    module_output_name: str | None = None
    processing_kwargs: dict[str, dict[str, Any]] | None = None
    max_seq_length: int | None = None
    do_lower_case: bool | None = None
    tokenizer_name_or_path: str | None = None
    query_length: int | None = None
    document_length: int | None = None
    query_expansion: Any = None
    tokenizer_args: dict[str, Any] | None = None
    processor_kwargs: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class TransformerConfig:
    """What the file says; without one, what sentence-transformers assumes."""

    path: Path | None = None
    task: str = "feature-extraction"
    messages: Messages | None = None
    """How the chat template is used; None: texts are read as they are."""
    max_length: int | None = None
    do_lower_case: bool = False
    cuts_by_role: bool = False
    """It cuts or fills queries otherwise than texts, which only bi-encoders do."""


def read(directory: Path, task: str = "feature-extraction") -> TransformerConfig:
    """Read the first file that says anything.

    Args:
        task: What the transformer is for, unless the file says it.

    Raises:
        ModelLoadError: It says something that is not understood.
    """
    for name in TRANSFORMER_CONFIGS:
        path = directory / name
        raw = read_json(path, dict[str, Any])
        if raw:
            check_keys(path, name, raw)
            check_arguments(path, raw)
            content = read_json(path, _Content)
            assert content is not None
            return _config(path, content, content.transformer_task or task)
    return TransformerConfig(task=task)


def _config(path: Path, content: _Content, task: str) -> TransformerConfig:
    if task not in _OUTPUTS:
        known = ", ".join(_OUTPUTS)
        raise ModelLoadError(f"[{path}] says [transformer_task] [{task}]; supported are {known}")
    if content.tokenizer_name_or_path is not None:
        raise ModelLoadError(f"[{path}] names a tokenizer from elsewhere; save it beside the model")
    _check_modalities(path, content, task)
    options = content.processing_kwargs or {}
    limits = [_limit(path, options.get(bucket) or {}) for bucket in ("common", "text")]
    message = (content.modality_config or {}).get("message")
    chat, chat_limit = _chat_options(path, options.get("chat_template") or {})
    arguments = {**(content.tokenizer_args or {}), **(content.processor_kwargs or {})}
    declared = arguments.get("model_max_length", content.max_seq_length)
    numbers = [limit for limit in (declared, *limits, chat_limit) if isinstance(limit, int)]
    by_role = (content.query_length, content.document_length, content.query_expansion)
    return TransformerConfig(
        path,
        task,
        None if message is None else Messages(_format(path, message), chat),
        min(numbers, default=None),
        bool(content.do_lower_case),
        any(each is not None for each in by_role),
    )


def _check_modalities(path: Path, content: _Content, task: str) -> None:
    """Refuse a model that reads texts by another method than all others, or another of its outputs."""
    modalities = content.modality_config or {}
    output, name = _OUTPUTS[task]
    if content.module_output_name not in (None, name):
        raise ModelLoadError(
            f"[{path}] says [module_output_name] [{content.module_output_name}], which is not supported; "
            f"it is [{name}] for [{task}]"
        )
    used = modalities.get("message") or modalities.get("text")
    if modalities and used is None:
        raise ModelLoadError(f"[{path}]: its [modality_config] does not read text; give a model that does")
    if used is not None and (used.method != "forward" or used.method_output_name not in (output, [output])):
        raise ModelLoadError(
            f"[{path}]: its [modality_config] does not read text by [forward] to [{output}], which is not "
            "supported; give a model that does"
        )


def _format(path: Path, message: _Modality) -> Literal["structured", "flat"] | None:
    match message.format:
        case None | "auto":
            return None
        case "structured":
            return "structured"
        case "flat":
            return "flat"
    raise ModelLoadError(f"[{path}]: its messages have the format [{message.format}]; {NEWER}")


def _limit(path: Path, options: Mapping[str, Any]) -> int | None:
    for key in options:
        if key not in _NO_EFFECT and key != "max_length":
            raise ModelLoadError(
                f"[{path}] says [processing_kwargs] [{key}], which is not supported; {NEWER}"
            )
    limit = options.get("max_length")
    return limit if isinstance(limit, int) else None


def _chat_options(path: Path, options: Mapping[str, Any]) -> tuple[dict[str, Any], int | None]:
    """Return what the chat template is given, and a limit of tokens that stands among it."""
    for key in options:
        if key in _OF_CALLS:
            raise ModelLoadError(f"[{path}] says [chat_template] [{key}], which is not supported; {NEWER}")
    given = {key: value for key, value in options.items() if key not in _SIZES | {"restore_suffix"}}
    limit = options.get("max_length")
    return given, limit if isinstance(limit, int) else None
