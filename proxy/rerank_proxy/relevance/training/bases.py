"""The model that training starts from: a directory on this machine, and its kind."""

import hashlib
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Literal

from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.files import read_if_exists

Kind = Literal["bi-encoder", "cross-encoder"]
_OFFLINE: Final = {
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "WANDB_MODE": "disabled",
    "TOKENIZERS_PARALLELISM": "false",
}
_MAX_JSON: Final = 1 << 24
_IN_A_CACHE: Final = re.compile(r"models--(.+)")
_HEADING: Final = re.compile(r"^# +(.+?)[ \r]*$", re.MULTILINE)
_NAME: Final = re.compile(r"(?=.*[-_./0-9])[\w./-]+", re.ASCII)
_TOKENIZERS: Final = (
    "tokenizer.json",
    "vocab.txt",
    "vocab.json",
    "sentencepiece.bpe.model",
    "spiece.model",
    "spm.model",
    "tokenizer.model",
)
_POOLING: Final = "Pooling"
_HEAD: Final = "ForSequenceClassification"


def stay_on_this_machine() -> None:
    """Have the libraries that train send nothing, and ask no hub. They read this when they are imported."""
    os.environ.update(_OFFLINE)


def without_chatter() -> None:
    """Have transformers draw no progress bars of its own, and not warn of a head that is new."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    logging.set_verbosity_error()


def kind_of(directory: Path) -> Kind:
    """Tell the kind of a model by its files.

    Raises:
        RelevanceError: It is not a directory of transformers or sentence-transformers, or of another kind.
    """
    if not (directory / "config.json").is_file():
        raise RelevanceError(
            f"--base {directory}: is not a directory with a model (config.json is missing): give the path of "
            "one, or the name of a model of the settings whose source is one; the hub is not asked"
        )
    if not (directory / "model.safetensors").is_file():
        raise RelevanceError(f"--base {directory}: its weights must be in model.safetensors, in one file")
    if not any((directory / name).is_file() for name in _TOKENIZERS):
        raise RelevanceError(
            f"--base {directory}: has no tokenizer ({_TOKENIZERS[0]}): copy the tokenizer's files into it"
        )
    modules = [str(module.get("type", "")) for module in _json(directory / "modules.json", [])]
    if own := [module for module in modules if not module.startswith("sentence_transformers.")]:
        raise RelevanceError(
            f"--base {directory}: brings code of its own ({own[0]}), which training does not run: name "
            "another base"
        )
    if any(module.endswith(_POOLING) for module in modules):
        return "bi-encoder"
    architectures = _json(directory / "config.json", {}).get("architectures") or []
    if any(str(name).endswith(_HEAD) for name in architectures):
        return "cross-encoder"
    raise RelevanceError(
        f"--base {directory}: is neither a bi-encoder of sentence-transformers (modules.json with Pooling) "
        f"nor a cross-encoder ({_HEAD}); only these are trained"
    )


@contextmanager
def loading(directory: Path) -> Iterator[None]:
    """Say in a line why a model cannot be loaded.

    Raises:
        RelevanceError: It cannot.
    """
    try:
        yield
    except Exception as error:  # The libraries raise half a dozen kinds for damaged or unknown models.
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise RelevanceError(f"--base {directory}: cannot be loaded: {reason}") from None


def digest_of(directory: Path) -> str:
    """Return a digest of the weights, by which work that was done with them is found again."""
    with (directory / "model.safetensors").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def name_of(directory: Path) -> str:
    """Return the name by which others know a model: on the hub, or the title of its card, or its folder's.

    Folders are often called `model`, or by the digest of a snapshot; where they are stays on this machine.
    """
    for part in directory.absolute().parts:
        if (cached := _IN_A_CACHE.fullmatch(part)) is not None:
            return cached[1].replace("--", "/", 1)
    card = read_if_exists(directory / "README.md", _MAX_JSON) or b""
    title = _HEADING.search(card.decode("utf-8", "replace"))
    if title is not None and _NAME.fullmatch(title[1]) is not None:
        return title[1]
    return directory.absolute().name


def _json(path: Path, missing: Any) -> Any:
    content = read_if_exists(path, _MAX_JSON)
    try:
        return missing if content is None else json.loads(content)
    except (ValueError, RecursionError):
        raise RelevanceError(f"{path}: cannot be read as JSON") from None
