"""Run a transformer whose output is a vector for each token. Imports torch."""

from collections.abc import Iterator

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rerank_proxy.engine.backends.arrays import ArraysBackend
from rerank_proxy.engine.backends.device import to_device
from rerank_proxy.engine.backends.model_inputs import ModelInputs
from rerank_proxy.engine.backends.networks import Encoder
from rerank_proxy.engine.backends.packed import PackedTorchBackend
from rerank_proxy.engine.rows import UNSCORED, UNSEEN, Batch


class VectorsBackend(ArraysBackend):
    """A `Backend` that gives each row the vectors of its tokens, without those marked `UNSCORED`.

    Rows without a token that is `UNSEEN`, which are those of texts, run without padding where `packed` is
    given. All others, queries, run with those of their length only: what a network makes of a token that is
    neither seen nor padding may depend on the padding, as in DeBERTa.

    Args:
        network: Its head has no pooling; on the device of `inputs`, in evaluation mode.
        packed: Runs the same network.
    """

    def __init__(
        self,
        network: Encoder,
        inputs: ModelInputs,
        packed: PackedTorchBackend | None = None,
    ) -> None:
        super().__init__(inputs, packed)
        self._network = network

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
        inputs, mask = self._inputs.padded(batch)
        hidden: Tensor = self._network.model(**inputs).last_hidden_state
        return self._rows(hidden[mask], batch)

    def _rows(self, hidden: Tensor, batch: Batch) -> list[NDArray[np.float32]]:
        """Return the vectors of each row. `hidden` has shape (tokens, hidden size)."""
        scored = ~batch.marked(UNSCORED)
        kept = hidden if scored.all() else hidden[to_device(self._inputs.device, scored)]
        vectors = self._network.finish(kept, torch.ones(len(kept), dtype=torch.bool)).float().cpu().numpy()
        return np.split(vectors, np.cumsum(batch.sums(scored))[:-1])
