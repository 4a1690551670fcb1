"""Backends whose output is an array for each row, of a shape of its own. Imports torch."""

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from rerank_proxy.engine.backends.device import memory_errors
from rerank_proxy.engine.backends.model_inputs import ModelInputs
from rerank_proxy.engine.backends.packed import PackedTorchBackend
from rerank_proxy.engine.rows import Batch, Values


class ArraysBackend(ABC):
    """A `Backend` of a model that runs without padding where `packed` is given."""

    def __init__(self, inputs: ModelInputs, packed: PackedTorchBackend | None) -> None:
        self.serial = inputs.serial
        self._inputs = inputs
        self._packed = packed

    @property
    def padded(self) -> bool:
        return self._packed is None

    def score(self, batch: Batch) -> Values:
        with memory_errors():
            return self._score(batch)

    @abstractmethod
    def _score(self, batch: Batch) -> list[NDArray[np.float32]]:
        """Return the array of each row."""
