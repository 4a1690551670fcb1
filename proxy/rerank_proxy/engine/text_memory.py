"""How much memory the texts of the calls under way may take."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from sys import getsizeof

from rerank_proxy.engine.errors import QueueFullError


class TextMemory:
    """Counts the bytes of the texts of the calls under way.

    Args:
        capacity_bytes: The most of them.
        wait_s: Tells in how many seconds there is probably room again.
    """

    def __init__(self, capacity_bytes: int, wait_s: Callable[[], float] = lambda: 0.0) -> None:
        self._wait_s = wait_s
        self._capacity_bytes = capacity_bytes
        self._held_bytes = 0

    @contextmanager
    def holding(self, query: str, texts: Sequence[str]) -> Iterator[None]:
        """Count the texts of a call while it lasts.

        Raises:
            QueueFullError: There is no room for them.
        """
        size_bytes = sum(map(getsizeof, chain([query], texts)))
        if size_bytes > self._capacity_bytes:
            raise QueueFullError(
                f"the texts take {size_bytes} bytes, more than engine.queue_bytes ({self._capacity_bytes}): "
                "score fewer texts at once, for example with a smaller rank_window_size, or raise the setting"
            )
        if self._held_bytes + size_bytes > self._capacity_bytes:
            raise QueueFullError(
                f"the queue is full: texts of {self._held_bytes} of {self._capacity_bytes} bytes "
                "(engine.queue_bytes) wait; try again later",
                self._wait_s(),
            )
        self._held_bytes += size_bytes
        try:
            yield
        finally:
            self._held_bytes -= size_bytes
