"""Choose the precision that a model runs in, and check that it keeps the model's order of texts.

Every lower precision is compared with fp32 on the probes of `probes.py`. `auto` measures those that pass,
once for a model and machine, and remembers the fastest in a small file.
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
from rerank_proxy.settings import EngineSettings

_log = logging.getLogger(__name__)

Precision = Literal["fp32", "int8", "bf16", "fp16"]


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


def choose_precision(
    source: str, engine: EngineSettings, ways: Ways, scorer: Scorer, fingerprint: str
) -> tuple[Precision, Backend]:
    """Return the precision of a model by the settings, and its backend.

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
            return ways.default, ways.build[ways.default]()
        case "auto":
            directory = engine.artifacts_dir or repository.default_artifacts_dir()
            return chooser.fastest(fingerprint, directory.expanduser())
        case precision:
            return precision, chooser.checked(precision)


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
        backend, problem = self._tried(precision, rows, expected)
        if backend is None:
            raise ModelLoadError(
                f"[{self._source}] does not run with engine.precision [{precision}]: {problem}; set it to "
                "`fp32`, or to `auto`"
            )
        return backend

    def fastest(self, fingerprint: str, directory: Path) -> tuple[Precision, Backend]:
        """Return the fastest of the precisions that keep the order, and its backend.

        Args:
            directory: Where it is remembered.
        """
        key = _key(fingerprint)
        known = _read(directory).get(key)
        if known is not None and known.precision in self._ways.build:
            return known.precision, self._ways.build[known.precision]()
        precision, backend = self._measure()
        _remember(directory, key, precision)
        return precision, backend

    def _measure(self) -> tuple[Precision, Backend]:
        rows = probe_rows(self._scorer)
        exact = self._ways.build["fp32"]()
        expected = probe_scores(self._scorer, exact, rows)
        passed: dict[Precision, Backend] = {"fp32": exact}
        for precision in self._ways.measured:
            backend, problem = self._tried(precision, rows, expected)
            if backend is None:
                _log.info("[%s] does not run in %s: %s", self._source, precision, problem)
            else:
                passed[precision] = backend
        seconds = _seconds(passed, _longest(rows), self._ways.clock)
        best = min(seconds, key=lambda each: seconds[each] * (1 if each == "fp32" else _GAIN))
        told = ", ".join(f"{name} {seconds['fp32'] / spent:.2f}" for name, spent in seconds.items())
        _log.info("[%s] runs in %s, by speed relative to fp32: %s", self._source, best, told)
        return best, passed[best]

    def _tried(
        self, precision: Precision, rows: Sequence[Sequence[Row]], expected: Sequence[Floats]
    ) -> tuple[Backend | None, str]:
        """Return the backend of a precision if it keeps the order; otherwise why it does not."""
        build = self._ways.build.get(precision)
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
        _log.info("[%s] in %s against fp32: %s", self._source, precision, parity)
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
    backends: Mapping[Precision, Backend], rows: Sequence[Row], clock: Callable[[], float]
) -> dict[Precision, float]:
    """Return what the rows cost each, on one thread of the processor: the least of some rounds in turn."""
    spent: dict[Precision, list[float]] = {precision: [] for precision in backends}
    with _one_thread():
        for _ in range(_ROUNDS):
            for precision, backend in backends.items():
                started = clock()
                run(backend, rows)
                spent[precision].append(clock() - started)
    return {precision: min(seconds) for precision, seconds in spent.items()}


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def _key(fingerprint: str) -> str:
    machine = (processor_name(), sorted(flags()), torch.__version__, __version__)
    return hashlib.sha256(repr((fingerprint, machine)).encode()).hexdigest()


def _read(directory: Path) -> dict[str, _Remembered]:
    try:
        content = read_if_exists(directory / _FILE, _MAX_BYTES)
        return msgspec.json.decode(content, type=dict[str, _Remembered]) if content else {}
    except (OSError, UnfitFileError, UnicodeDecodeError, msgspec.DecodeError) as error:
        _log.warning("what was measured before is not used: %s", error)
        return {}


def _remember(directory: Path, key: str, precision: Precision) -> None:
    kept = dict(list(_read(directory).items())[1 - _MOST_REMEMBERED :])
    kept[key] = _Remembered(precision)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        replace(directory / _FILE, msgspec.json.encode(kept))
    except (OSError, UnfitFileError) as error:
        _log.warning("what was measured is not kept, and measured again by the next load: %s", error)
