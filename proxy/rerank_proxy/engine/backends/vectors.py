"""Run a transformer whose output is a vector for each token. Imports torch."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rerank_proxy.engine.backends.device import memory_errors, to_device
from rerank_proxy.engine.backends.networks import Encoder
from rerank_proxy.engine.backends.packed import PackedTorchBackend
from rerank_proxy.engine.rows import UNSCORED, UNSEEN, Batch, Values


class VectorsBackend:
    """A `Backend` that gives each row the vectors of its tokens, without those marked `UNSCORED`.

    Rows without a token that is `UNSEEN`, which are those of texts, run without padding where `packed` is
    given. All others, queries, run with those of their length only: what a network makes of a token that is
    neither seen nor padding may depend on the padding, as in DeBERTa.

    Args:
        network: Its head has no pooling; on `device`, in evaluation mode.
        pad_id: As for `PaddedTorchBackend`.
        type_ids: Give the model segment ids.
        packed: Runs the same network.
        stateless: As for `PaddedTorchBackend`.
    """

    def __init__(
        self,
        network: Encoder,
        device: torch.device,
        pad_id: int,
        *,
        type_ids: bool,
        packed: PackedTorchBackend | None = None,
        stateless: bool = False,
    ) -> None:
        self.serial = device.type != "cpu" or not stateless
        self._network = network
        self._device = device
        self._pad_id = pad_id
        self._type_ids = type_ids
        self._packed = packed

    @property
    def padded(self) -> bool:
        return self._packed is None

    def score(self, batch: Batch) -> Values:
        with memory_errors():
            return self._score(batch)

    @torch.inference_mode()
    def _score(self, batch: Batch) -> list[NDArray[np.float32]]:
        unseen = batch.sums(batch.marked(UNSEEN)) > 0
        kinds = np.where(unseen, batch.lengths, -1)
        groups: dict[int, Iterator[NDArray[np.float32]]] = {}
        for kind in np.unique(kinds).tolist():
            rows = batch.chosen(kinds == kind)
            packs = kind < 0 and self._packed is not None
            groups[kind] = iter(self._unpadded(rows) if packs else self._padded(rows))
        return [next(groups[kind]) for kind in kinds.tolist()]

    def _unpadded(self, batch: Batch) -> list[NDArray[np.float32]]:
        assert self._packed is not None
        return self._rows(self._packed.hidden(batch), batch)

    def _padded(self, batch: Batch) -> list[NDArray[np.float32]]:
        ids, type_ids, mask = batch.padded(self._pad_id)
        seen = mask.copy()
        seen[mask] = ~batch.marked(UNSEEN)
        inputs = {"input_ids": to_device(self._device, ids)}
        if not seen.all() or (ids == self._pad_id).any():
            inputs["attention_mask"] = to_device(self._device, seen).long()
        if self._type_ids:
            inputs["token_type_ids"] = to_device(self._device, type_ids)
        hidden: Tensor = self._network.model(**inputs).last_hidden_state
        return self._rows(hidden[to_device(self._device, mask)], batch)

    def _rows(self, hidden: Tensor, batch: Batch) -> list[NDArray[np.float32]]:
        """Return the vectors of each row. `hidden` has shape (tokens, hidden size)."""
        scored = ~batch.marked(UNSCORED)
        kept = hidden if scored.all() else hidden[to_device(self._device, scored)]
        vectors = self._network.finish(kept, torch.ones(len(kept), dtype=torch.bool)).float().cpu().numpy()
        return np.split(vectors, np.cumsum(batch.sums(scored))[:-1])
