"""Read how a late-interaction model (ColBERT) encodes and scores, from its JSON files, in three layouts.

- `sentence-transformers`: saved by its `MultiVectorEncoder` (from release 6 on).
- `pylate`: saved by PyLate's `ColBERT` (`pylate.models`), whose settings are in
  `config_sentence_transformers.json`.
- `colbert`: saved by ColBERT itself (Stanford's): `HF_ColBERT` with `linear.weight` among the transformer's
  weights, and settings in `artifact.metadata`.

The defaults are those of the library that the layout is from.
"""

import string
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import UNSET, UnsetType

from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.reading.directory_check import read_json

Layout = Literal["sentence-transformers", "pylate", "colbert"]

MODULES: Final = ("Dense", "MultiVectorMask", "Normalize")
"""The modules of sentence-transformers that may follow the Transformer of such a model."""

METADATA: Final = "artifact.metadata"

_Length = Annotated[int, msgspec.Meta(ge=1, le=131_072)]
_PUNCTUATION: Final = tuple(string.punctuation)
_MAX_SKIPPED: Final = 10_000
_VECTORS: Final = "token_embeddings"


@dataclass(frozen=True, slots=True)
class QueryExpansion:
    """How short queries are filled up."""

    length: int
    attended: bool
    token: str | None = None
    """None: the tokenizer's mask, or where it has none its end of a sequence."""
    cuts: bool = True
    """A query that is longer is cut to this length."""


@dataclass(frozen=True, slots=True)
class LateInteraction:
    """What is special about such a model."""

    query_length: int | None
    """The most tokens of a query; None: as many as of a text."""
    text_length: int | None
    expansion: QueryExpansion | None
    skipped: tuple[str, ...] = ()
    """Tokens without a vector …"""
    skipped_in: tuple[str, ...] = ("document",)
    """… in queries ("query"), texts ("document"), or both."""
    unknown_skipped: bool = False
    """One that the tokenizer does not have stands for all unknown tokens, as ColBERT and PyLate have it."""
    averages: bool = False
    query_marker: str | None = None
    """A token that is inserted behind the first one."""
    text_marker: str | None = None
    lead: str = ""
    """What is put before every query and text."""
    strips: bool = False
    """White space around queries and texts is removed."""
    appended: tuple[str, ...] = ()
    """Modules behind those that modules.json names."""


class _Library(msgspec.Struct):
    """config_sentence_transformers.json, as far as it matters here."""

    model_type: str | None = None
    similarity_fn_name: str | None = None
    query_prefix: str | UnsetType | None = UNSET
    document_prefix: str | UnsetType | None = UNSET
    query_length: _Length | UnsetType | None = UNSET
    document_length: _Length | UnsetType | None = UNSET
    attend_to_expansion_tokens: bool | UnsetType | None = UNSET
    do_query_expansion: bool | UnsetType | None = UNSET
    skiplist_words: list[str] | UnsetType | None = UNSET

    @property
    def has_settings_of_pylate(self) -> bool:
        own = (self.query_prefix, self.document_prefix, self.attend_to_expansion_tokens)
        lengths = (self.query_length, self.document_length)
        return any(each is not UNSET for each in (*own, *lengths, self.do_query_expansion))


class _Expansion(msgspec.Struct, forbid_unknown_fields=True):
    strategy: Literal["fixed", "min"]
    length: _Length
    attend: bool = False
    token: str | None = None


class _Transformer(msgspec.Struct):
    """sentence_bert_config.json of sentence-transformers 6, as far as it matters here."""

    query_length: _Length | None = None
    document_length: _Length | None = None
    query_expansion: _Expansion | None = None


class _Mask(msgspec.Struct, forbid_unknown_fields=True):
    """The config of a MultiVectorMask."""

    skiplist_words: list[str] | None = None
    skiplist_tasks: list[Literal["query", "document"]] | Literal["query", "document"] | None = None
    keep_only_token_ids: list[int] | None = None


class _Metadata(msgspec.Struct):
    """artifact.metadata, as far as it matters here."""

    query_token_id: str | None = None
    doc_token_id: str | None = None
    query_maxlen: _Length | None = None
    doc_maxlen: _Length | None = None
    attend_to_mask_tokens: bool | None = None
    mask_punctuation: bool | None = None
    similarity: str | None = None
    interaction: str | None = None


class _Config(msgspec.Struct):
    architectures: list[str] | None = None


def layout(directory: Path) -> Layout | None:
    """Return the layout of a late-interaction model; None for any other model.

    Raises:
        ModelLoadError: A description cannot be read, or is of two layouts.
    """
    library = read_json(directory / "config_sentence_transformers.json", _Library) or _Library()
    if library.model_type == "MultiVectorEncoder":
        if library.has_settings_of_pylate:
            raise ModelLoadError(
                f"[{directory}]: its config_sentence_transformers.json is a MultiVectorEncoder's and has "
                "settings of PyLate as well; save it again with the library that it is from"
            )
        return "sentence-transformers"
    if library.model_type == "ColBERT" or library.has_settings_of_pylate:
        return "pylate"
    if library.model_type is None and not (directory / "modules.json").exists():
        config = read_json(directory / "config.json", _Config) or _Config()
        return "colbert" if "HF_ColBERT" in (config.architectures or ()) else None
    return None


def read(
    found: Layout, directory: Path, transformer: Path, modules: Sequence[tuple[str, Mapping[str, Any]]]
) -> LateInteraction:
    """Read what a model of the layout says.

    Args:
        transformer: The directory of its transformer.
        modules: Names and configs of the modules behind it.

    Raises:
        ModelLoadError: It says something that is not supported.
    """
    match found:
        case "sentence-transformers":
            return _of_sentence_transformers(directory, transformer, modules)
        case "pylate":
            return _of_pylate(directory, modules)
        case "colbert":
            return _of_colbert(directory)


