"""Run any model of transformers on padded batches."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rerank_proxy.engine.backends.device import memory_errors, to_device
from rerank_proxy.engine.rows import Batch


class PaddedTorchBackend:
    """A `Backend` that pads rows on the right to the longest one and masks the padding out.

    Args:
        network: `networks.Classifier` or `networks.Encoder`, on `device`, in evaluation mode.
        pad_id: The id of padding. RoBERTa-like models count positions by it, so it has to be that of the
            tokenizer.
        type_ids: Give the model segment ids.
        counted_id: A token that the rows of a batch must have equally often, as the model reads its output at
            the last one and refuses other batches; None for no such token. A text may contain it.
        fills: Rows may be padded; otherwise only rows of one length run together.
        stateless: The network's forward pass changes nothing in it, so that several threads may run it.
    """

    padded = True

    def __init__(
        self,
        network: nn.Module,
        device: torch.device,
        pad_id: int,
        *,
        type_ids: bool,
        counted_id: int | None = None,
        fills: bool = True,
        stateless: bool = False,
    ) -> None:
        self.serial = device.type != "cpu" or not stateless
        self._network = network
        self._device = device
        self._pad_id = pad_id
        self._type_ids = type_ids
        self._counted_id = counted_id
        self._fills = fills and counted_id != pad_id  # padding would change the counts

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
        ids, type_ids, mask = batch.padded(self._pad_id)
        device_mask = to_device(self._device, mask)
        inputs = {"input_ids": to_device(self._device, ids)}
        if not mask.all() or (ids == self._pad_id).any():
            # Without a mask, attention takes its fastest path, and XLM masks what looks like padding.
            inputs["attention_mask"] = device_mask.long()
        if self._type_ids:
            inputs["token_type_ids"] = to_device(self._device, type_ids)
        output: Tensor = self._network(inputs, device_mask)
        values: NDArray[np.float32] = output.float().cpu().numpy()
        return values
