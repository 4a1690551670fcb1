"""How a model package has texts tokenised, as its `inference_config` says, with Elasticsearch's defaults.

Source: `Tokenization` and its subclasses of `org.elasticsearch.xpack.core.ml.inference.trainedmodel`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import msgspec

from rerank_proxy.engine.errors import ModelLoadError

MAX_SEQUENCE_LENGTH: Final = 131_072
"""Tokens. A program that is traced with one length only has every row filled up to it."""

Kind = Literal["bert", "mpnet", "roberta", "xlm_roberta", "deberta_v2"]
"""Elasticsearch's names for the ways to tokenise."""

Truncate = Literal["first", "second", "none", "balanced"]


class _Options(msgspec.Struct):
    """A tokenization as it is written. An explicit null counts as absent."""

    do_lower_case: bool | None = None
    with_special_tokens: bool | None = None
    add_prefix_space: bool | None = None
    max_sequence_length: int | None = None
    truncate: Truncate | None = None
    span: int | None = None


class _TextSimilarity(msgspec.Struct):
    tokenization: dict[str, _Options] = {}


class _InferenceConfig(msgspec.Struct):
    text_similarity: _TextSimilarity | None = None


@dataclass(frozen=True, slots=True)
class Tokenization:
    """The options of a tokenization."""

    kind: Kind
    do_lower_case: bool = False
    """Of `bert` and `mpnet`; removes accents, too."""
    add_prefix_space: bool = False
    """Of `roberta`."""
    max_sequence_length: int = 512
    """Tokens of query, text and special tokens together."""
    truncate: Truncate = "first"


@dataclass(frozen=True)
class SpecialTokens:
    """The tokens that a kind of tokenization puts around texts, and those that it never splits in a text."""

    cls: str
    sep: str
    pad: str
    unk: str
    never_split: tuple[str, ...]


_BRACKETED: Final = SpecialTokens("[CLS]", "[SEP]", "[PAD]", "[UNK]", ("[MASK]",))
_TAGGED: Final = SpecialTokens("<s>", "</s>", "<pad>", "<unk>", ("<mask>",))

SPECIAL_TOKENS: Final[Mapping[Kind, SpecialTokens]] = {
    "bert": _BRACKETED,
    "mpnet": SpecialTokens("<s>", "</s>", "<pad>", "[UNK]", ("<mask>",)),
    "roberta": _TAGGED,
    "xlm_roberta": _TAGGED,
    "deberta_v2": SpecialTokens(
        "[CLS]", "[SEP]", "[PAD]", "[UNK]", ("[MASK]", "[CLS]", "[SEP]", "[PAD]", "[UNK]")
    ),
}


def read_tokenization(inference_config: Mapping[str, Any]) -> Tokenization:
    """Read the tokenization of a trained model's `inference_config`.

    Raises:
        ModelLoadError: It is not that of a reranker, or one that is not supported here.
    """
    try:
        config = msgspec.convert(inference_config, _InferenceConfig)
    except msgspec.ValidationError as error:
        raise ModelLoadError(f"its [inference_config] cannot be used: {error}") from None
    if config.text_similarity is None:
        task = next(iter(inference_config), "no task")
        raise ModelLoadError(f"it is a model for [{task}]; a reranker is one for [text_similarity]")
    kinds = config.text_similarity.tokenization or {"bert": _Options()}  # Elasticsearch's default
    if len(kinds) != 1:
        raise ModelLoadError(f"it has several tokenizations ({', '.join(kinds)})")
    ((kind, options),) = kinds.items()
    return _tokenization(kind, options)


def _tokenization(kind: str, options: _Options) -> Tokenization:
    known = next((known for known in SPECIAL_TOKENS if known == kind), None)
    if known is None:
        raise ModelLoadError(
            f"the tokenization [{kind}] is not supported; known: {', '.join(SPECIAL_TOKENS)}"
        )
    if options.with_special_tokens is False:
        raise ModelLoadError("without special tokens [with_special_tokens] no pair of texts can be scored")
    if options.span is not None and options.span >= 0:
        raise ModelLoadError(
            f"texts in several parts [span: {options.span}] are not supported; set [truncate] to [second]"
        )
    length = 512 if options.max_sequence_length is None else options.max_sequence_length
    if not 1 <= length <= MAX_SEQUENCE_LENGTH:
        raise ModelLoadError(
            f"[max_sequence_length] must be at least 1 and at most {MAX_SEQUENCE_LENGTH}, not [{length}]"
        )
    return Tokenization(
        known,
        do_lower_case=bool(options.do_lower_case),
        add_prefix_space=bool(options.add_prefix_space),
        max_sequence_length=length,
        truncate=options.truncate or "first",
    )