def _of_sentence_transformers(
    directory: Path, transformer: Path, modules: Sequence[tuple[str, Mapping[str, Any]]]
) -> LateInteraction:
    library = read_json(directory / "config_sentence_transformers.json", _Library) or _Library()
    settings = read_json(transformer / "sentence_bert_config.json", _Transformer) or _Transformer()
    similarity = library.similarity_fn_name or "maxsim"
    if similarity not in ("maxsim", "meanmaxsim"):
        raise _unsupported(directory, f"compares vectors by [{similarity}]", "maxsim and meanmaxsim")
    for name, config in modules:
        names = {config.get("module_input_name"), config.get("module_output_name")} - {None, _VECTORS}
        if names or (name == "Normalize" and "module_input_name" not in config):
            odd = next(iter(names), "sentence_embedding")
            raise _unsupported(directory, f"has a {name} for [{odd}]", f"those for [{_VECTORS}]")
    masks = [config for name, config in modules if name == "MultiVectorMask"]
    if len(masks) != 1:
        raise _unsupported(directory, f"has {len(masks)} MultiVectorMask", "models with one")
    mask = _mask(directory, masks[0])
    tasks = mask.skiplist_tasks
    return LateInteraction(
        query_length=settings.query_length,
        text_length=settings.document_length,
        expansion=_expansion(directory, settings),
        skipped=_skipped(directory, mask.skiplist_words or ()),
        skipped_in=("document",) if tasks is None else (tasks,) if isinstance(tasks, str) else tuple(tasks),
        averages=similarity == "meanmaxsim",
    )


def _mask(directory: Path, config: Mapping[str, Any]) -> _Mask:
    try:
        mask = msgspec.convert(config, _Mask)
    except msgspec.ValidationError as error:
        raise ModelLoadError(f"[{directory}]: its MultiVectorMask cannot be used ({error})") from None
    if mask.keep_only_token_ids:
        raise _unsupported(directory, "scores only some tokens [keep_only_token_ids]", "models of text")
    return mask


def _expansion(directory: Path, settings: _Transformer) -> QueryExpansion | None:
    expansion = settings.query_expansion
    if expansion is None:
        return None
    if settings.query_length is not None and settings.query_length < expansion.length:
        raise ModelLoadError(
            f"[{directory}] cuts queries to {settings.query_length} tokens and fills them up to "
            f"{expansion.length}: correct its sentence_bert_config.json"
        )
    return QueryExpansion(expansion.length, expansion.attend, expansion.token, expansion.strategy == "fixed")


def _of_pylate(directory: Path, modules: Sequence[tuple[str, Mapping[str, Any]]]) -> LateInteraction:
    """Read PyLate's settings. Source: `pylate.models.ColBERT` of PyLate 1.6."""
    library = read_json(directory / "config_sentence_transformers.json", _Library) or _Library()
    odd = next((name for name, _ in modules if name != "Dense"), None)
    if odd is not None or not modules:
        raise _unsupported(directory, f"has {odd or 'nothing'} behind its transformer", "PyLate's Dense")
    if library.similarity_fn_name not in (None, "MaxSim", "cosine", "dot"):  # PyLate itself ignores it.
        raise _unsupported(directory, f"compares vectors by [{library.similarity_fn_name}]", "MaxSim")
    length = library.query_length or 32
    expands = library.do_query_expansion is not False
    skipped = library.skiplist_words
    return LateInteraction(
        query_length=length,
        text_length=library.document_length or 180,
        expansion=QueryExpansion(length, bool(library.attend_to_expansion_tokens)) if expands else None,
        skipped=_skipped(directory, _PUNCTUATION if skipped is UNSET or skipped is None else skipped),
        unknown_skipped=True,
        query_marker=_marker(library.query_prefix, "[Q] "),
        text_marker=_marker(library.document_prefix, "[D] "),
        strips=True,
        appended=("Normalize",),
    )


def _marker(given: str | UnsetType | None, default: str) -> str | None:
    return (default if given is UNSET or given is None else given) or None


def _of_colbert(directory: Path) -> LateInteraction:
    """Read ColBERT's own settings. Source: `colbert/infra/config/settings.py`, `colbert/modeling/`.

    It tokenises ". " and the text, and replaces the full stop by its marker: so there is a space before.
    """
    metadata = read_json(directory / METADATA, _Metadata) or _Metadata()
    if metadata.similarity not in (None, "cosine") or metadata.interaction not in (None, "colbert"):
        odd = metadata.interaction if metadata.similarity in (None, "cosine") else metadata.similarity
        raise _unsupported(directory, f"compares vectors by [{odd}]", "cosine and colbert")
    length = metadata.query_maxlen or 32
    return LateInteraction(
        query_length=length,
        text_length=metadata.doc_maxlen or 220,
        expansion=QueryExpansion(length, bool(metadata.attend_to_mask_tokens)),
        skipped=() if metadata.mask_punctuation is False else _PUNCTUATION,
        unknown_skipped=True,
        query_marker=metadata.query_token_id or "[unused0]",
        text_marker=metadata.doc_token_id or "[unused1]",
        lead=" ",
        appended=("Projection", "Normalize"),
    )


def _skipped(directory: Path, words: Sequence[str]) -> tuple[str, ...]:
    if len(words) > _MAX_SKIPPED:
        raise ModelLoadError(f"[{directory}] skips {len(words)} words; at most {_MAX_SKIPPED} are supported")
    return tuple(words)


def _unsupported(directory: Path, what: str, supported: str) -> ModelLoadError:
    return ModelLoadError(f"[{directory}] is a late-interaction model that {what}; supported are {supported}")
