"""The interface between the queue and the device: everything that differs between ways to run a model."""

from typing import Protocol

from rerank_proxy.engine.rows import Batch, Values


class Backend(Protocol):
    """A loaded model on its device.

    Implementations are `padded.PaddedTorchBackend`, `shared_prefix.SharedPrefixBackend`,
    `packed.PackedTorchBackend`, `vectors.VectorsBackend`, `sparse.SparseBackend`,
    `torchscript.TorchScriptBackend`, `onnx.OnnxBackend`, and one for the models of plug-ins
    (`loading/plugins.py`).
    """

    @property
    def padded(self) -> bool:
        """True if a batch costs its rows times the longest row; False if it costs the sum of its tokens."""

    @property
    def serial(self) -> bool:
        """True if one and the same thread has to run all batches; False if several may, side by side."""

    def score(self, batch: Batch) -> Values:
        """Run the model. Called on the threads of workers only.

        Returns:
            Shape (rows, outputs): one logit per row, or one embedding; or an array of shape (vectors,
            dimensions), or (terms, 2), for each row. Not checked for NaN.

        Raises:
            OutOfDeviceMemoryError: Fewer rows in one batch may fit.
        """
