"""A model's files in the forms that other programs read, above all Eland with the libraries that it takes.

transformers writes all of a tokenizer into `tokenizer.json`; Eland builds its tokenizer without that file.
sentence-transformers 6 names modules by where they are now; versions before it only know the former places,
which it knows, too.
"""

import json
import shutil
from pathlib import Path
from typing import Any, Final

from rerank_proxy.files.atomic import replace
from rerank_proxy.relevance.files import read_if_exists

_FILES: Final = (
    "vocab.txt",
    "vocab.json",
    "merges.txt",
    "sentencepiece.bpe.model",
    "spiece.model",
    "spm.model",
    "tokenizer.model",
)
_KNOWN: Final = frozenset({"Transformer", "Pooling", "Dense", "Normalize"})
"""Modules that every version has."""
_MAX_JSON: Final = 1 << 28


def make_portable(directory: Path, base: Path) -> None:
    """Add a vocabulary to a model, of its base or of `tokenizer.json`, and name modules as they always were.

    Raises:
        OSError: The files cannot be written.
    """
    if not (directory / "tokenizer.json").is_file():
        return
    _add_vocabulary(directory, base)
    path = directory / "modules.json"
    modules = json.loads(read_if_exists(path, _MAX_JSON) or b"[]")
    names = [str(module.get("type", "")).rpartition(".")[2] for module in modules]
    if "Pooling" in names and _KNOWN.issuperset(names):
        for module, name in zip(modules, names, strict=True):
            module["type"] = f"sentence_transformers.models.{name}"
        replace(path, json.dumps(modules, indent=2).encode(), 0o644)


def _add_vocabulary(directory: Path, base: Path) -> None:
    for name in _FILES:
        if (base / name).is_file() and not (directory / name).exists():
            shutil.copyfile(base / name, directory / name)
    if not any((directory / name).exists() for name in _FILES):
        model = json.loads(read_if_exists(directory / "tokenizer.json", _MAX_JSON) or b"{}").get("model", {})
        if model.get("type") == "WordPiece":
            replace(directory / "vocab.txt", _lines(model["vocab"]), 0o644)


def _lines(numbers: dict[str, Any]) -> bytes:
    """Return the words in the order of their numbers, one in a line."""
    return "".join(f"{word}\n" for word in sorted(numbers, key=lambda word: numbers[word])).encode()
