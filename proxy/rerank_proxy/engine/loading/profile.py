"""Read what a model directory says about itself, from its JSON files alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast, get_args

import msgspec

from rerank_proxy.engine.encoding.scorers import Similarity
from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading import late_interaction
from rerank_proxy.engine.loading.directory_check import check_inside, inspect, inspect_module, read_json
from rerank_proxy.engine.loading.late_interaction import LateInteraction, Layout

_Object = dict[str, Any]

Kind = Literal["cross-encoder", "bi-encoder", "late-interaction"]

HEAD_MODULES: Final = ("Pooling", "Dense", "LayerNorm", "Normalize", "Dropout")
"""The modules of sentence-transformers that may follow its Transformer."""

_OF_PYLATE: Final = {"pylate.models.Dense.Dense": "Dense"}
"""Modules of PyLate that are those of sentence-transformers, but for their name."""

_MAX_MODULES: Final = 100
_MAX_PROMPT: Final = 8192
"""Characters."""

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
    """How to load a model, and what its output is."""

    kind: Kind
    directory: Path
    """Of the transformer: config.json, weights and tokenizer."""
    architecture: str | None
    weights: int
    """Numbers in the transformer's files of weights, at most."""
    head: tuple[HeadModule, ...] = ()
    """Empty for a model whose own head gives the logit."""
    max_length: int | None = None
    do_lower_case: bool = False
    query_prompt: str = ""
    text_prompt: str = ""
    similarity: Similarity = "cosine"
    """Of a bi-encoder's embeddings."""
    late: LateInteraction | None = None
    """Of a late-interaction model."""


class _Module(msgspec.Struct):
    """An entry of modules.json."""

    type: str
    path: str


class _Library(msgspec.Struct):
    """config_sentence_transformers.json, as far as it matters here."""

    model_type: str = "SentenceTransformer"
    prompts: dict[str, str | None] | None = None
    default_prompt_name: str | None = None
    similarity_fn_name: str | None = None


class _Config(msgspec.Struct):
    """config.json, as far as it matters here."""

    architectures: list[str] | None = None


class _TransformerSettings(msgspec.Struct):
    """sentence_bert_config.json and its like."""

    max_seq_length: int | None = None
    do_lower_case: bool | None = None
    modality_config: dict[str, Any] | None = None


class _TokenizerSettings(msgspec.Struct):
    """tokenizer_config.json, as far as it matters here."""

    chat_template: Any = None


def read(directory: Path) -> Profile:
    """Inspect a directory and read what it says.

    Raises:
        ModelLoadError: It is not a model, or not one that can rerank.
    """
    modules = read_json(directory / "modules.json", list[_Module])
    library = read_json(directory / "config_sentence_transformers.json", _Library) or _Library()
    layout = late_interaction.layout(directory)
    transformer, head = _split_modules(directory, modules, layout) if modules else (directory, ())
    config = read_json(transformer / "config.json", _Config)
    if config is None:
        raise ModelLoadError(f"[{transformer}] has no config.json: it is not the directory of a model")
    weights = inspect(transformer, directory)
    architecture = next(iter(config.architectures or ()), None)
    own_head = architecture is not None and architecture.endswith("ForSequenceClassification")
    settings = _transformer_settings(transformer)
    _check_inputs(transformer, settings)
    if layout is not None:
        return _late(layout, directory, transformer, weights, head, library, settings)
    kind = _kind(directory, architecture, own_head, head, library)
    query_prompt, text_prompt = _prompts(kind, library)
    return Profile(
        kind=kind,
        directory=transformer,
        architecture=architecture,
        weights=weights,
        head=head,
        max_length=settings.max_seq_length if settings is not None else None,
        do_lower_case=bool(settings is not None and settings.do_lower_case),
        query_prompt=query_prompt,
        text_prompt=text_prompt,
        similarity=_similarity(directory, library),
    )


def _late(
    layout: Layout,
    directory: Path,
    transformer: Path,
    weights: int,
    head: tuple[HeadModule, ...],
    library: _Library,
    settings: _TransformerSettings | None,
) -> Profile:
    late = late_interaction.read(
        layout, directory, transformer, [(module.name, module.config) for module in head]
    )
    query_prompt, text_prompt = _prompts("late-interaction", library)
    return Profile(
        kind="late-interaction",
        directory=transformer,
        architecture=None,
        weights=weights,
        head=(
            *(module for module in head if module.name != "MultiVectorMask"),
            *(HeadModule(name, transformer, {}) for name in late.appended),
        ),
        max_length=late.text_length or (settings.max_seq_length if settings is not None else None),
        do_lower_case=bool(settings is not None and settings.do_lower_case),
        query_prompt=late.lead + query_prompt.removeprefix(late.query_marker or ""),
        text_prompt=late.lead + text_prompt.removeprefix(late.text_marker or ""),
        late=late,
    )


