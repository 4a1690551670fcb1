"""Notice what never returns: a load, a batch, a text that is tokenised.

A thread that runs C code cannot be ended, so what is noticed here ends the process.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from rerank_proxy.engine.hangs.journal import Activity, Journal, Running
from rerank_proxy.settings import EngineSettings

_CHECK_S: Final = 1.0
_CHECKS: Final = 8
"""The least number of checks in the shortest time limit."""

_LATE_CHECKS: Final = 5
"""Time beyond so many intervals passed while the process was stopped."""

_SLACK: Final = 20.0
"""How much slower than at its usual pace a model may be: longer rows cost more per token."""


@dataclass(slots=True, eq=False)
class _Watched:
    running: Running
    limit_s: float
    setting: str
    since: float
    ran_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Hang:
    """Something that has run for longer than its limit."""

    model: str
    reason: str


class Watchdog:
    """Measures how long loads, batches and tokenising run.

    Time in which the process was stopped or its machine slept does not count.

    Args:
        journal: Records everything that is watched.
        clock: In seconds.
    """

    def __init__(
        self, settings: EngineSettings, journal: Journal, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._batch_s = settings.max_batch_s
        self._load_s = settings.max_load_s
        self._journal = journal
        self._clock = clock
        self._lock = threading.Lock()
        self._watched: set[_Watched] = set()
        self._checked_at = clock()
        self.every_s = min(_CHECK_S, min(self._batch_s, self._load_s) / _CHECKS)

    @contextmanager
    def load(self, model: str) -> Iterator[None]:
        """Watch a part of a load, on any thread."""
        with self._watch(Running(model, "load"), self._load_s, "engine.max_load_s"):
            yield

    @contextmanager
    def batch(self, model: str, tokens: int, pace_s: float) -> Iterator[None]:
        """Watch a batch.

        Args:
            tokens: Padding included.
            pace_s: Seconds that the model usually needs for a token. A slow one may take longer than
                `engine.max_batch_s`, but never longer than a load.
        """
        limit_s = max(self._batch_s, min(_SLACK * pace_s * tokens, self._load_s))
        with self._watch(Running(model, "batch"), limit_s, "engine.max_batch_s"):
            yield

    @contextmanager
    def tokenising(self, model: str) -> Iterator[None]:
        """Watch a step of tokenising."""
        with self._watch(Running(model, "tokenising"), self._batch_s, "engine.max_batch_s"):
            yield

    def check(self) -> Hang | None:
        """Return what hangs, or None. Call it every `every_s` seconds."""
        now = self._clock()
        with self._lock:
            for each in self._watched:
                passed_s = now - max(self._checked_at, each.since)
                each.ran_s += min(passed_s, _LATE_CHECKS * self.every_s)
            self._checked_at = now
            hung = next((each for each in self._watched if each.ran_s >= each.limit_s), None)
        if hung is None:
            return None
        reason = f"{_DOING[hung.running.activity]} for more than {hung.limit_s:g} s ([{hung.setting}])"
        self._journal.hung(hung.running, reason)
        return Hang(hung.running.model, reason)

    @contextmanager
    def _watch(self, running: Running, limit_s: float, setting: str) -> Iterator[None]:
        watched = _Watched(running, limit_s, setting, self._clock())
        self._journal.begin(running)
        with self._lock:
            self._watched.add(watched)
        try:
            yield
        finally:
            with self._lock:
                self._watched.discard(watched)
            self._journal.end(running)


_DOING: Final[dict[Activity, str]] = {
    "load": "it was loading",
    "batch": "it was scoring one batch",
    "tokenising": "it was tokenising the texts of one call",
}
