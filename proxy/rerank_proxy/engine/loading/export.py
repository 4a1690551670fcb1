"""Make the ONNX file of a checkpoint, for the backend `onnx`. Imports torch and transformers."""

import contextlib
import io
import logging
import os
import shutil
import tempfile
import warnings
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from rerank_proxy.engine.backends import onnx
from rerank_proxy.engine.encoding.encode import gathered
from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.building.checkpoint import (
    first_line,
    load_tokenizer,
    load_transformer,
    quieten,
)
from rerank_proxy.engine.loading.choosing.backend_choice import takes_type_ids
from rerank_proxy.engine.loading.load import load_checkpoint
from rerank_proxy.engine.loading.load_onnx import check_kind, load_onnx
from rerank_proxy.engine.loading.loaded_model import LoadedModel
from rerank_proxy.engine.loading.reading import profile as profiles
from rerank_proxy.engine.loading.reading.onnx_file import PLACES
from rerank_proxy.engine.loading.reading.profile import Profile
from rerank_proxy.engine.loading.sources.offline import restrain_libraries
from rerank_proxy.engine.loading.sources.source import resolve
from rerank_proxy.engine.rows import Batch
from rerank_proxy.settings import EngineSettings, ModelSettings

_EXTRAS: Final = 'pip install "rerank-proxy[onnx,export]"'

_LARGEST_INLINE: Final = 450_000_000
"""Weights, of four bytes, beyond which they lie in a file of their own: an ONNX file has at most 2 GiB."""

_TOLERANCE: Final = 1e-4
"""Largest difference that is rounding, relative to the outputs."""

_COPIED: Final = ("*.json", "*.txt", "*.jinja")
_MODULE_WEIGHTS: Final = "*.safetensors"
_INDEX: Final = ".index.json"
_DIRECTORY: Final = "onnx"

_QUERIES: Final = ("which river is the longest?", "", "Brücke 北京 naïve 42")
_TEXTS: Final = (
    "The Nile, some say; others the Amazon.",
    "",
    "a text of another length, beside which some has to be filled up " * 8,
    "zwölf Boxkämpfer\n jagen  Viktor quer über den großen Sylter Deich",
    "北京 and 東京, [SEP] </s> <pad>, UPPER CASE, 1,024 — and 3.14",
    "x" * 200,
)


def export(source: str, out: Path | None, *, offline: bool) -> Path:
    """Make the ONNX file of a checkpoint, and compare its outputs with torch's before it is there.

    Args:
        source: A directory or the id of a model on the hub.
        out: A directory that is made for the file and all else that the backend `onnx` needs; None: the file
            is put beside the weights.

    Returns:
        The ONNX file.

    Raises:
        ModelLoadError: It cannot be exported, or the file's outputs differ. Nothing is written.
    """
    restrain_libraries(offline=offline)
    _check_libraries()
    directory = resolve(source, None, offline=offline)
    profile = profiles.read(directory)
    check_kind(profile, ModelSettings(source=source))
    relative = profile.directory.relative_to(directory)
    target = profile.directory / _DIRECTORY if out is None else out
    if target.exists():
        raise ModelLoadError(f"[{target}] is there already; remove it, or name another directory")
    parent = target.absolute().parent
    parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=parent, prefix=f".{target.name}.new-") as temporary:
        made = Path(temporary) / "made"
        _copy_descriptions(directory, profile, made)
        _write_graph(profile, made / relative / PLACES[0], tokenizer_too=out is not None)
        _compare(directory, made)
        os.rename(made if out is not None else made / relative / _DIRECTORY, target)
    return target / Path(PLACES[0]).name if out is None else out / relative / PLACES[0]


def _check_libraries() -> None:
    for library in ("onnxruntime", "onnxscript"):
        if find_spec(library) is None:
            raise ModelLoadError(f"an export needs the library {library}: {_EXTRAS}")


def _copy_descriptions(directory: Path, profile: Profile, made: Path) -> None:
    """Copy all that is read beside the weights, at the top and in the directories of modules."""
    places = {directory, profile.directory, *(module.directory for module in profile.head)}
    for place in sorted(places):
        weights = (_MODULE_WEIGHTS,) if place not in (directory, profile.directory) else ()
        for path in (path for pattern in (*_COPIED, *weights) for path in sorted(place.glob(pattern))):
            if path.is_file() and not path.name.endswith(_INDEX):
                target = made / path.relative_to(directory)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(path, target)


