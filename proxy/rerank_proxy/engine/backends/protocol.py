"""The interface between the queue and the device: everything that differs between ways to run a model."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rerank_proxy.engine.rows import Batch


class Backend(Protocol):
    """A loaded model on its device.

    Implementations are `padded.PaddedTorchBackend`, `packed.PackedTorchBackend`,
    `torchscript.TorchScriptBackend`, and one for the models of plug-ins (`loading/plugins.py`).
    """

    @property
    def padded(self) -> bool:
        """True if a batch costs its rows times the longest row; False if it costs the sum of its tokens."""

    @property
    def serial(self) -> bool:
        """True if one and the same thread has to run all batches; False if several may, side by side."""

    def score(self, batch: Batch) -> NDArray[np.float32]:
        """Run the model. Called on the threads of workers only.

        Returns:
            Shape (rows, outputs): one logit per row, or one embedding. Not checked for NaN.

        Raises:
            OutOfDeviceMemoryError: Fewer rows in one batch may fit.
        """
