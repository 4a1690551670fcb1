"""The seam between the queue and the device: everything that differs between ways to run a model."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rerank_proxy.engine.batching.batch import Batch


class Backend(Protocol):
    """A loaded model on its device: `padded.PaddedTorchBackend` or `packed.PackedTorchBackend`."""

    @property
    def padded(self) -> bool:
        """Whether a batch costs rows times its longest row, or (False) the sum of its tokens."""

    def score(self, batch: Batch) -> NDArray[np.float32]:
        """Run the model. Called on the device's thread only.

        Returns:
            Shape (rows, outputs): one logit per row, or one embedding. Not checked for NaN.

        Raises:
            OutOfDeviceMemoryError: Fewer rows at once may work.
        """
