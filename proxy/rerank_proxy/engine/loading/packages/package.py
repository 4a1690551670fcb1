"""Elasticsearch's model packages: three files, what they say, and whether they fit together.

`NAME.metadata.json` describes the model, `NAME.pt` is a TorchScript program with its weights, and
`NAME.vocab.json` has the vocabulary. Sources: `ModelPackageConfig` of
`org.elasticsearch.xpack.core.ml.inference.trainedmodel`, `ModelLoaderUtils` of the package loader.
"""

import hashlib
import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.packages.tokenization import Tokenization, read_tokenization
from rerank_proxy.engine.loading.packages.vocabulary import MAX_VOCABULARY_BYTES, Vocabulary, check_vocabulary
from rerank_proxy.engine.loading.reading import model_files
from rerank_proxy.engine.loading.reading.model_files import COPY_AGAIN

METADATA_SUFFIX: Final = ".metadata.json"
MODEL_SUFFIX: Final = ".pt"
VOCABULARY_SUFFIX: Final = ".vocab.json"

MAX_METADATA_BYTES: Final = 1024 * 1024

_SHA256: Final = re.compile(r"[0-9a-fA-F]{64}")
_T = TypeVar("_T")


class Metadata(msgspec.Struct, frozen=True):
    """The metadata file, as far as it is needed here."""

    packaged_model_id: str
    inference_config: dict[str, Any]
    model_type: str | None = None
    size: int | None = None
    """Bytes of the model's file."""
    sha256: str | None = None
    """Of the model's file, in hex."""
    vocabulary_file: str | None = None

    @property
    def vocabulary_name(self) -> str:
        """The name of the vocabulary's file."""
        return self.vocabulary_file or self.packaged_model_id + VOCABULARY_SUFFIX


@dataclass(frozen=True)
class Package:
    """A package in a directory. Its metadata have been read and checked, the other files have not."""

    directory: Path
    name: str
    metadata: Metadata
    tokenization: Tokenization

    @property
    def model_path(self) -> Path:
        """The file of the TorchScript program."""
        return self.directory / (self.metadata.packaged_model_id + MODEL_SUFFIX)

    @property
    def vocabulary_path(self) -> Path:
        """The file of the vocabulary."""
        return self.directory / self.metadata.vocabulary_name

    @cached_property
    def sha256(self) -> str:
        """The SHA-256 of the model's file, in hex, once it is what the metadata say.

        Raises:
            ModelLoadError: It is missing, or has another size or content.
        """
        return check_model(self.model_path, self.metadata)

    def read_vocabulary(self) -> Vocabulary:
        """Read the vocabulary.

        Raises:
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
    """Check that a model's file is what the metadata say. Return its SHA-256 in hex.

    Raises:
        ModelLoadError: It is missing, or has another size or content.
    """
    try:
        size = path.stat().st_size
        if metadata.size is not None and size != metadata.size:
            raise ModelLoadError(
                f"[{path}] has {size} bytes, and its metadata say {metadata.size}; {COPY_AGAIN}"
            )
        with model_files.opened(path) as file:
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise ModelLoadError(f"[{path}] cannot be read ({error.strerror}); {COPY_AGAIN}") from error
    if metadata.sha256 is not None and found != metadata.sha256.lower():
        raise ModelLoadError(
            f"[{path}] has the SHA-256 {found}, and its metadata say {metadata.sha256}; {COPY_AGAIN}"
        )
    return found


def names_in(directory: Path) -> list[str]:
    """Return the names of the packages in a directory, which those of their metadata files tell."""
    found = directory.glob("*" + METADATA_SUFFIX)
    return sorted(path.name.removesuffix(METADATA_SUFFIX) for path in found if path.is_file())


def read(directory: Path, name: str) -> Package:
    """Read the metadata of a package.

    Raises:
        ModelLoadError: They are missing, or those of a model that cannot rerank.
    """
    path = directory / (name + METADATA_SUFFIX)
    return package_of(directory, name, _decode(path, Metadata, MAX_METADATA_BYTES), str(path))


def package_of(directory: Path, name: str, metadata: Metadata, where: str) -> Package:
    """Return the package that metadata from `where` describe.

    Raises:
        ModelLoadError: They are those of a model that cannot rerank.
    """
    try:
        for file in (metadata.packaged_model_id, metadata.vocabulary_name):
            if Path(file).name != file:
                raise ModelLoadError(f"[{file}] is not the name of a file beside it")
        if metadata.sha256 is not None and not _SHA256.fullmatch(metadata.sha256):
            raise ModelLoadError(f"[{metadata.sha256}] is not a SHA-256 in hex")
        if metadata.model_type not in (None, "pytorch"):
            raise ModelLoadError(f"it is a model of type [{metadata.model_type}]; a reranker is [pytorch]")
        return Package(directory, name, metadata, read_tokenization(metadata.inference_config))
    except ModelLoadError as error:
        raise ModelLoadError(f"[{where}]: {error}") from None


def decode(content: bytes, kind: type[_T], where: str) -> _T:
    """Decode JSON from `where`.

    Raises:
        ModelLoadError: It is not the JSON that it should be.
    """
    try:
        return msgspec.json.decode(content, type=kind)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
        raise ModelLoadError(f"[{where}] cannot be read ({error}); {COPY_AGAIN}") from None


def _decode(path: Path, kind: type[_T], limit: int) -> _T:
    try:
        return decode(model_files.read(path, limit), kind, str(path))
    except FileNotFoundError as error:
        raise ModelLoadError(f"[{path}] cannot be read ({error.strerror}); {COPY_AGAIN}") from error
