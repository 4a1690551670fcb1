"""What the engine is doing, in a file that outlives the process: the next one learns what this one died of.

A program that never returns, or takes the process down with it, must not be started again and again. So
whatever is about to run is written down before it does, and struck out after. What is found under way by the
next process has cost the last one its life; what the watchdog found is written down as such.
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

_log = logging.getLogger(__name__)

What = Literal["load", "batch", "tokenising"]

_FORGOTTEN_AFTER_S: Final = 3600.0
"""A model that does its work this long in between is not the same trouble again."""

_BACK_OFF_S: Final = (0.0, 60.0, 600.0)
"""Before the first try after a trouble, the second …; after the last of them no more tries are made."""


class Running(msgspec.Struct, frozen=True):
    """Something under way."""

    model: str
    what: What


class Strike(msgspec.Struct, frozen=True):
    """A time that a model took the process down. `at`: on the machine's monotonic clock."""

    at: float
    reason: str
    final: bool
    """Whether it would do the same again, as far as can be told: it had no end, or died while loading."""


class _Record(msgspec.Struct):
    running: list[Running] = []
    strikes: dict[str, list[Strike]] = {}


@dataclass(frozen=True, slots=True)
class Trouble:
    """Why a model is not to be loaded now."""

    reason: str
    again_in_s: float | None
    """None: only when it is asked for by name, by a client or a start of the whole proxy."""


class Journal:
    """Methods may be called from any thread.

    Args:
        path: The file. None: what is written down is forgotten with the process.
        clock: In seconds, the same for all processes since the machine started.
    """

    def __init__(self, path: Path | None = None, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._file = None if path is None else os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._length = 0
        self._record = self._read()
        now = clock()
        for each in self._record.running:
            self._add(each.model, Strike(now, _DIED[each.what], final=each.what == "load"))
        self._record.running = []
        self._write()

    def begin(self, running: Running) -> None:
        with self._lock:
            self._record.running.append(running)
            self._write()

    def end(self, running: Running) -> None:
        with self._lock, suppress(ValueError):  # a hung one may return while the process ends
            self._record.running.remove(running)
            self._write()

    def hung(self, running: Running, reason: str) -> None:
        """It has no end."""
        with self._lock:
            with suppress(ValueError):
                self._record.running.remove(running)
            self._add(running.model, Strike(self._clock(), reason, final=True))
            self._write()

    def forgive(self, model: str) -> None:
        """It may be tried again as if nothing had been."""
        with self._lock:
            if self._record.strikes.pop(model, None) is not None:
                self._write()

    def trouble(self, model: str, *, trusted: bool) -> Trouble | None:
        """What stands against loading a model.

        Args:
            trusted: Whether it gets another try where it would probably do the same again.
        """
        with self._lock:
            strikes = self._record.strikes.get(model)
        if not strikes:
            return None
        last = strikes[-1]
        count = sum(last.at - each.at < _FORGOTTEN_AFTER_S for each in strikes)
        if (last.final and not trusted) or count > len(_BACK_OFF_S):
            return Trouble(last.reason, None)
        left = last.at + _BACK_OFF_S[count - 1] - self._clock()
        return Trouble(last.reason, left) if left > 0 else None

    def close(self) -> None:
        """The process ends in good order: nothing that goes on is to blame for it."""
        with self._lock:
            self._record.running = []
            self._write()
            if self._file is not None:
                os.close(self._file)
                self._file = None

    def _add(self, model: str, strike: Strike) -> None:
        strikes = self._record.strikes.setdefault(model, [])
        if strikes and strikes[-1].at == strike.at:  # several things of one model that went together
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
            _log.warning("what the last reranking process was doing cannot be read")
            return _Record()

    def _write(self) -> None:
        """In place, and blanks over the rest of what was there: once per batch, so it must cost nothing."""
        if self._file is None:
            return
        content = msgspec.json.encode(self._record).ljust(self._length)
        self._length = len(content)
        try:
            os.pwrite(self._file, content, 0)
        except OSError as error:
            _log.warning("what the engine is doing cannot be written down: %s", error.strerror)


_DIED: Final = {
    "load": "the reranking process died while it was loading",
    "batch": "the reranking process died while it was scoring",
    "tokenising": "the reranking process died while it was tokenising",
}
