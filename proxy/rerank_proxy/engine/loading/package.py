"""Elasticsearch's model packages: three files, what they say, and whether they fit together.

`NAME.metadata.json` describes the model, `NAME.pt` is a TorchScript program with its weights, and
`NAME.vocab.json` has the vocabulary. Sources: `ModelPackageConfig` and `Tokenization` of
`org.elasticsearch.xpack.core.ml.inference.trainedmodel`, `ModelLoaderUtils` of the package loader,
`NlpTokenizer` and its subclasses of `org.elasticsearch.xpack.ml.inference.nlp.tokenizers`.
"""

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, TypeVar

import msgspec

from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading import files

METADATA_SUFFIX: Final = ".metadata.json"
MODEL_SUFFIX: Final = ".pt"
VOCABULARY_SUFFIX: Final = ".vocab.json"

MAX_METADATA_BYTES: Final = 1024 * 1024
MAX_VOCABULARY_BYTES: Final = 64 * 1024 * 1024
MAX_SEQUENCE_LENGTH: Final = 131_072
"""Tokens. A program that is traced with one length only has every row filled up to it."""

MAX_TOKENS: Final = 1_000_000
"""Of a vocabulary; the largest in use have some 260,000."""

Kind = Literal["bert", "mpnet", "roberta", "xlm_roberta", "deberta_v2"]
"""Elasticsearch's names for the ways to tokenise."""

Truncate = Literal["first", "second", "none", "balanced"]

_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}")
_COPY_AGAIN: Final = files.COPY_AGAIN
_T = TypeVar("_T")


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
    """How texts become tokens, with Elasticsearch's defaults."""

    kind: Kind
    do_lower_case: bool = False
    """Of `bert` and `mpnet`; it takes accents away, too."""
    add_prefix_space: bool = False
    """Of `roberta`."""
    max_sequence_length: int = 512
    """Tokens of query, text and special tokens together."""
    truncate: Truncate = "first"


class Vocabulary(msgspec.Struct, frozen=True):
    """The vocabulary file; also the body of Elasticsearch's API that stores one."""

    vocabulary: list[str]
    """A token's place is its id."""
    merges: list[str] = []
    """Of `roberta`: pairs of tokens with a space between, the first to be merged first."""
    scores: list[float] = []
    """Of `xlm_roberta` and `deberta_v2`: a log probability per token."""


class Metadata(msgspec.Struct, frozen=True):
    """The metadata file, as far as it is needed here."""

    packaged_model_id: str
    inference_config: dict[str, Any]
    model_type: str | None = None
    size: int | None = None
    """Of the model's file, in bytes."""
    sha256: str | None = None
    """Of the model's file, in hex."""
    vocabulary_file: str | None = None


@dataclass(frozen=True)
class SpecialTokens:
    """What a kind of tokenization puts around texts, and what it takes whole where a text spells it out."""

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


@dataclass(frozen=True)
class Package:
    """A package in a directory. Its metadata are read and sound; the other files have not been looked at."""

    directory: Path
    name: str
    metadata: Metadata
    tokenization: Tokenization

    @property
    def model_path(self) -> Path:
        return self.directory / (self.metadata.packaged_model_id + MODEL_SUFFIX)

    @property
    def vocabulary_path(self) -> Path:
        return self.directory / vocabulary_file(self.metadata)

    @cached_property
    def sha256(self) -> str:
        """Of the model's file, in hex, once it is what the metadata say.

        Raises:
            ModelLoadError: It is missing, or has another size or content.
        """
        return check_model(self.model_path, self.metadata)

    def read_vocabulary(self) -> Vocabulary:
        """Raises:
        ModelLoadError: It is missing, or does not fit the tokenization.
        """
        path = self.vocabulary_path
        vocabulary = _decode(path, Vocabulary, MAX_VOCABULARY_BYTES)
        try:
            check_vocabulary(vocabulary, self.tokenization.kind)
        except ModelLoadError as error:
            raise ModelLoadError(f"[{path}]: {error}") from None
        return vocabulary


def check_model(path: Path, metadata: Metadata) -> str:
    """The SHA-256 in hex of a model's file that is what the metadata say.

    Raises:
        ModelLoadError: It is missing, or has another size or content.
    """
    try:
        size = path.stat().st_size
        if metadata.size is not None and size != metadata.size:
            raise ModelLoadError(
                f"[{path}] has {size} bytes, and its metadata say {metadata.size}; {_COPY_AGAIN}"
            )
        with files.opened(path) as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelLoadError(f"[{path}] cannot be read ({error.strerror}); {_COPY_AGAIN}") from error
    if metadata.sha256 is not None and found != metadata.sha256.lower():
        raise ModelLoadError(
            f"[{path}] has the SHA-256 {found}, and its metadata say {metadata.sha256}; {_COPY_AGAIN}"
        )
    return found


def names_in(directory: Path) -> list[str]:
    """The packages of a directory, by their metadata files."""
    found = directory.glob("*" + METADATA_SUFFIX)
    return sorted(path.name.removesuffix(METADATA_SUFFIX) for path in found if path.is_file())


def read(directory: Path, name: str) -> Package:
    """Raises:
    ModelLoadError: The metadata are missing, or those of a model that cannot rerank.
    """
    path = directory / (name + METADATA_SUFFIX)
    return package_of(directory, name, _decode(path, Metadata, MAX_METADATA_BYTES), str(path))


