"""Run a sparse encoder (SPLADE), which gives a text weights for terms of the vocabulary. Imports torch.

Source: `SpladePooling` of sentence-transformers; Formal and others, "SPLADE: Sparse Lexical and Expansion
Model for First Stage Ranking" (2021), section 3, and "SPLADE v2" (2021) for the largest weight.
"""

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from rerank_proxy.engine.backends.arrays import ArraysBackend
from rerank_proxy.engine.backends.model_inputs import ModelInputs
from rerank_proxy.engine.backends.packed import PackedTorchBackend
from rerank_proxy.engine.rows import STATIC, UNSCORED, Batch, Values

MAX_TERMS: Final = 2**24
"""Up to here a float32 tells all integers apart."""

_PIECE_BYTES: Final = 16 * 1024 * 1024
"""Of the logits that are in memory at a time: of 137 tokens, with a vocabulary of 30,522 terms."""


class Splade(nn.Module):
    """A `…ForMaskedLM`, and what is made of the logits of a text's tokens.

    Args:
        model: The model, with nothing in place of the layer that gives the logits.
        decoder: That layer.
        sums: The weights that a term has at all tokens are summed up; otherwise the largest counts.
        logarithms: How often a weight is replaced by log(1 + weight).
        most_terms: So many terms of a text are kept, those with the largest weights; None: all.
        static: The weights that tokens of queries have, (terms,); None where queries are as texts.
    """

    def __init__(
        self,
        model: Any,
        decoder: nn.Linear,
        *,
        sums: bool,
        logarithms: int,
        most_terms: int | None,
        static: NDArray[np.float32] | None = None,
    ) -> None:
        super().__init__()
        self.model = model
        self.decoder = decoder
        self._sums = sums
        self._logarithms = logarithms
        self._most_terms = most_terms
        self._static = static

    @property
    def terms(self) -> int:
        """How many terms the vocabulary has."""
        return self.decoder.out_features

    def untie(self) -> None:
        """Give the decoder weights of its own, so that those of the model may be of another type."""
        for name, weights in tuple(self.decoder.named_parameters()):
            setattr(self.decoder, name, nn.Parameter(weights.detach().clone(), requires_grad=False))

    def static_weights(self, terms: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return these terms of a query with their weights, as `weights` does."""
        assert self._static is not None
        weights = self._static[terms]
        kept = np.argsort(-np.abs(weights), kind="stable")[: self._most_terms]
        kept = kept[weights[kept] != 0]
        return np.stack([terms[kept].astype(np.float32), weights[kept]], axis=1)

    def weights(self, features: Tensor, lengths: NDArray[np.int64]) -> list[NDArray[np.float32]]:
        """Return the terms and weights of each row, shape (terms that have a weight, 2).

        Args:
            features: What the decoder is given, (tokens, features), row after row.
            lengths: Tokens of each row.
        """
        found: list[NDArray[np.float32]] = []
        waiting: list[Tensor] = []
        for pooled in self._pooled(features, lengths.tolist()):
            waiting.append(pooled)
            if len(waiting) * self.terms * 4 >= _PIECE_BYTES:
                found += self._nonzero(torch.stack(waiting))
                waiting = []
        return found + (self._nonzero(torch.stack(waiting)) if waiting else [])

    def _pooled(self, features: Tensor, lengths: list[int]) -> Iterator[Tensor]:
        """Yield what the logits of each row's tokens become, (terms,)."""
        size = max(1, _PIECE_BYTES // (4 * self.terms))
        ends = np.cumsum(lengths).tolist()
        row, pooled = 0, None
        for start in range(0, len(features), size):
            logits = self._logits(features[start : start + size])
            stop = start + len(logits)
            while row < len(ends) and start < stop:
                end = min(ends[row], stop)
                part = logits[start - stop : (end - stop) or None]
                pooled = self._joined(pooled, part)
                start = end
                if end < ends[row]:
                    break
                yield pooled if self._sums else self._activated(pooled)
                row, pooled = row + 1, None

    def _logits(self, features: Tensor) -> Tensor:
        logits: Tensor = self.decoder(features.float())
        return self._activated(logits) if self._sums else logits

    def _joined(self, pooled: Tensor | None, logits: Tensor) -> Tensor:
        """Pool the logits of some tokens, together with what those before them became."""
        part = logits.sum(dim=0) if self._sums else logits.amax(dim=0)
        if pooled is None:
            return part
        return pooled + part if self._sums else torch.maximum(pooled, part)

    def _activated(self, logits: Tensor) -> Tensor:
        """Make weights of logits. As that never reverses an order, the largest may be chosen before it."""
        weights = logits.relu_()
        for _ in range(self._logarithms):
            weights = weights.log1p_()
        return weights

    def _nonzero(self, weights: Tensor) -> list[NDArray[np.float32]]:
        """Return the terms with a weight, and these, of each row of `weights`, (rows, terms)."""
        if self._most_terms is not None and self._most_terms < self.terms:
            top = weights.topk(self._most_terms, dim=1)
            weights = torch.zeros_like(weights).scatter_(1, top.indices, top.values)
        rows, terms = weights.nonzero(as_tuple=True)
        pairs = torch.stack([terms.float(), weights[rows, terms]], dim=1)
        counts = torch.bincount(rows, minlength=len(weights)).cpu().numpy()
        return np.split(pairs.cpu().numpy(), np.cumsum(counts)[:-1])


class SparseBackend(ArraysBackend):
    """A `Backend` that gives each row the terms that it speaks of, and their weights.

    Args:
        network: On the device of `inputs`, in evaluation mode.
        packed: Runs the transformer below the head of the same network.
    """

    def __init__(
        self,
        network: Splade,
        inputs: ModelInputs,
        packed: PackedTorchBackend | None = None,
    ) -> None:
        super().__init__(inputs, packed)
        self._network = network

    def _score(self, batch: Batch) -> list[NDArray[np.float32]]:
        static = batch.sums(batch.marked(STATIC)) > 0
        if not static.any():
            return self._run(batch)
        queries = batch.chosen(static)
        ids = np.where(queries.marked(UNSCORED), -1, queries.ids)
        of_queries = (
            self._network.static_weights(row[row >= 0])
            for row in np.split(ids, np.cumsum(queries.lengths)[:-1])
        )
        of_texts = iter([] if static.all() else self._run(batch.chosen(~static)))
        return [next(of_queries if each else of_texts) for each in static.tolist()]

    @torch.inference_mode()
    def _run(self, batch: Batch) -> list[NDArray[np.float32]]:
        features = self._padded(batch) if self._packed is None else self._unpadded(self._packed, batch)
        return self._network.weights(features, batch.lengths)

    def _unpadded(self, packed: PackedTorchBackend, batch: Batch) -> Tensor:
        model, features = self._network.model, packed.hidden(batch)
        for name in TRANSFORMS[model.config.model_type]:
            features = getattr(model, name)(features)
        return features

    def _padded(self, batch: Batch) -> Tensor:
        inputs, mask = self._inputs.padded(batch)
        features: Tensor = self._network.model(**inputs).logits
        return features[mask]


def dense(values: Values, terms: int) -> NDArray[np.float32]:
    """Return the weights of all terms, shape (rows, terms)."""
    weights = np.zeros((len(values), terms), np.float32)
    for row, pairs in zip(weights, values, strict=True):
        row[pairs[:, 0].astype(np.int64)] = pairs[:, 1]
    return weights


TRANSFORMS: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(("bert", "deberta-v2"), ("cls",)),
    "distilbert": ("vocab_transform", "activation", "vocab_layer_norm"),
    "electra": ("generator_predictions",),
    "modernbert": ("head",),
    **dict.fromkeys(("camembert", "mpnet", "roberta", "xlm-roberta"), ("lm_head",)),
}
"""The modules between transformer and decoder of a `…ForMaskedLM`, by the `model_type` of its config."""
