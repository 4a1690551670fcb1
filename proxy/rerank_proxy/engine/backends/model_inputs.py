"""What a model of transformers is given for a batch. Imports torch."""

from dataclasses import dataclass

import torch
from torch import Tensor

from rerank_proxy.engine.backends.device import to_device
from rerank_proxy.engine.rows import UNSEEN, Batch


@dataclass(frozen=True, slots=True)
class ModelInputs:
    """Makes the arguments of a model on a device."""

    device: torch.device
    pad_id: int
    """The id of padding. RoBERTa-like models count positions by it, so it has to be that of the tokenizer."""
    type_ids: bool
    """Give the model segment ids."""
    stateless: bool = False
    """The model's forward pass changes nothing in it, so that several threads may run it."""

    @property
    def serial(self) -> bool:
        """Whether one thread alone has to run the model."""
        return self.device.type != "cpu" or not self.stateless

    def padded(self, batch: Batch) -> tuple[dict[str, Tensor], Tensor]:
        """Return the arguments for rows that are padded on the right, and which tokens are not padding.

        Tokens that are marked `UNSEEN` are masked out, but are not padding. Both have shape (rows, tokens).
        """
        ids, type_ids, mask = batch.padded(self.pad_id)
        inputs, tokens = {"input_ids": to_device(self.device, ids)}, to_device(self.device, mask)
        seen = mask
        if batch.marks is not None:
            seen = mask.copy()
            seen[mask] = ~batch.marked(UNSEEN)
        if not seen.all() or (ids == self.pad_id).any():
            # Without a mask, attention takes its fastest path, and XLM masks what looks like padding.
            inputs["attention_mask"] = (tokens if seen is mask else to_device(self.device, seen)).long()
        if self.type_ids:
            inputs["token_type_ids"] = to_device(self.device, type_ids)
        return inputs, tokens
