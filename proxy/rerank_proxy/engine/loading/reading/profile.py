"""Read what a model directory says about itself, from its JSON files alone."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast, get_args

import msgspec

from rerank_proxy.engine.encoding.prompts import MAX_INSTRUCTION
from rerank_proxy.engine.encoding.scorers import Similarity
from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.reading import late_interaction, sparse, transformer_config
from rerank_proxy.engine.loading.reading.chat_template import Messages
from rerank_proxy.engine.loading.reading.directory_check import inspect, read_json
from rerank_proxy.engine.loading.reading.late_interaction import LateInteraction, Layout
from rerank_proxy.engine.loading.reading.modules import HeadModule, read_modules
from rerank_proxy.engine.loading.reading.pair_format import Decision, PairFormat, read_decision
from rerank_proxy.engine.loading.reading.requirements import check_requirements
from rerank_proxy.engine.loading.reading.sparse import Sparse
from rerank_proxy.engine.loading.reading.templates import TEMPLATES
from rerank_proxy.engine.loading.reading.transformer_config import TransformerConfig
from rerank_proxy.settings import ModelSettings
from rerank_proxy.settings.sections.models import PublishedTemplate

_Object = dict[str, Any]

Kind = Literal["cross-encoder", "bi-encoder", "late-interaction", "sparse-encoder"]

_APART: Final = ("bi-encoder", "sparse-encoder")
"""Kinds that read query and text apart, both in the same way."""


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
    decision: Decision | None = None
    """Of a model that generates: how its output is read."""
    template: PublishedTemplate | None = None
    """The published format of query and text …"""
    messages: Messages | None = None
    """… or how the checkpoint's chat template is used; neither: pairs of plain texts."""
    max_length: int | None = None
    do_lower_case: bool = False
    query_prompt: str = ""
    text_prompt: str = ""
    similarity: Similarity = "cosine"
    """Of a bi-encoder's embeddings."""
    late: LateInteraction | None = None
    """Of a late-interaction model."""
    sparse: Sparse | None = None
    """Of a sparse encoder."""
    dimensions: int | None = None
    """How many of these are compared; None: all."""
    activation: str | None = None
    """The function that sentence-transformers applies to the logit, if the checkpoint names one."""
    trusted: bool = False
    """Whether code of the checkpoint's own may run."""

    @property
    def classifies(self) -> bool:
        """Whether it is a `…ForSequenceClassification`."""
        return not self.head and self.decision is None


class _Library(msgspec.Struct):
    """config_sentence_transformers.json, as far as it matters here."""

    model_type: str = "SentenceTransformer"
    prompts: dict[str, str | None] | None = None
    default_prompt_name: str | None = None
    similarity_fn_name: str | None = None
    truncate_dim: int | None = None
    max_active_dims: Any = None
    activation_fn: str | None = None
    requirements: Any = None


class _SavedLibrary(msgspec.Struct):
    """What older versions of sentence-transformers keep in config.json."""

    activation_fn: str | None = None


class _Config(msgspec.Struct):
    """config.json, as far as it matters here."""

    architectures: list[str] | None = None
    sentence_transformers: _SavedLibrary | None = None
    sbert_ce_default_activation_function: str | None = None


@dataclass(frozen=True, slots=True)
class _Files:
    """What the files of a directory say, each by itself."""

    directory: Path
    transformer: Path
    head: tuple[HeadModule, ...]
    library: _Library
    config: _Config
    how: TransformerConfig
    weights: int
    sparse: Sparse | None

    @property
    def architecture(self) -> str | None:
        return next(iter(self.config.architectures or ()), None)


def read(directory: Path, settings: ModelSettings | None = None) -> Profile:
    """Inspect a directory and read what it says.

    Args:
        settings: Of the model; None: none are set.

    Raises:
        ModelLoadError: It is not a model, or not one that can rerank.
    """
    settings = settings or ModelSettings(source=str(directory))
    layout = late_interaction.layout(directory)
    files = _read_files(directory, layout, trusted=settings.trust_remote_code)
    return _other(files, settings) if layout is None else _late(files, layout)


def _read_files(directory: Path, layout: Layout | None, *, trusted: bool) -> _Files:
    library = read_json(directory / "config_sentence_transformers.json", _Library) or _Library()
    check_requirements(directory, library.requirements)
    modules = read_modules(directory, layout)
    transformer = modules.transformer
    config = read_json(transformer / "config.json", _Config)
    if config is None:
        raise ModelLoadError(f"[{transformer}] has no config.json: it is not the directory of a model")
    weights = inspect(transformer, directory, trusted=trusted)
    how = transformer_config.read(transformer, modules.task)
    terms = sparse.read(directory, modules, how, library.model_type, library.max_active_dims)
    return _Files(directory, transformer, modules.head, library, config, how, weights, terms)


