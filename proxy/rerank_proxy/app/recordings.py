"""The recordings of requests, by the keys that ask for them: few, for a short time, each handed over once.

They hold texts of documents, so a timer forgets what no one comes for, also where nothing else happens.
"""

import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from rerank_proxy.concurrency.timers import Timers
from rerank_proxy.search.recorded import written
from rerank_proxy.search.recording import Recording

MOST: Final = 64
"""Keys at a time. Beyond them the oldest is forgotten."""
KEPT_S: Final = 600.0
"""Seconds that a key is good for, and that its recording is kept."""
MAX_CHARACTERS: Final = 64_000_000
"""Of the texts of all recordings. Beyond them the oldest recordings are forgotten."""
_KEY_BYTES: Final = 24


@dataclass(slots=True)
class _Entry:
    expires: float
    recording: Recording | None = None


class Recordings:
    """All keys of this process.

    Args:
        clock: Seconds, never going back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._entries: dict[str, _Entry] = {}  # the oldest first
        self._timers = Timers()

    def __len__(self) -> int:
        return len(self._entries)

    def new_key(self) -> str:
        """Return a key that is good for one request."""
        self._forget_old()
        while len(self._entries) >= MOST:
            del self._entries[next(iter(self._entries))]
        key = secrets.token_urlsafe(_KEY_BYTES)
        self._entries[key] = _Entry(self._clock() + KEPT_S)
        self._forget_in_time()
        return key

    def begin(self, key: str) -> Recording | None:
        """Return the recording of a request that shows a key; None if that is not good, or no more."""
        self._forget_old()
        entry = self._entries.get(key)
        if entry is None or entry.recording is not None:
            return None
        entry.recording = Recording()
        return entry.recording

    def end(self, key: str, *, answered: bool) -> None:
        """End the recording for a key.

        Args:
            answered: The request was answered here. Else the key is good for it when it comes again.
        """
        entry = self._entries.get(key)
        if entry is None or entry.recording is None:
            return
        if answered:
            entry.recording.end()
            self._forget_large()
        else:
            entry.recording = None

    def forget(self, key: str) -> None:
        """Have a key be good no more, with what was recorded."""
        self._entries.pop(key, None)

    async def take(self, key: str) -> bytes | None:
        """Return the recording for a key as JSON, once; None if there is none. The key is good no more."""
        self._forget_old()
        entry = self._entries.pop(key, None)
        if entry is None or entry.recording is None or not entry.recording.has_ended:
            return None
        return await written(entry.recording)

    def _forget_old(self) -> None:
        now = self._clock()
        for key in [key for key, entry in self._entries.items() if entry.expires <= now]:
            del self._entries[key]

    def _forget_in_time(self) -> None:
        """Forget what is too old, now and whenever the oldest of the others is."""
        self._forget_old()
        oldest = next(iter(self._entries.values()), None)
        if oldest is not None:
            self._timers.start("the oldest", oldest.expires - self._clock(), self._forget_in_time)

    def _forget_large(self) -> None:
        """Forget the oldest recordings, but never the last one, while they have too many characters."""
        recorded = [
            (key, each.recording) for key, each in self._entries.items() if each.recording is not None
        ]
        characters = sum(each.characters for _, each in recorded)
        for key, recording in recorded[:-1]:
            if characters <= MAX_CHARACTERS:
                return
            characters -= recording.characters
            del self._entries[key]
