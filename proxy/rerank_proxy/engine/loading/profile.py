"""Read what a model directory says about itself, from its JSON files alone."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, cast, get_args

import msgspec

from rerank_proxy.engine.encoding.prompts import MAX_INSTRUCTION
from rerank_proxy.engine.encoding.scorers import Similarity
from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading import model_files, transformer_config
from rerank_proxy.engine.loading.chat_template import Messages, names_pairs
from rerank_proxy.engine.loading.checkpoint_files import check_keys, check_names
from rerank_proxy.engine.loading.directory_check import check_inside, inspect, inspect_module, read_json
from rerank_proxy.engine.loading.model_files import COPY_AGAIN
from rerank_proxy.engine.loading.requirements import check_requirements
from rerank_proxy.engine.loading.templates import TEMPLATES, by_name
from rerank_proxy.engine.loading.transformer_config import TransformerConfig
from rerank_proxy.settings import ModelSettings
from rerank_proxy.settings.sections.models import PublishedTemplate

_Object = dict[str, Any]

Kind = Literal["cross-encoder", "bi-encoder"]

HEAD_MODULES: Final = ("Pooling", "Dense", "LayerNorm", "Normalize", "Dropout")
"""The modules of sentence-transformers that may follow its Transformer."""

_LOGIT_SCORE: Final = "LogitScore"
"""The module behind a Transformer that generates."""

_MAX_MODULES: Final = 100
_MAX_TEMPLATE_BYTES: Final = 1024 * 1024


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
    decision: "Decision | None" = None
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


@dataclass(frozen=True, slots=True)
class Decision:
    """The tokens whose logits at the end of a prompt are the score: ids, or words that are one token each."""

    yes: int | str
    no: int | str | None
    """Its logit is subtracted, if there is one."""
    layers: bool = False
    """The score is that of a head of one layer, and not a token's logit."""


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
    truncate_dim: int | None = None
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


class _LogitScore(msgspec.Struct):
    """The config of a LogitScore."""

    true_token_id: int
    false_token_id: int | None = None
    module_input_name: str = "causal_logits"


class _TokenizerSettings(msgspec.Struct):
    """tokenizer_config.json, as far as it matters here."""

    chat_template: Any = None


def read(directory: Path, settings: ModelSettings | None = None) -> Profile:
    """Inspect a directory and read what it says.

    Args:
        settings: Of the model; None: none are set.

    Raises:
        ModelLoadError: It is not a model, or not one that can rerank.
    """
    settings = settings or ModelSettings(source=str(directory))
    trusted = settings.trust_remote_code
    modules = read_json(directory / "modules.json", list[_Module])
    library = read_json(directory / "config_sentence_transformers.json", _Library) or _Library()
    check_requirements(directory, library.requirements)
    transformer, head = _split_modules(directory, modules) if modules else (directory, ())
    config = read_json(transformer / "config.json", _Config)
    if config is None:
        raise ModelLoadError(f"[{transformer}] has no config.json: it is not the directory of a model")
    weights = inspect(transformer, directory, trusted=trusted)
    architecture = next(iter(config.architectures or ()), None)
    own_head = architecture is not None and architecture.endswith("ForSequenceClassification")
    how = transformer_config.read(transformer)
    formats = _Formats.of(directory, transformer, how, settings, architecture or "", saved=bool(modules))
    decision = _decision(head, how, formats, architecture or "")
    kind = "cross-encoder" if decision else _kind(directory, architecture, own_head, head, library)
    _check_format(transformer, kind, how, formats)
    query_prompt, text_prompt = _prompts(kind, library)
    return Profile(
        kind=kind,
        directory=transformer,
        architecture=architecture,
        weights=weights,
        head=() if decision else head,
        decision=decision,
        template=formats.template,
        messages=formats.messages,
        max_length=how.max_length,
        do_lower_case=how.do_lower_case,
        query_prompt=query_prompt,
        text_prompt=text_prompt,
        similarity=_similarity(directory, library),
        dimensions=library.truncate_dim,
        activation=library.activation_fn or _saved_activation(config),
        trusted=trusted,
    )


def _saved_activation(config: _Config) -> str | None:
    saved = config.sentence_transformers
    return (saved.activation_fn if saved else None) or config.sbert_ce_default_activation_function


@dataclass(frozen=True, slots=True)
class _Formats:
    """What is known of the format of a model's pairs."""

    template: PublishedTemplate | None
    messages: Messages | None
    says_pairs: bool
    """The chat template is one of a reranker."""

    @classmethod
    def of(
        cls,
        directory: Path,
        transformer: Path,
        how: TransformerConfig,
        settings: ModelSettings,
        architecture: str,
        *,
        saved: bool,
    ) -> "_Formats":
        """Find the format: by the settings, else by the checkpoint's files, else by its name.

        A chat template counts where the files of sentence-transformers say so. Where there are none,
        sentence-transformers takes one that it finds.

        Args:
            saved: The checkpoint was saved by sentence-transformers.
        """
        if settings.template is not None:
            return cls(settings.template, None, says_pairs=False)
        if saved:
            return cls(None, how.messages, says_pairs=how.messages is not None)
        templates = _chat_templates(transformer)
        if any(map(names_pairs, templates)):
            return cls(None, Messages(), says_pairs=True)
        named = by_name(settings.source, architecture) or by_name(str(directory), architecture)
        return cls(named, Messages() if templates and named is None else None, says_pairs=False)


