"""Remember the outputs of models by what went in."""

from collections.abc import Callable
from typing import Final

from cachetools import LRUCache

from rerank_proxy.engine.rows import Output

ENTRY_BYTES: Final = 448
"""What an output takes besides its numbers: its key, its objects, its place in the order of use.

Measured with tracemalloc in CPython 3.11: 391 to 435 bytes.
"""


class OutputCache:
    """The most recently used outputs, in at most `max_bytes` of memory. Has digests for texts.

    Args:
        evicted: Called for each output that makes room for another.
    """

    def __init__(self, max_bytes: int, evicted: Callable[[], None] = lambda: None) -> None:
        self._outputs = _Outputs(max_bytes, evicted)

    def get(self, key: bytes) -> Output | None:
        """Return a remembered output."""
        return self._outputs.get(key)

    def put(self, key: bytes, output: Output) -> None:
        """Remember an output, unless it is larger than the cache."""
        if _size_bytes(output) <= self._outputs.maxsize:
            self._outputs[key] = output

    def forget(self, key: bytes) -> None:
        """Forget an output, if there is one."""
        self._outputs.pop(key, None)

    @property
    def size_bytes(self) -> int:
        """How many bytes are in use."""
        return int(self._outputs.currsize)

    def __len__(self) -> int:
        return len(self._outputs)


class _Outputs(LRUCache[bytes, Output]):
    """Tells of each output that makes room for another."""

    def __init__(self, max_bytes: int, evicted: Callable[[], None]) -> None:
        super().__init__(max_bytes, getsizeof=_size_bytes)
        self._evicted = evicted

    def popitem(self) -> tuple[bytes, Output]:
        self._evicted()
        return super().popitem()


def _size_bytes(output: Output) -> int:
    return output.values.nbytes + ENTRY_BYTES
