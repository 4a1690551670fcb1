"""Run any model of transformers on padded batches."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rerank_proxy.engine.backends.device import memory_errors
from rerank_proxy.engine.backends.model_inputs import ModelInputs
from rerank_proxy.engine.rows import Batch


class PaddedTorchBackend:
    """A `Backend` that pads rows on the right to the longest one and masks the padding out.

    Args:
        network: `networks.Classifier` or `networks.Encoder`, on the device of `inputs`, in evaluation mode.
        counted_id: A token that the rows of a batch must have equally often, as the model reads its output at
            the last one and refuses other batches; None for no such token. A text may contain it.
        fills: Rows may be padded; otherwise only rows of one length run together.
    """

    padded = True

    def __init__(
        self,
        network: nn.Module,
        inputs: ModelInputs,
        *,
        counted_id: int | None = None,
        fills: bool = True,
    ) -> None:
        self.serial = inputs.serial
        self._network = network
        self._inputs = inputs
        self._counted_id = counted_id
        self._fills = fills and counted_id != inputs.pad_id  # padding would change the counts

    def score(self, batch: Batch) -> NDArray[np.float32]:
        with memory_errors():
            return self._score_alike(batch)

    def _score_alike(self, batch: Batch) -> NDArray[np.float32]:
        """Run the rows that may run together, one group after the other."""
        groups = self._groups(batch)
        if len(groups) == 1:
            return self._score(batch)
        outputs = [self._score(batch.chosen(rows)) for rows in groups]
        values = np.empty((len(batch), outputs[0].shape[1]), np.float32)
        for rows, output in zip(groups, outputs, strict=True):
            values[rows] = output
        return values

    def _groups(self, batch: Batch) -> list[NDArray[np.bool_]]:
        kinds = np.zeros(len(batch), np.int64) if self._fills else batch.lengths * (batch.tokens + 1)
        if self._counted_id is not None:
            kinds = kinds + batch.counts(self._counted_id)
        return [kinds == kind for kind in np.unique(kinds)]

    @torch.inference_mode()
    def _score(self, batch: Batch) -> NDArray[np.float32]:
        output: Tensor = self._network(*self._inputs.padded(batch))
        values: NDArray[np.float32] = output.float().cpu().numpy()
        return values