def package_of(directory: Path, name: str, metadata: Metadata, where: str) -> Package:
    """The package that metadata from `where` describe.

    Raises:
        ModelLoadError: They are those of a model that cannot rerank.
    """
    try:
        for file in (metadata.packaged_model_id, vocabulary_file(metadata)):
            if Path(file).name != file:
                raise ModelLoadError(f"[{file}] is not the name of a file beside it")
        if metadata.sha256 is not None and not _SHA256.fullmatch(metadata.sha256):
            raise ModelLoadError(f"[{metadata.sha256}] is no SHA-256 in hex")
        if metadata.model_type not in (None, "pytorch"):
            raise ModelLoadError(f"it is a model of type [{metadata.model_type}]; a reranker is [pytorch]")
        return Package(directory, name, metadata, read_tokenization(metadata.inference_config))
    except ModelLoadError as error:
        raise ModelLoadError(f"[{where}]: {error}") from None


def write(
    directory: Path, name: str, *, config: Mapping[str, Any], vocabulary: Mapping[str, Any] | Vocabulary
) -> Package:
    """Complete a package whose `NAME.pt` is in the directory already: write its vocabulary and metadata.

    Both appear at once and the metadata last, so that a directory with metadata is complete.

    Args:
        config: Of the trained model; `inference_config` is needed, what a package does not have is kept.

    Raises:
        ModelLoadError: The config or the vocabulary are not those of a reranker.
    """
    kind = read_tokenization(config.get("inference_config", {})).kind
    try:
        checked = msgspec.convert(msgspec.to_builtins(vocabulary), Vocabulary)
    except msgspec.ValidationError as error:
        raise ModelLoadError(f"the vocabulary cannot be used: {error}") from None
    write_vocabulary(directory / (name + VOCABULARY_SUFFIX), checked, kind)
    return describe(directory, name, config)


def write_vocabulary(path: Path, vocabulary: Vocabulary, kind: Kind) -> None:
    """Write a vocabulary's file, if this kind of tokenization can use it.

    Raises:
        ModelLoadError: It cannot, or it is larger than what is read.
    """
    check_vocabulary(vocabulary, kind)
    content = msgspec.json.encode(vocabulary)
    if len(content) > MAX_VOCABULARY_BYTES:
        raise ModelLoadError(f"the vocabulary has more than {MAX_VOCABULARY_BYTES} bytes")
    replace(path, content)


def describe(directory: Path, name: str, config: Mapping[str, Any]) -> Package:
    """Complete a package whose program and vocabulary are in the directory already: write its metadata.

    Raises:
        ModelLoadError: The config is not that of a reranker.
    """
    model = directory / (name + MODEL_SUFFIX)
    with model.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    metadata = {
        **config,
        "packaged_model_id": name,
        "model_type": "pytorch",
        "size": model.stat().st_size,
        "sha256": digest,
        "vocabulary_file": name + VOCABULARY_SUFFIX,
    }
    replace(directory / (name + METADATA_SUFFIX), msgspec.json.encode(metadata))
    return read(directory, name)


def replace(path: Path, content: bytes) -> None:
    """Write a file that is there as a whole or not at all."""
    part = path.with_name(path.name + ".new")
    part.write_bytes(content)
    os.replace(part, path)


def vocabulary_file(metadata: Metadata) -> str:
    return metadata.vocabulary_file or metadata.packaged_model_id + VOCABULARY_SUFFIX


def read_tokenization(inference_config: Mapping[str, Any]) -> Tokenization:
    """The tokenization of a trained model's `inference_config`.

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


def check_vocabulary(vocabulary: Vocabulary, kind: Kind) -> None:
    """Raises:
    ModelLoadError: It lacks what this kind of tokenization needs.
    """
    size = len(vocabulary.vocabulary)
    if size == 0:
        raise ModelLoadError("the vocabulary is empty")
    for what, count in (("tokens", size), ("merges", len(vocabulary.merges))):
        if count > MAX_TOKENS:
            raise ModelLoadError(f"the vocabulary has {count} {what}; at most {MAX_TOKENS} are taken")
    special = SPECIAL_TOKENS[kind]
    known = set(vocabulary.vocabulary)
    for token in (special.unk, special.pad, special.sep, special.cls):
        if token not in known:
            raise ModelLoadError(f"the vocabulary is missing required [{token}] token")
    if kind in ("xlm_roberta", "deberta_v2") and len(vocabulary.scores) != size:
        raise ModelLoadError(
            f"the vocabulary has {size} tokens and {len(vocabulary.scores)} scores; [{kind}] needs one each"
        )
    if kind == "roberta" and not vocabulary.merges:
        raise ModelLoadError("the vocabulary has no merges; [roberta] needs them")


def decode(content: bytes, kind: type[_T], where: str) -> _T:
    """Raises:
    ModelLoadError: It is not the JSON that it should be.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
        raise ModelLoadError(f"[{where}] cannot be read ({error}); {_COPY_AGAIN}") from None


def _decode(path: Path, kind: type[_T], limit: int) -> _T:
    try:
        return decode(files.read(path, limit), kind, str(path))
    except FileNotFoundError as error:
        raise ModelLoadError(f"[{path}] cannot be read ({error.strerror}); {_COPY_AGAIN}") from error