def _split_modules(
    directory: Path, modules: "list[_Module]", layout: Layout | None
) -> tuple[Path, tuple[HeadModule, ...]]:
    """Return the transformer's directory and the modules behind it."""
    if len(modules) > _MAX_MODULES:
        raise ModelLoadError(
            f"[{directory}]: its modules.json names {len(modules)} modules, more than any model has"
        )
    listed = [(_class_name(directory, each), directory / each.path) for each in modules]
    (first, transformer), *rest = listed
    for _, path in listed:
        check_inside(path, directory)
    supported = HEAD_MODULES if layout is None else late_interaction.MODULES
    unknown = [name for name, _ in rest if name not in supported]
    if first != "Transformer" or unknown:
        odd = first if first != "Transformer" else unknown[0]
        raise ModelLoadError(
            f"[{directory}]: its modules.json names [{odd}]; supported are Transformer followed by "
            f"{', '.join(supported)}"
        )
    return transformer, tuple(_head_module(name, path, directory) for name, path in rest)


def _head_module(name: str, path: Path, root: Path) -> HeadModule:
    config = read_json(path / "config.json", _Object) or {}
    inspect_module(path, root)
    return HeadModule(name, path, config)


def _class_name(directory: Path, module: _Module) -> str:
    """Return the class name of a module of sentence-transformers."""
    if module.type in _OF_PYLATE:
        return _OF_PYLATE[module.type]
    package, _, name = module.type.rpartition(".")
    if package.partition(".")[0] != "sentence_transformers":
        raise ModelLoadError(
            f"[{directory}]: its modules.json needs Python code of its own ([{module.type}]), which is never "
            "run here; give a model of sentence-transformers' own modules"
        )
    return name


def _kind(
    directory: Path,
    architecture: str | None,
    own_head: bool,
    head: tuple[HeadModule, ...],
    library: _Library,
) -> Kind:
    model_type = library.model_type
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
        "give a cross-encoder (…ForSequenceClassification with one label), or a bi-encoder or a "
        "late-interaction model of sentence-transformers"
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


def _check_inputs(directory: Path, settings: _TransformerSettings | None) -> None:
    """Refuse a model that does not read plain text, or reads it by another method than all others.

    Where it does not say what it reads, sentence-transformers takes its chat template, if it has one. The
    scores of plain pairs have nothing to do with those of pairs in a template.

    Raises:
        ModelLoadError: It is not a model of plain text.
    """
    modalities = (settings.modality_config if settings is not None else None) or {}
    if "message" in modalities or (settings is None and _has_chat_template(directory)):
        raise ModelLoadError(
            f"[{directory}] formats its pairs by a chat template, which is not supported; give a model that "
            "reads plain text"
        )
    text = modalities.get("text")
    if modalities and (not isinstance(text, dict) or text.get("method") != "forward"):
        raise ModelLoadError(
            f"[{directory}]: its [modality_config] does not read text by [forward], which is not supported; "
            "give a model that does"
        )


def _has_chat_template(directory: Path) -> bool:
    tokenizer = read_json(directory / "tokenizer_config.json", _TokenizerSettings) or _TokenizerSettings()
    files = (directory / "chat_template.jinja", directory / "chat_template.json")
    return bool(tokenizer.chat_template) or any(file.exists() for file in files)


def _similarity(directory: Path, library: _Library) -> Similarity:
    name = library.similarity_fn_name or "cosine"
    for similarity in get_args(Similarity):
        if name == similarity:
            return cast("Similarity", similarity)
    raise ModelLoadError(
        f"[{directory}] compares embeddings by [{name}]; supported are {', '.join(get_args(Similarity))}"
    )


def _prompts(kind: Kind, library: _Library) -> tuple[str, str]:
    """Return what sentence-transformers puts before a query and a text by default.

    For bi-encoders as its `encode_query` and `encode_document` do, for cross-encoders as `predict`.
    """
    prompts = library.prompts or {}
    if any(len(prompt or "") > _MAX_PROMPT for prompt in prompts.values()):
        raise ModelLoadError(f"a prompt has more than {_MAX_PROMPT} characters; it is put before every text")
    default = prompts.get(library.default_prompt_name or "") or ""
    if kind == "cross-encoder":
        return default, ""
    text = next((prompts[name] for name in ("document", "passage", "corpus") if name in prompts), default)
    return prompts.get("query", default) or "", text or ""


def _transformer_settings(directory: Path) -> _TransformerSettings | None:
    """Return what the first file of settings that holds any says; None where there is no such file."""
    found = None
    for name in _TRANSFORMER_CONFIGS:
        settings = read_json(directory / name, _TransformerSettings)
        if settings is not None and settings != _TransformerSettings():
            return settings
        found = found or settings
    return found
