"""What a model directory says about itself, read from its JSON files alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import msgspec

from .errors import ModelLoadError

_T = TypeVar("_T")
_Object = dict[str, Any]

Kind = Literal["cross-encoder", "bi-encoder"]

HEAD_MODULES: Final = ("Pooling", "Dense", "LayerNorm", "Normalize", "Dropout")
"""Modules of sentence-transformers that may follow its Transformer."""

_TRANSFORMER_CONFIGS: Final = (
    "sentence_bert_config.json",
    "sentence_roberta_config.json",
    "sentence_distilbert_config.json",
    "sentence_camembert_config.json",
    "sentence_albert_config.json",
    "sentence_xlm-roberta_config.json",
    "sentence_xlnet_config.json",
)


@dataclass(frozen=True, slots=True)
class HeadModule:
    """A module behind the transformer: its class name in sentence-transformers, its files, its config."""

    name: str
    directory: Path
    config: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Profile:
    """How to load a model and what its output is."""

    kind: Kind
    directory: Path
    """Of the transformer: config.json, weights and tokenizer."""
    architecture: str | None
    custom_code: bool = False
    """Whether config.json names Python code of the model's own."""
    head: tuple[HeadModule, ...] = ()
    """Empty for a model whose own head gives the logit."""
    max_length: int | None = None
    do_lower_case: bool = False
    query_prompt: str = ""
    text_prompt: str = ""


class _Module(msgspec.Struct):
    """An entry of modules.json."""

    type: str
    path: str


def read(directory: Path) -> Profile:
    """Raises:
    ModelLoadError: It is no model, or not one that can rerank.
    """
    modules = _read_json(directory / "modules.json", list[_Module])
    library = _read_json(directory / "config_sentence_transformers.json", _Object) or {}
    transformer, head = _split_modules(directory, modules) if modules else (directory, ())
    config = _read_json(transformer / "config.json", _Object)
    if config is None:
        raise ModelLoadError(f"[{transformer}] has no config.json: it is not the directory of a model")
    architecture = next(iter(config.get("architectures") or ()), None)
    own_head = architecture is not None and architecture.endswith("ForSequenceClassification")
    settings = _transformer_settings(transformer)
    kind = _kind(directory, architecture, own_head, head, library)
    query_prompt, text_prompt = _prompts(kind, library)
    return Profile(
        kind=kind,
        directory=transformer,
        architecture=architecture,
        custom_code="auto_map" in config,
        head=head,
        max_length=settings.get("max_seq_length"),
        do_lower_case=bool(settings.get("do_lower_case")),
        query_prompt=query_prompt,
        text_prompt=text_prompt,
    )


def _split_modules(directory: Path, modules: "list[_Module]") -> tuple[Path, tuple[HeadModule, ...]]:
    """The transformer's directory and the modules behind it."""
    listed = [(each.type.rsplit(".", 1)[-1], directory / each.path) for each in modules]
    (first, transformer), *rest = listed
    unknown = [name for name, _ in rest if name not in HEAD_MODULES]
    if first != "Transformer" or unknown:
        odd = first if first != "Transformer" else unknown[0]
        raise ModelLoadError(
            f"[{directory}]: its modules.json names [{odd}]; supported are Transformer followed by "
            f"{', '.join(HEAD_MODULES)}"
        )
    head = (HeadModule(name, path, _read_json(path / "config.json", _Object) or {}) for name, path in rest)
    return transformer, tuple(head)


def _kind(
    directory: Path,
    architecture: str | None,
    own_head: bool,
    head: tuple[HeadModule, ...],
    library: Mapping[str, Any],
) -> Kind:
    model_type = library.get("model_type", "SentenceTransformer")
    pools = any(module.name == "Pooling" for module in head)
    if head and model_type == "CrossEncoder" and pools:
        return "cross-encoder"
    if head and model_type == "SentenceTransformer" and pools:
        return "bi-encoder"
    if own_head and not head:
        return "cross-encoder"
    raise ModelLoadError(f"[{directory}] {_why_not(architecture, head, model_type)}")


def _why_not(architecture: str | None, head: tuple[HeadModule, ...], model_type: str) -> str:
    wanted = (
        "give a cross-encoder (…ForSequenceClassification with one label) or a sentence-transformers model"
    )
    if model_type not in ("CrossEncoder", "SentenceTransformer"):
        return f"is a {model_type} model, whose scores are not supported; {wanted}"
    if head:
        return f"has no Pooling in its modules.json; {wanted}"
    if architecture is None:
        return f"names no architecture in its config.json; {wanted}"
    if architecture.endswith(("ForCausalLM", "ForConditionalGeneration")):
        return f"is a generating model ({architecture}), which gives no relevance score; {wanted}"
    return f"is {architecture} without a scoring head and without modules.json; {wanted}"


def _prompts(kind: Kind, library: Mapping[str, Any]) -> tuple[str, str]:
    """What sentence-transformers puts before a query and a text when its caller asks for nothing.

    For bi-encoders as its `encode_query` and `encode_document` do, for cross-encoders as `predict`.
    """
    prompts = library.get("prompts") or {}
    default = prompts.get(library.get("default_prompt_name")) or ""
    if kind == "cross-encoder":
        return default, ""
    text = next((prompts[name] for name in ("document", "passage", "corpus") if name in prompts), default)
    return prompts.get("query", default) or "", text or ""


def _transformer_settings(directory: Path) -> Mapping[str, Any]:
    for name in _TRANSFORMER_CONFIGS:
        settings = _read_json(directory / name, _Object)
        if settings:
            return settings
    return {}


def _read_json(path: Path, kind: type[_T]) -> _T | None:
    """The file's content; None when there is no such file."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=kind)
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, msgspec.DecodeError) as error:
        raise ModelLoadError(f"[{path}] cannot be read ({error}); copy the model again") from error
