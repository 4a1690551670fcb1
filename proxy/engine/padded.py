"""Running any model of transformers on padded batches."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .batch import Batch
from .errors import OutOfDeviceMemoryError


class PaddedTorchBackend:
    """A `Backend` that pads rows on the right to the longest one and masks the padding out.

    Args:
        network: `networks.Classifier` or `networks.Encoder`, on `device`, in evaluation mode.
        pad_id: What the padding consists of. RoBERTa-like models count positions by it, so it has to be the
            tokenizer's own.
        type_ids: Whether the model is given segment ids.
    """

    padded = True

    def __init__(self, network: nn.Module, device: torch.device, pad_id: int, *, type_ids: bool) -> None:
        self._network = network
        self._device = device
        self._pad_id = pad_id
        self._type_ids = type_ids

    def score(self, batch: Batch) -> NDArray[np.float32]:
        try:
            return self._score(batch)
        except torch.OutOfMemoryError as error:
            raise OutOfDeviceMemoryError(str(error)) from None

    @torch.inference_mode()
    def _score(self, batch: Batch) -> NDArray[np.float32]:
        ids, type_ids, mask = batch.padded(self._pad_id)
        device_mask = self._to_device(mask)
        inputs = {"input_ids": self._to_device(ids)}
        if not mask.all():
            # Without a mask, attention takes its fastest path.
            inputs["attention_mask"] = device_mask.long()
        if self._type_ids:
            inputs["token_type_ids"] = self._to_device(type_ids)
        output: Tensor = self._network(inputs, device_mask)
        values: NDArray[np.float32] = output.float().cpu().numpy()
        return values

    def _to_device(self, array: NDArray[np.generic]) -> Tensor:
        tensor = torch.from_numpy(array)
        if self._device.type == "cpu":
            return tensor
        return tensor.pin_memory().to(self._device, non_blocking=True)
