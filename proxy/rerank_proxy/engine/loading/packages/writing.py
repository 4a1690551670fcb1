"""Write the files of a model package: its vocabulary, and its metadata, which come last.

A directory with metadata is a complete package.
"""

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.packages import package
from rerank_proxy.engine.loading.packages.package import (
    METADATA_SUFFIX,
    MODEL_SUFFIX,
    VOCABULARY_SUFFIX,
    Package,
)
from rerank_proxy.engine.loading.packages.tokenization import Kind
from rerank_proxy.engine.loading.packages.vocabulary import MAX_VOCABULARY_BYTES, Vocabulary, check_vocabulary
from rerank_proxy.files.atomic import replace

FILE_MODE: Final = 0o666
"""Readable by others, as far as the umask allows: a model may be shared."""


def write_vocabulary(path: Path, vocabulary: Vocabulary, kind: Kind) -> None:
    """Write the file of a vocabulary.

    Raises:
        ModelLoadError: This kind of tokenization cannot use it, or it is larger than what is read.
    """
    check_vocabulary(vocabulary, kind)
    content = msgspec.json.encode(vocabulary)
    if len(content) > MAX_VOCABULARY_BYTES:
        raise ModelLoadError(f"the vocabulary has more than {MAX_VOCABULARY_BYTES} bytes")
    replace(path, content, FILE_MODE)


def describe(directory: Path, name: str, config: Mapping[str, Any]) -> Package:
    """Complete a package whose program and vocabulary are in the directory: write its metadata.

    Args:
        config: Of the trained model, with `inference_config`.

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
    replace(directory / (name + METADATA_SUFFIX), msgspec.json.encode(metadata), FILE_MODE)
    return package.read(directory, name)