def _write_graph(profile: Profile, path: Path, *, tokenizer_too: bool) -> None:
    quieten()
    model = load_transformer(profile)
    if model.config.is_encoder_decoder and not profile.head:
        raise ModelLoadError(
            f"[{profile.directory}] cannot be exported: the rows of its batches need equally many ends, "
            "which no ONNX graph checks; use the backend [torch]"
        )
    # Its graph takes three quarters of the time of that of torch's fused attention, which guards against rows
    # without tokens.
    model.set_attn_implementation("eager")
    tokenizer = load_tokenizer(profile, model)
    if tokenizer_too:
        _write_tokenizer(tokenizer.transformers, path.parent.parent)
    names = onnx.INPUTS if takes_type_ids(model, tokenizer) else onnx.INPUTS[:2]
    output = "last_hidden_state" if profile.head else "logits"
    examples = tuple(torch.ones(2, 8, dtype=torch.long) for _ in names)
    axes = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    path.parent.mkdir(parents=True)
    try:
        with _silence():
            torch.onnx.export(
                _Named(model, names, output).eval(),
                examples,
                str(path),
                input_names=list(names),
                output_names=[output],
                dynamic_shapes=(tuple(axes for _ in names),),
                external_data=sum(each.numel() for each in model.parameters()) > _LARGEST_INLINE,
                dynamo=True,
                verbose=False,
            )
    except Exception as error:  # The exporter raises its own kinds for what it does not know.
        raise ModelLoadError(
            f"[{profile.directory}] cannot be exported by torch ({first_line(error)}); use the backend "
            "[torch]"
        ) from error


class _Named(nn.Module):
    """A model of transformers that takes its inputs by position and gives one output."""

    def __init__(self, model: Any, names: Sequence[str], output: str) -> None:
        super().__init__()
        self.model = model
        self.names = names
        self.output = output

    def forward(self, *inputs: Tensor) -> Tensor:
        output: Tensor = getattr(self.model(**dict(zip(self.names, inputs, strict=True))), self.output)
        return output


def _write_tokenizer(tokenizer: Any, directory: Path) -> None:
    """Write the tokenizer that transformers has built, as one to be taken as it is written."""
    if not tokenizer.is_fast:
        raise ModelLoadError(
            f"[{directory}] has a tokenizer that the library tokenizers does not know; use the backend "
            "[torch]"
        )
    tokenizer.backend_tokenizer.save(str(directory / "tokenizer.json"))
    said = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "model_max_length": tokenizer.model_max_length,
        "model_input_names": tokenizer.model_input_names,
        "pad_token": tokenizer.pad_token,
    }
    (directory / "tokenizer_config.json").write_bytes(msgspec.json.encode(said))
    for name in ("special_tokens_map.json", "added_tokens.json"):
        (directory / name).unlink(missing_ok=True)


def _compare(directory: Path, made: Path) -> None:
    """Compare tokens and outputs of both backends.

    Raises:
        ModelLoadError: They differ.
    """
    engine = EngineSettings(device="cpu", precision="fp32", offline=True)
    settings = ModelSettings(source=str(directory))
    expected = load_checkpoint(directory, settings, engine, nullcontext, lambda size_bytes: None)
    actual = load_onnx(made, ModelSettings(source=str(made)), engine)
    for query in _QUERIES:
        rows = [_rows(model, query) for model in (expected, actual)]
        same = all(
            np.array_equal(first.ids, second.ids) and np.array_equal(first.type_ids, second.type_ids)
            for first, second in zip(*rows, strict=True)
        )
        if not same:
            raise ModelLoadError(
                f"[{directory}]: its tokenizer.json gives other tokens than transformers does; export it "
                "into a directory of its own, for which a tokenizer.json is written that gives the same"
            )
        batch = Batch.of(rows[0])
        wanted = np.asarray(expected.backend.score(batch))
        difference = float(np.abs(actual.backend.score(batch) - wanted).max())
        if not difference <= _TOLERANCE * max(1.0, float(np.abs(wanted).max())):
            raise ModelLoadError(
                f"[{directory}] cannot be exported: its outputs differ by {difference:.1e} from those of "
                "torch; use the backend [torch]"
            )


def _rows(model: LoadedModel, query: str) -> list[Any]:
    return gathered(model.scorer.encode(query, _TEXTS, range(model.scorer.texts_at + len(_TEXTS))))


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Leave out what the exporter prints, logs and warns of for developers."""
    before = logging.root.manager.disable
    logging.disable(logging.CRITICAL)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
