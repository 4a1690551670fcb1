"""The backend without padding."""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rerank_proxy.engine.backends.device import memory_errors
from rerank_proxy.engine.backends.networks import Classifier, Encoder, Pooling
from rerank_proxy.engine.backends.packed.families import FAMILIES
from rerank_proxy.engine.backends.packed.layout import Layout
from rerank_proxy.engine.backends.packed.linear import FullPrecision, Linears
from rerank_proxy.engine.backends.packed.reduced import running
from rerank_proxy.engine.rows import Batch


class PackedTorchBackend:
    """A `Backend` without padding.

    Args:
        network: One for which `supports` returns true, in evaluation mode. Its query, key and value weights
            are moved into one tensor; it can still be used as before.
        linear: Makes the linear layers.
    """

    padded = False

    def __init__(self, network: Classifier | Encoder, linear: Linears = FullPrecision) -> None:
        model = network.model
        self._network = network
        self._family = FAMILIES[model.config.model_type]
        self._body = self._family.build(_transformer(network), linear)
        self._firsts = _reads_first_token(network)
        self._device = next(model.parameters()).device
        self.serial = self._device.type != "cpu"

    def score(self, batch: Batch) -> NDArray[np.float32]:
        with memory_errors():
            return self._score(batch)

    @torch.inference_mode()
    def _score(self, batch: Batch) -> NDArray[np.float32]:
        layout = Layout.of(batch, self._device)
        with running(layout.batch):
            output = self._head(self._body(layout, firsts=self._firsts), layout)
        return layout.as_given(output.float().cpu().numpy())

    def hidden(self, batch: Batch) -> Tensor:
        """Return the last layer's output for every token, (tokens, hidden), without the head's work."""
        layout = Layout.of(batch, self._device)
        return layout.tokens_as_given(self._body(layout, firsts=False))

    def _head(self, hidden: Tensor, layout: Layout) -> Tensor:
        """Run the head on first tokens, (rows, hidden), or all, (tokens, hidden). Return (rows, outputs)."""
        if isinstance(self._network, Classifier):
            pooled = hidden if self._firsts else layout.means(hidden)
            return self._family.logits(self._network.model, pooled)
        if not self._firsts:
            return self._network.finish(*layout.padded(hidden))
        return self._network.finish(hidden[:, None], hidden.new_ones((len(hidden), 1), dtype=torch.bool))


def supports(network: nn.Module) -> bool:
    """Return whether the backend can probably run the network. To be sure of the result, compare a batch."""
    if not isinstance(network, Classifier | Encoder):
        return False
    config = network.model.config
    family = FAMILIES.get(config.model_type)
    return family is not None and family.supports(config)


def probe_tokens(network: Classifier | Encoder) -> int:
    """Return the tokens of a row that such a batch must have to show every difference; 0 for any row."""
    config = network.model.config
    return FAMILIES[config.model_type].probe_tokens(config)


def _transformer(network: Classifier | Encoder) -> Any:
    """Return the transformer below the head; an encoder has no head."""
    model = network.model
    return getattr(model, model.base_model_prefix, model)


def _reads_first_token(network: Classifier | Encoder) -> bool:
    if isinstance(network, Classifier):
        config = network.model.config
        return FAMILIES[config.model_type].pools_first(config)
    pooling = next(iter(network.head), None)
    return isinstance(pooling, Pooling) and pooling.modes == ("cls",)
