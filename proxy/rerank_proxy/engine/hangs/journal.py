"""Record what the engine is doing in a file that outlives the process.

A model that never returns, or takes the process down with it, must not be loaded again and again. So what is
about to run is recorded before it does, and removed from the record after. What the next process finds under
way there took the last one down; what the watchdog found is recorded as such.
"""

import logging
import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

import msgspec

from rerank_proxy.observe.log_limiter import LogLimiter

_log = logging.getLogger(__name__)

Activity = Literal["load", "batch", "tokenising"]

_FORGOTTEN_AFTER_S: Final = 3600.0
"""Strikes that lie further apart do not add up: the model did its work in between."""

_BACK_OFF_S: Final = (0.0, 60.0, 600.0)
"""Seconds before the first try after a strike, the second …; after the last there are no more tries."""


class Running(msgspec.Struct, frozen=True):
    """Something under way."""

    model: str
    activity: Activity


class Strike(msgspec.Struct, frozen=True):
    """One time that a model took the process down. `at`: on the machine's monotonic clock."""

    at: float
    reason: str
    final: bool
    """Whether it would probably do so again: it never returned, or the process died while it was loading."""


class _Record(msgspec.Struct):
    running: list[Running] = []
    strikes: dict[str, list[Strike]] = {}


@dataclass(frozen=True, slots=True)
class LoadBlock:
    """Why a model is not to be loaded for now."""

    reason: str
    retry_in_s: float | None
    """None: only when a client asks for it by name, or the whole proxy is restarted."""


class Journal:
    """The record of one engine. Its methods may be called from any thread.

    Args:
        path: The file. None: the record ends with the process.
        clock: In seconds, the same for all processes since the machine started.
    """

    def __init__(self, path: Path | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._warnings: Final = LogLimiter(clock=clock)
        self._lock = threading.Lock()
        self._file = None if path is None else os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._length = 0
        self._record = self._read()
        now = clock()
        for each in self._record.running:
            self._add(each.model, Strike(now, _DIED[each.activity], final=each.activity == "load"))
        self._record.running = []
        self._write()

    def begin(self, running: Running) -> None:
        """Record what is about to run."""
        with self._lock:
            self._record.running.append(running)
            self._write()

    def end(self, running: Running) -> None:
        """Remove what has run from the record."""
        with self._lock, suppress(ValueError):  # a hung one may return while the process ends
            self._record.running.remove(running)
            self._write()

    def hung(self, running: Running, reason: str) -> None:
        """Record that something never returns."""
        with self._lock:
            with suppress(ValueError):
                self._record.running.remove(running)
            self._add(running.model, Strike(self._clock(), reason, final=True))
            self._write()

    def forgive(self, model: str) -> None:
        """Forget the strikes of a model."""
        with self._lock:
            if self._record.strikes.pop(model, None) is not None:
                self._write()

    def load_block(self, model: str, *, trusted: bool) -> LoadBlock | None:
        """Return why a model is not to be loaded for now; None if it may be.

        Args:
            trusted: Give it another try even if it would probably take the process down again.
        """
        with self._lock:
            strikes = self._record.strikes.get(model)
        if not strikes:
            return None
        last = strikes[-1]
        count = sum(last.at - each.at < _FORGOTTEN_AFTER_S for each in strikes)
        if (last.final and not trusted) or count > len(_BACK_OFF_S):
            return LoadBlock(last.reason, None)
        left = last.at + _BACK_OFF_S[count - 1] - self._clock()
        return LoadBlock(last.reason, left) if left > 0 else None

    def close(self) -> None:
        """Record that the process ends in good order: nothing under way is to blame for its end."""
        with self._lock:
            self._record.running = []
            self._write()
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def _add(self, model: str, strike: Strike) -> None:
        strikes = self._record.strikes.setdefault(model, [])
        if strikes and strikes[-1].at == strike.at:  # Several activities of one model ended with the process.
            strikes[-1] = strike if strike.final else strikes[-1]
            return
        strikes.append(strike)
        del strikes[: -len(_BACK_OFF_S) - 1]

    def _read(self) -> _Record:
        if self._file is None:
            return _Record()
        content = os.pread(self._file, os.fstat(self._file).st_size, 0)
        self._length = len(content)
        try:
            return msgspec.json.decode(content, type=_Record) if content else _Record()
        except msgspec.DecodeError:
            _log.warning("the record of what the last reranking process was doing cannot be read")
            return _Record()

    def _write(self) -> None:
        """Write in place, with blanks over the rest of what was there. Cheap: it is done for every batch."""
        if self._file is None:
            return
        content = msgspec.json.encode(self._record).ljust(self._length)
        self._length = len(content)
        try:
            os.pwrite(self._file, content, 0)
        except OSError as error:
            if self._warnings.admit(error.errno) is not None:  # a full disk would be told twice a batch
                _log.warning("what the engine is doing cannot be recorded: %s", error.strerror)


_DIED: Final = {
    "load": "the reranking process died while it was loading",
    "batch": "the reranking process died while it was scoring",
    "tokenising": "the reranking process died while it was tokenising",
}
