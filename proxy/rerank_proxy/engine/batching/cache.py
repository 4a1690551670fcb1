"""Remember the outputs of models by what went in."""

from typing import Final

from cachetools import LRUCache

from rerank_proxy.engine.rows import Output

_FLOATS_PER_ENTRY: Final = 64
"""A score's key and bookkeeping take some 250 bytes, which is the room of 64 float32."""


class OutputCache:
    """The most recently used outputs. Has digests for texts, so that its memory is bounded by `entries`.

    An embedding of many dimensions counts as several entries.
    """

    def __init__(self, entries: int) -> None:
        self._outputs: LRUCache[bytes, Output] = LRUCache(entries, getsizeof=_size_entries)

    def get(self, key: bytes) -> Output | None:
        """Return a remembered output."""
        return self._outputs.get(key)

    def put(self, key: bytes, output: Output) -> None:
        """Remember an output, unless it is larger than the cache."""
        if _size_entries(output) <= self._outputs.maxsize:
            self._outputs[key] = output

    @property
    def size_entries(self) -> int:
        """How many entries are in use."""
        return int(self._outputs.currsize)


def _size_entries(output: Output) -> int:
    return -(-output.values.size // _FLOATS_PER_ENTRY)
