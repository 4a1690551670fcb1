"""Outputs that wait to be written to the shared cache, bounded in bytes. Pure."""

from typing import Final

from rerank_proxy.engine.rows import Output

ENTRY_BYTES: Final = 512
"""What an entry takes besides its numbers, about as in the first level, with a longer key."""

_BATCH_ENTRIES: Final = 256
_BATCH_BYTES: Final = 1024 * 1024
"""Some milliseconds of the event loop, to encode and send it."""


class WriteQueue:
    """The outputs to write, each once, the earliest first."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._outputs: dict[bytes, Output] = {}
        self._size_bytes = 0

    def __len__(self) -> int:
        return len(self._outputs)

    @property
    def size_bytes(self) -> int:
        """How many bytes are in use."""
        return self._size_bytes

    def put(self, key: bytes, output: Output) -> bool:
        """Add an output, unless its key waits already. Return false if there is no room for it."""
        if key in self._outputs:
            return True
        size_bytes = _size_bytes(output)
        if self._size_bytes + size_bytes > self._max_bytes:
            return False
        self._outputs[key] = output
        self._size_bytes += size_bytes
        return True

    def take(self) -> dict[bytes, Output]:
        """Take the outputs to write next; none when none waits."""
        taken: dict[bytes, Output] = {}
        size_bytes = 0
        for key, output in self._outputs.items():
            size_bytes += _size_bytes(output)
            if taken and (len(taken) >= _BATCH_ENTRIES or size_bytes > _BATCH_BYTES):
                break
            taken[key] = output
        for key, output in taken.items():
            del self._outputs[key]
            self._size_bytes -= _size_bytes(output)
        return taken

    def clear(self) -> int:
        """Give all of them up. Return how many."""
        count = len(self._outputs)
        self._outputs.clear()
        self._size_bytes = 0
        return count


def _size_bytes(output: Output) -> int:
    return output.values.nbytes + ENTRY_BYTES
