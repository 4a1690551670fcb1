"""The interface between the queue and the device: everything that differs between ways to run a model."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rerank_proxy.engine.rows import Batch


class Backend(Protocol):
    """A loaded model on its device.

    Implementations are `padded.PaddedTorchBackend`, `packed.PackedTorchBackend`,
    `torchscript.TorchScriptBackend`, `onnx.OnnxBackend`, and one for the models of plug-ins
    (`loading/plugins.py`).
    """

    @property
    def padded(self) -> bool:
        """True if a batch costs its rows times the longest row; False if it costs the sum of its tokens."""

    def score(self, batch: Batch) -> NDArray[np.float32]:
        """Run the model. Called on the device's thread only.

        Returns:
            Shape (rows, outputs): one logit per row, or one embedding. Not checked for NaN.

        Raises:
            OutOfDeviceMemoryError: Fewer rows in one batch may fit.
        """
