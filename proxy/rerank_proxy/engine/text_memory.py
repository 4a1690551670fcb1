"""How much memory the texts of the calls under way may take."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from sys import getsizeof

from rerank_proxy.engine.batching.room import Refusal, Room
from rerank_proxy.engine.errors import QueueFullError


class TextMemory:
    """Counts the bytes of the texts of the calls under way.

    Args:
        capacity_bytes: The most of them.
        share: The part of it that one caller may have while others have any.
        wait_s: Tells in how many seconds there is probably room again.
    """

    def __init__(
        self, capacity_bytes: int, wait_s: Callable[[], float] = lambda: 0.0, share: float = 1.0
    ) -> None:
        self._wait_s = wait_s
        self._room = Room(capacity_bytes, share)

    @contextmanager
    def holding(self, query: str, texts: Sequence[str], caller: bytes = b"") -> Iterator[None]:
        """Count the texts of a call while it lasts.

        Raises:
            QueueFullError: There is no room for them.
        """
        size_bytes = sum(map(getsizeof, chain([query], texts)))
        room = self._room
        if size_bytes > room.capacity:
            raise QueueFullError(
                f"the texts take {size_bytes} bytes, more than engine.queue_bytes ({room.capacity}): "
                "score fewer texts at once, for example with a smaller rank_window_size, or raise the setting"
            )
        self._check_room(caller, size_bytes)
        room.add(caller, size_bytes)
        try:
            yield
        finally:
            room.add(caller, -size_bytes)

    def _check_room(self, caller: bytes, size_bytes: int) -> None:
        room = self._room
        match room.refusal(caller, size_bytes):
            case Refusal.OF_CALLER:
                raise QueueFullError(
                    f"texts of {room.held_by(caller)} bytes of this caller wait, and others wait: one "
                    f"caller may have {room.limit} of {room.capacity} bytes then (engine.queue_share); send "
                    "fewer searches at a time, or try again later",
                    self._wait_s(),
                )
            case Refusal.OF_ALL:
                raise QueueFullError(
                    f"the queue is full: texts of {room.held} of {room.capacity} bytes (engine.queue_bytes) "
                    "wait; try again later",
                    self._wait_s(),
                )
