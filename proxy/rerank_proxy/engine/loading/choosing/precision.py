"""Choose the precision that a model runs in, and check that it keeps the model's order of texts.

Every lower precision, and every other library than torch, is compared with torch's fp32 on the probes of
`probes.py`. `auto` measures those that pass, once for a model and machine, and remembers the fastest in a
small file.
"""

import hashlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec
import torch

from rerank_proxy import __version__
from rerank_proxy.engine.backends.cpu import flags, processor_name
from rerank_proxy.engine.backends.protocol import Backend
from rerank_proxy.engine.encoding.scorers import Scorer
from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.choosing.parity import (
    MIN_OVERLAP,
    MIN_SPEARMAN,
    Floats,
    compare,
    probe_rows,
    probe_scores,
    run,
)
from rerank_proxy.engine.loading.sources import repository
from rerank_proxy.engine.rows import Row
from rerank_proxy.files.atomic import replace
from rerank_proxy.files.regular import UnfitFileError, read_if_exists
from rerank_proxy.observe.build import installed
from rerank_proxy.settings import EngineSettings

_log = logging.getLogger(__name__)

Precision = Literal["fp32", "int8", "bf16", "fp16"]
TORCH: Final = "torch"


@dataclass(frozen=True, slots=True)
class OtherWay:
    """How a model can run on the CPU by another library than torch."""

    library: str
    precision: Precision
    build_alone: Callable[[], Backend]
    """Builds it for one thread and one batch at a time, as it is measured."""
    build: Callable[[], Backend]
    """Builds it for all workers."""

    def __str__(self) -> str:
        return f"{self.precision} by {self.library}"


@dataclass(frozen=True, slots=True)
class Chosen:
    """How a model runs."""

    backend: Backend
    precision: Precision
    library: str = TORCH

    def __str__(self) -> str:
        """Tell ways from one another whose outputs differ."""
        return self.precision if self.library == TORCH else f"{self.precision} by {self.library}"


@dataclass(frozen=True, slots=True)
class Ways:
    """How a model can run on its device."""

    build: Mapping[Precision, Callable[[], Backend]]
    """fp32 and others, each built when it is called. None of them changes another."""
    measured: Sequence[Precision] = ()
    """Those that `auto` measures beside fp32."""
    default: Precision = "fp32"
    clock: Callable[[], float] = time.thread_time
    """Tells what a batch costs, in seconds."""
    others: Sequence[OtherWay] = ()
    """What `auto` measures besides."""
    drop_others: Callable[[], None] = lambda: None
    """Removes what they have left on disk."""


_FILE: Final = "precision.json"
_MOST_REMEMBERED: Final = 500
_MAX_BYTES: Final = 1024 * 1024
_ROUNDS: Final = 3
_MEASURED_TOKENS: Final = 2048
_GAIN: Final = 1.05
"""How many times as fast as fp32 another one must be: less would be noise."""


class _Remembered(msgspec.Struct):
    """What `auto` has found for a model and machine."""

    precision: Precision
    library: str = TORCH


def choose_precision(
    source: str, engine: EngineSettings, ways: Ways, scorer: Scorer, fingerprint: str
) -> Chosen:
    """Return how a model runs by the settings.

    Args:
        source: Names the model in messages.
        scorer: Encodes the probes.
        fingerprint: Of the model's files and how they are used.

    Raises:
        ModelLoadError: The precision that is asked for changes the order of texts, or there is none such.
    """
    chooser = _Chooser(source, scorer, ways)
    match engine.precision:
        case None:
            return Chosen(ways.build[ways.default](), ways.default)
        case "auto":
            directory = engine.artifacts_dir or repository.default_artifacts_dir()
            return chooser.fastest(fingerprint, directory.expanduser())
        case precision:
            return Chosen(chooser.checked(precision), precision)


