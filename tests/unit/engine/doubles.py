"""A device that adds up token ids, and rows for it."""

import threading
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from rerank_proxy.engine.rows import Batch, Row
from tests.support.raw_http import TIMEOUT_S


def row(length: int, first: int = 0) -> Row:
    """A row whose tokens add up to `first`, for a backend that gives sums."""
    ids = np.zeros(length, np.int32)
    ids[0] = first
    return Row(ids, np.zeros(length, np.uint8), False)


class SumBackend:
    """Gives each row the sum of its ids. `gate` holds a batch back; `before` may raise instead."""

    def __init__(
        self, *, padded: bool = True, serial: bool = False, before: Callable[[Batch], None] | None = None
    ) -> None:
        self.padded = padded
        self.serial = serial
        self.batches: list[Batch] = []
        self.entered = threading.Semaphore(0)
        self.gate = threading.Event()
        self.gate.set()
        self._before = before

    def score(self, batch: Batch) -> NDArray[np.float32]:
        self.batches.append(batch)
        self.entered.release()
        assert self.gate.wait(TIMEOUT_S)
        if self._before is not None:
            self._before(batch)
        starts = np.cumsum(batch.lengths) - batch.lengths
        sums: NDArray[np.float32] = np.add.reduceat(batch.ids, starts).astype(np.float32)
        return sums[:, None]