def _other(files: _Files, settings: ModelSettings) -> Profile:
    """Return the profile of a model that is not one of late interaction."""
    directory, library, how = files.directory, files.library, files.how
    architecture = files.architecture
    own_head = architecture is not None and architecture.endswith("ForSequenceClassification")
    saved = (directory / "modules.json").exists()
    formats = PairFormat.of(directory, files.transformer, how, settings, architecture or "", saved=saved)
    decision = read_decision(files.head, how, formats, architecture or "")
    terms = files.sparse
    if terms is not None:
        kind: Kind = "sparse-encoder"
    else:
        kind = "cross-encoder" if decision else _kind(directory, architecture, own_head, files.head, library)
    _check_format(files.transformer, kind, how, formats)
    query_prompt, text_prompt = _prompts(kind, library)
    return Profile(
        kind=kind,
        directory=files.transformer,
        architecture=architecture,
        weights=files.weights,
        head=() if decision else files.head,
        decision=decision,
        template=formats.template,
        messages=formats.messages,
        max_length=how.max_length,
        do_lower_case=how.do_lower_case,
        query_prompt=query_prompt,
        text_prompt=text_prompt,
        similarity=_similarity(directory, library, "cosine" if terms is None else "dot"),
        sparse=terms,
        dimensions=library.truncate_dim if terms is None else None,
        activation=library.activation_fn or _saved_activation(files.config),
        trusted=settings.trust_remote_code,
    )


def _late(files: _Files, layout: Layout) -> Profile:
    modules = [(module.name, module.config) for module in files.head]
    late = late_interaction.read(layout, files.directory, files.transformer, modules)
    query_prompt, text_prompt = _prompts("late-interaction", files.library)
    return Profile(
        kind="late-interaction",
        directory=files.transformer,
        architecture=None,
        weights=files.weights,
        head=(
            *(module for module in files.head if module.name != "MultiVectorMask"),
            *(HeadModule(name, files.transformer, {}) for name in late.appended),
        ),
        max_length=late.text_length or files.how.max_length,
        do_lower_case=files.how.do_lower_case,
        query_prompt=late.lead + query_prompt.removeprefix(late.query_marker or ""),
        text_prompt=late.lead + text_prompt.removeprefix(late.text_marker or ""),
        late=late,
    )


def _saved_activation(config: _Config) -> str | None:
    saved = config.sentence_transformers
    return (saved.activation_fn if saved else None) or config.sbert_ce_default_activation_function


def _check_format(directory: Path, kind: Kind, how: TransformerConfig, formats: PairFormat) -> None:
    if kind in _APART and formats.messages is not None:
        raise ModelLoadError(
            f"[{directory}] formats its texts by a chat template, which is not supported for a {kind}; "
            "give a model that reads plain text"
        )
    if kind in _APART and how.cuts_by_role:
        raise ModelLoadError(
            f"[{directory}] cuts or fills queries otherwise than texts ([query_length], [document_length], "
            "[query_expansion]), which is not supported; give a model that does not"
        )


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
        "give a cross-encoder (…ForSequenceClassification with one label), or a bi-encoder, a "
        "sparse encoder (SPLADE) or a late-interaction model of sentence-transformers"
    )
    if model_type not in ("CrossEncoder", "SentenceTransformer"):
        return f"is a {model_type} model, whose scores are not supported; {wanted}"
    if head:
        return f"has no Pooling in its modules.json; {wanted}"
    if architecture is None:
        return f"names no architecture in its config.json; {wanted}"
    if architecture.endswith(("ForCausalLM", "ForConditionalGeneration")):
        return (
            f"is a generating model ({architecture}), and nothing says how it is asked for a score; if it is "
            f"a published reranker, set the model's [template] to its format ({', '.join(TEMPLATES)})"
        )
    return f"is {architecture} without a scoring head and without modules.json; {wanted}"


def _similarity(directory: Path, library: _Library, default: Similarity) -> Similarity:
    name = library.similarity_fn_name or default
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
    if any(len(prompt or "") > MAX_INSTRUCTION for prompt in prompts.values()):
        raise ModelLoadError(
            f"a prompt has more than {MAX_INSTRUCTION} characters; it is put before every text"
        )
    default = prompts.get(library.default_prompt_name or "") or ""
    if kind == "cross-encoder":
        return default, ""
    text = next((prompts[name] for name in ("document", "passage", "corpus") if name in prompts), default)
    return prompts.get("query", default) or "", text or ""