def _decision(
    head: tuple[HeadModule, ...], how: TransformerConfig, formats: _Formats, architecture: str
) -> Decision | None:
    """Return how the output of a model that generates is read; None for all others."""
    if [module.name for module in head] == [_LOGIT_SCORE]:
        return _saved_decision(head[0], how)
    if head or not _generates(architecture):
        return None
    if formats.template is not None:
        template = TEMPLATES[formats.template]
        return Decision(template.yes, template.no, template.layers)
    # What sentence-transformers assumes of a model that generates.
    return Decision("yes", "no") if formats.says_pairs else None


def _saved_decision(module: HeadModule, how: TransformerConfig) -> Decision:
    path = module.directory / "config.json"
    try:
        config = msgspec.convert(module.config, _LogitScore)
    except msgspec.ValidationError as error:
        raise ModelLoadError(f"[{path}] cannot be read ({error}); {COPY_AGAIN}") from error
    if how.task != "text-generation" or config.module_input_name != "causal_logits":
        raise ModelLoadError(
            f"[{path}] reads [{config.module_input_name}] of a transformer for [{how.task}], which is not "
            "supported; it is [causal_logits] for [text-generation]"
        )
    return Decision(config.true_token_id, config.false_token_id)


def _generates(architecture: str) -> bool:
    return architecture.endswith("ForCausalLM")


def _check_format(directory: Path, kind: Kind, how: TransformerConfig, formats: _Formats) -> None:
    if kind == "bi-encoder" and formats.messages is not None:
        raise ModelLoadError(
            f"[{directory}] formats its texts by a chat template, which is not supported for a bi-encoder; "
            "give a model that reads plain text"
        )
    if kind == "bi-encoder" and how.cuts_by_role:
        raise ModelLoadError(
            f"[{directory}] cuts or fills queries otherwise than texts ([query_length], [document_length], "
            "[query_expansion]), which is not supported; give a model that does not"
        )


def _split_modules(directory: Path, modules: "list[_Module]") -> tuple[Path, tuple[HeadModule, ...]]:
    """Return the transformer's directory and the modules behind it."""
    if len(modules) > _MAX_MODULES:
        raise ModelLoadError(
            f"[{directory}]: its modules.json names {len(modules)} modules, more than any model has"
        )
    listed = [(_class_name(directory, each), directory / each.path) for each in modules]
    (first, transformer), *rest = listed
    for _, path in listed:
        check_inside(path, directory)
    alone = [name for name, _ in rest] == [_LOGIT_SCORE]
    unknown = [name for name, _ in rest if name not in HEAD_MODULES and not alone]
    if first != "Transformer" or unknown:
        odd = first if first != "Transformer" else unknown[0]
        raise ModelLoadError(
            f"[{directory}]: its modules.json names [{odd}]; supported are Transformer followed by "
            f"{', '.join(HEAD_MODULES)}, or by {_LOGIT_SCORE} alone"
        )
    return transformer, tuple(_head_module(name, path, directory) for name, path in rest)


def _head_module(name: str, path: Path, root: Path) -> HeadModule:
    config = read_json(path / "config.json", _Object) or {}
    check_keys(path / "config.json", f"N_{name}/config.json", config)
    if name != _LOGIT_SCORE:
        check_names(path / "config.json", config)
    inspect_module(path, root)
    return HeadModule(name, path, config)


def _class_name(directory: Path, module: _Module) -> str:
    """Return the class name of a module of sentence-transformers."""
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
        "give a cross-encoder (…ForSequenceClassification with one label) or a sentence-transformers model"
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


def _chat_templates(directory: Path) -> list[str]:
    """Return the sources of the chat templates of a checkpoint's tokenizer."""
    jinja = directory / "chat_template.jinja"
    if jinja.exists():
        return [model_files.read(jinja, _MAX_TEMPLATE_BYTES).decode(errors="replace")]
    found = []
    for name in ("chat_template.json", "tokenizer_config.json"):
        saved = (read_json(directory / name, _TokenizerSettings) or _TokenizerSettings()).chat_template
        found += [saved] if isinstance(saved, str) else [str(each) for each in saved or ()]
    return [template for template in found if template]


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
    if any(len(prompt or "") > MAX_INSTRUCTION for prompt in prompts.values()):
        raise ModelLoadError(
            f"a prompt has more than {MAX_INSTRUCTION} characters; it is put before every text"
        )
    default = prompts.get(library.default_prompt_name or "") or ""
    if kind == "cross-encoder":
        return default, ""
    text = next((prompts[name] for name in ("document", "passage", "corpus") if name in prompts), default)
    return prompts.get("query", default) or "", text or ""
