"""Backends of other Python packages: entry points of the group `rerank_proxy.backends`.

For a backend `mine`, such a package has in its pyproject.toml:

    [project.entry-points."rerank_proxy.backends"]
    mine = "my_package.backend"

and a model with `backend: mine` in the settings is loaded by `my_package.backend.load`; see `Plugin`.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points
from itertools import groupby, pairwise
from pathlib import Path
from typing import Final, Protocol, cast

import numpy as np
from numpy.typing import NDArray

from rerank_proxy.engine.encoding.scorers import CrossEncoder
from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.loaded_model import LoadedModel
from rerank_proxy.engine.loading.sources.source import fingerprint_of_all
from rerank_proxy.engine.rows import Batch, Row
from rerank_proxy.settings import EngineSettings, ModelSettings

GROUP: Final = "rerank_proxy.backends"
BUILT_IN: Final = ("auto", "torch", "onnx")
"""The backends of the proxy itself."""

_BUDGET_TOKENS: Final = 2048
_TOKEN_BYTES: Final = 4
_FILLING: Final = b"\xff"
"""A byte that UTF-8 never has."""


class PluginModel(Protocol):
    """A model that a plug-in has loaded."""

    def score(self, query: str, texts: Sequence[str]) -> Sequence[float]:
        """Return one raw score per text, in the order of the texts. The larger, the better the text.

        Called by one thread only. The texts are cut to `engine.text_characters` only: the model itself cuts
        what is too long for it. Scores are remembered, so the same text has to get the same score. An
        exception fails these texts alone.
        """


class Plugin(Protocol):
    """What an entry point names: a module, or another object with this function."""

    def load(self, directory: Path, settings: ModelSettings, engine: EngineSettings) -> PluginModel:
        """Load a model. Called on a separate thread, which may take its time.

        A model may have a mapping `info` of strings for people, with the keys `device`, `precision` and
        `max_length`.

        Args:
            directory: Its files. Those of a hub id or a repository have been downloaded.
            settings: Of the model. The engine applies `activation`, the plug-in all others.
            engine: The plug-in applies `device`, `precision` and `threads`.

        Raises:
            ModelLoadError: It cannot be loaded. One line: what is wrong, what to do.
        """


@dataclass(frozen=True, slots=True)
class InstalledPlugin:
    """A plug-in that was found."""

    name: str
    package: str
    """The Python package and its version, for people, and for the fingerprint of the model."""
    plugin: Plugin

    def load(self, directory: Path, settings: ModelSettings, engine: EngineSettings) -> LoadedModel:
        """Load a model with the plug-in.

        Raises:
            ModelLoadError: As `Plugin.load`.
        """
        model = self.plugin.load(directory, settings, engine)
        run = settings.model_dump(mode="json", exclude={"preload"})
        run |= {"package": self.package, "engine": (engine.device, engine.precision)}
        identity = fingerprint_of_all(directory, run)
        about: Mapping[str, str] = getattr(model, "info", {})
        return LoadedModel(
            scorer=CrossEncoder(identity, _TextsAsRows(), activation=settings.activation),
            backend=_TextBackend(model),
            budget_tokens=engine.budget_tokens or _BUDGET_TOKENS,
            info={
                "kind": "cross-encoder",
                "architecture": f"{self.name} ({self.package})",
                **{key: str(about.get(key, "unknown")) for key in ("device", "precision", "max_length")},
                "padded": "false",
                "fingerprint": identity,
            },
        )


def find(name: str) -> InstalledPlugin:
    """Find the plug-in of a name.

    Raises:
        ModelLoadError: No installed package has a backend of that name, or it is broken.
    """
    entries = {entry.name: entry for entry in entry_points(group=GROUP)}
    if name not in entries:
        known = ", ".join([*BUILT_IN, *sorted(entries)])
        raise ModelLoadError(
            f"there is no backend [{name}]; there are: {known}. Install the package that has it, or "
            "correct the model's [backend]"
        )
    entry = entries[name]
    return InstalledPlugin(name, _package(entry), _import(entry))


def _package(entry: EntryPoint) -> str:
    return f"{entry.dist.name} {entry.dist.version}" if entry.dist else entry.value


def _import(entry: EntryPoint) -> Plugin:
    try:
        plugin = entry.load()
    except Exception as error:  # Importing runs the package's code.
        reason = " ".join(str(error).split())
        raise ModelLoadError(
            f"backend [{entry.name}] of {_package(entry)} cannot be imported "
            f"({type(error).__name__}: {reason}); fix or remove that package"
        ) from error
    if not callable(getattr(plugin, "load", None)):
        raise ModelLoadError(
            f"backend [{entry.name}] of {_package(entry)} has no function [load]; fix that package"
        )
    return cast("Plugin", plugin)


class _TextsAsRows:
    """A `PairEncoder` whose tokens are the texts themselves: four bytes each, the average of real tokens.

    So queue, batches and limits are those of any model. The query has the segment id 0, the text 1.
    """

    view = None

    def encode(self, query: str, texts: Sequence[str]) -> Iterator[list[Row]]:
        first = _pack(query)
        for text in texts:
            yield [self._row(first, _pack(text))]

    @staticmethod
    def _row(query: NDArray[np.int32], text: NDArray[np.int32]) -> Row:
        types = np.repeat(np.array([0, 1], np.uint8), [len(query), len(text)])
        return Row(np.concatenate([query, text]), types, truncated=False)


class _TextBackend:
    """A `Backend` that hands the texts of a batch to the model, those of one query together."""

    padded = False
    serial = True

    def __init__(self, model: PluginModel) -> None:
        self._model = model

    def score(self, batch: Batch) -> NDArray[np.float32]:
        scores: list[float] = []
        for query, pairs in groupby(_pairs(batch), key=lambda pair: pair[0]):
            texts = [text for _, text in pairs]
            given = self._model.score(query, texts)
            if len(given) != len(texts):
                raise ValueError(f"the backend gave {len(given)} scores for {len(texts)} texts")
            scores.extend(map(float, given))
        return np.array(scores, np.float32)[:, None]


def _pairs(batch: Batch) -> list[tuple[str, str]]:
    bounds = [0, *np.cumsum(batch.lengths).tolist()]
    pairs = []
    for start, end in pairwise(bounds):
        ids, is_text = batch.ids[start:end], batch.type_ids[start:end] == 1
        pairs.append((_unpack(ids[~is_text]), _unpack(ids[is_text])))
    return pairs


def _pack(text: str) -> NDArray[np.int32]:
    data = text.encode()
    return np.frombuffer(data + _FILLING * (_TOKEN_BYTES - len(data) % _TOKEN_BYTES), np.int32)


def _unpack(ids: NDArray[np.int64]) -> str:
    return ids.astype(np.int32).tobytes().rstrip(_FILLING).decode()