class _Chooser:
    def __init__(self, source: str, scorer: Scorer, ways: Ways) -> None:
        self._source = source
        self._scorer = scorer
        self._ways = ways

    def checked(self, precision: Precision) -> Backend:
        """Build the backend of a precision, and compare it with fp32.

        Raises:
            ModelLoadError: There is none here, or its order of texts is too different.
        """
        if precision == "fp32":
            return self._ways.build["fp32"]()
        rows = probe_rows(self._scorer)
        expected = probe_scores(self._scorer, self._ways.build["fp32"](), rows)
        backend, problem = self._tried(precision, self._ways.build.get(precision), rows, expected)
        if backend is None:
            raise ModelLoadError(
                f"[{self._source}] does not run with engine.precision [{precision}]: {problem}; set it to "
                "`fp32`, or to `auto`"
            )
        return backend

    def fastest(self, fingerprint: str, directory: Path) -> Chosen:
        """Return the fastest of the ways that keep the order.

        Args:
            directory: Where it is remembered.
        """
        key = _key(fingerprint)
        known = _read(directory).get(key)
        chosen = None if known is None else self._again(known)
        if chosen is None:
            chosen = self._measure()
            _remember(directory, key, _Remembered(chosen.precision, chosen.library))
        return chosen

    def _again(self, known: _Remembered) -> Chosen | None:
        """Build what was chosen before; None if that is no longer possible."""
        for way in self._ways.others:
            if (way.library, way.precision) == (known.library, known.precision):
                try:
                    return Chosen(way.build(), way.precision, way.library)
                except Exception as error:  # The file that was made is damaged, or a library …
                    _log.warning("[%s] does not run in %s any more: %s", self._source, way, error)
        build = self._ways.build.get(known.precision) if known.library == TORCH else None
        return None if build is None else Chosen(build(), known.precision)

    def _measure(self) -> Chosen:
        rows = probe_rows(self._scorer)
        exact = self._ways.build["fp32"]()
        expected = probe_scores(self._scorer, exact, rows)
        passed: dict[str, Backend] = {"fp32": exact}
        precisions = {str(each): self._ways.build.get(each) for each in self._ways.measured}
        others = {str(way): way for way in self._ways.others}
        for name, build in {
            **precisions,
            **{name: way.build_alone for name, way in others.items()},
        }.items():
            backend, problem = self._tried(name, build, rows, expected)
            if backend is None:
                _log.info("[%s] does not run in %s: %s", self._source, name, problem)
            else:
                passed[name] = backend
        best = self._best(_seconds(passed, _longest(rows), self._ways.clock))
        if best in others:
            way = others[best]
            return Chosen(way.build(), way.precision, way.library)
        self._ways.drop_others()
        return Chosen(passed[best], msgspec.convert(best, Precision))

    def _best(self, seconds: Mapping[str, float]) -> str:
        best = min(seconds, key=lambda each: seconds[each] * (1 if each == "fp32" else _GAIN))
        told = ", ".join(f"{name} {seconds['fp32'] / spent:.2f}" for name, spent in seconds.items())
        _log.info("[%s] runs in %s, by speed relative to fp32: %s", self._source, best, told)
        return best

    def _tried(
        self,
        name: str,
        build: Callable[[], Backend] | None,
        rows: Sequence[Sequence[Row]],
        expected: Sequence[Floats],
    ) -> tuple[Backend | None, str]:
        """Return the backend of a way if it keeps the order; otherwise why it does not."""
        if build is None:
            return None, "there is no such way to run this kind of model on this device"
        try:
            backend = build()
            parity = compare(expected, probe_scores(self._scorer, backend, rows))
        except Exception as error:  # Libraries lack instructions, or operations in a type.
            _log.debug("a way to run a model failed", exc_info=True)
            return None, f"{type(error).__name__}: {' '.join(str(error).split())}"
        if not parity.is_enough:
            return None, (
                f"its order is too different from that in fp32 ({parity}; at least {MIN_SPEARMAN} and "
                f"{MIN_OVERLAP} are needed)"
            )
        _log.info("[%s] in %s against fp32: %s", self._source, name, parity)
        return backend, ""


def _longest(rows: Sequence[Sequence[Row]]) -> list[Row]:
    """Return the longest rows of all, about a batch of them."""
    chosen: list[Row] = []
    tokens = 0
    for row in sorted((each for some in rows for each in some), key=len, reverse=True):
        if tokens >= _MEASURED_TOKENS:
            break
        chosen.append(row)
        tokens += len(row)
    return chosen


def _seconds(
    backends: Mapping[str, Backend], rows: Sequence[Row], clock: Callable[[], float]
) -> dict[str, float]:
    """Return what the rows cost each, on one thread of the processor: the least of some rounds in turn."""
    spent: dict[str, list[float]] = {name: [] for name in backends}
    with _one_thread():
        for _ in range(_ROUNDS):
            for name, backend in backends.items():
                started = clock()
                run(backend, rows)
                spent[name].append(clock() - started)
    return {name: min(seconds) for name, seconds in spent.items()}


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _key(fingerprint: str) -> str:
    libraries = installed(("onnxruntime", "onnxscript", "openvino"))
    machine = (processor_name(), sorted(flags()), torch.__version__, __version__, libraries)
    return hashlib.sha256(repr((fingerprint, machine)).encode()).hexdigest()


def _read(directory: Path) -> dict[str, _Remembered]:
    try:
        content = read_if_exists(directory / _FILE, _MAX_BYTES)
        return msgspec.json.decode(content, type=dict[str, _Remembered]) if content else {}
    except (OSError, UnfitFileError, UnicodeDecodeError, msgspec.DecodeError) as error:
        _log.warning("what was measured before is not used: %s", error)
        return {}


def _remember(directory: Path, key: str, chosen: _Remembered) -> None:
    kept = dict(list(_read(directory).items())[1 - _MOST_REMEMBERED :])
    kept[key] = chosen
    try:
        directory.mkdir(parents=True, exist_ok=True)
        replace(directory / _FILE, msgspec.json.encode(kept))
    except (OSError, UnfitFileError) as error:
        _log.warning("what was measured is not kept, and measured again by the next load: %s", error)
