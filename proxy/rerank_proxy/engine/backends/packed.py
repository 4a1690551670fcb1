"""Run encoders with BERT's architecture without padding, on CPUs.

Two things make it faster than the general way, with the same results up to rounding:

* the rows of a batch lie end to end, so that no arithmetic is spent on padding; only attention, a small part
  of the whole, runs row by row (rows of equal length together);
* where the head reads only the first token, as the usual classification heads do, the last layer computes
  only that token. With six layers that saves some 13 % of the arithmetic, with twelve 7 %.

GPUs need few large kernels instead of many small ones: there `PaddedTorchBackend` is the better choice.
"""

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from rerank_proxy.engine.backends.networks import Classifier, Encoder, Pooling
from rerank_proxy.engine.rows import Batch

MODEL_TYPES: Final = ("bert", "roberta", "xlm-roberta", "camembert", "electra")
"""The types whose modules are arranged and named as those of `BertModel`."""


class PackedTorchBackend:
    """A `Backend` without padding.

    Args:
        network: One for which `supports` returns true, in evaluation mode, on the CPU. Its query, key and
            value weights are moved into one tensor; it can still be used as before.
    """

    padded = False
    serial = False

    def __init__(self, network: Classifier | Encoder) -> None:
        self._network = network
        body = _body(network)
        self._body = body
        self._layers = [_Layer(layer) for layer in body.encoder.layer]
        self._reads_first = _reads_first_token(network)

    def score(self, batch: Batch) -> NDArray[np.float32]:
        with torch.inference_mode():
            lengths = batch.lengths.tolist()
            hidden = self._embed(batch)
            for layer in self._layers[:-1]:
                hidden = layer.all_tokens(hidden, lengths)
            last = self._layers[-1]
            if self._reads_first:
                output = self._head(last.first_tokens(hidden, lengths).unsqueeze(1), None)
            else:
                output = self._head(*_pad(last.all_tokens(hidden, lengths), lengths))
            values: NDArray[np.float32] = output.float().numpy()
            return values

    def _embed(self, batch: Batch) -> Tensor:
        """Return the embeddings of the tokens, shape (tokens, hidden)."""
        embeddings = self._body.embeddings
        positions = _positions(batch, embeddings.position_embeddings.padding_idx)
        hidden: Tensor = embeddings(
            input_ids=torch.from_numpy(batch.ids[None]),
            token_type_ids=torch.from_numpy(batch.type_ids[None]),
            position_ids=torch.from_numpy(positions[None]),
        )
        if hasattr(self._body, "embeddings_project"):
            hidden = self._body.embeddings_project(hidden)
        return hidden[0]

    def _head(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """Run the head on `hidden`, (rows, tokens or 1, hidden). Return shape (rows, outputs)."""
        if isinstance(self._network, Encoder):
            first_only = torch.ones(hidden.shape[:2], dtype=torch.bool)
            return self._network.finish(hidden, first_only if mask is None else mask)
        pooler = getattr(self._body, "pooler", None)
        pooled = hidden if pooler is None else pooler(hidden)
        logits: Tensor = self._network.model.classifier(pooled)
        return logits


class _Layer:
    """A `BertLayer` over tokens of many rows, shape (tokens, hidden)."""

    def __init__(self, layer: Any) -> None:
        attention = layer.attention.self
        self._heads: int = attention.num_attention_heads
        self._attention_output = layer.attention.output
        self._intermediate = layer.intermediate
        self._output = layer.output
        self._weight, self._bias = _merge(attention.query, attention.key, attention.value)

    def all_tokens(self, hidden: Tensor, lengths: Sequence[int]) -> Tensor:
        """Return the output for every token, shape (tokens, hidden)."""
        context = torch.empty_like(hidden)
        for start, rows, length, (query, key, value) in self._rows(hidden, lengths):
            mixed = functional.scaled_dot_product_attention(query, key, value)
            context[start : start + rows * length] = mixed.transpose(1, 2).reshape(rows * length, -1)
        return self._rest(context, hidden)

    def first_tokens(self, hidden: Tensor, lengths: Sequence[int]) -> Tensor:
        """Return the output for the first token of each row, shape (rows, hidden)."""
        context = []
        for _, rows, _, (query, key, value) in self._rows(hidden, lengths):
            mixed = functional.scaled_dot_product_attention(query[:, :, :1], key, value)
            context.append(mixed.reshape(rows, -1))
        firsts = np.cumsum([0, *lengths[:-1]])
        return self._rest(torch.cat(context), hidden[torch.from_numpy(firsts)])

    def _rows(
        self, hidden: Tensor, lengths: Sequence[int]
    ) -> Iterator[tuple[int, int, int, tuple[Tensor, Tensor, Tensor]]]:
        """Yield runs of rows of equal length: start, number, length, and query, key and value.

        Each of the last three has the shape (rows, heads, length, size of a head).
        """
        merged = functional.linear(hidden, self._weight, self._bias)
        start = 0
        for length, group in groupby(lengths):
            rows = sum(1 for _ in group)
            part = merged[start : start + rows * length].view(rows, length, 3, self._heads, -1)
            query, key, value = part.permute(2, 0, 3, 1, 4)
            yield start, rows, length, (query, key, value)
            start += rows * length

    def _rest(self, context: Tensor, residual: Tensor) -> Tensor:
        attended = self._attention_output(context, residual)
        output: Tensor = self._output(self._intermediate(attended), attended)
        return output


def supports(network: nn.Module, model_type: str) -> bool:
    """Return whether the backend can probably run the network. To be sure of the result, compare a batch."""
    if not isinstance(network, Classifier | Encoder) or model_type not in MODEL_TYPES:
        return False
    config = network.model.config
    absolute = getattr(config, "position_embedding_type", "absolute") in (None, "absolute")
    decodes = getattr(config, "is_decoder", False) or getattr(config, "add_cross_attention", False)
    return absolute and not decodes


def _body(network: Classifier | Encoder) -> Any:
    """Return the transformer below the head; an encoder has no head."""
    model = network.model
    return getattr(model, model.base_model_prefix, model)


def _reads_first_token(network: Classifier | Encoder) -> bool:
    if isinstance(network, Classifier):
        return True
    pooling = next(iter(network.head), None)
    return isinstance(pooling, Pooling) and pooling.modes == ("cls",)


def _merge(*parts: nn.Linear) -> tuple[Tensor, Tensor]:
    """Merge the layers over one input into one weight and one bias, without keeping a second copy of them."""
    weight = torch.cat([part.weight.detach() for part in parts])
    bias = torch.cat([part.bias.detach() for part in parts])
    for part, own_weight, own_bias in zip(
        parts, weight.chunk(len(parts)), bias.chunk(len(parts)), strict=True
    ):
        part.weight = nn.Parameter(own_weight, requires_grad=False)
        part.bias = nn.Parameter(own_bias, requires_grad=False)
    return weight, bias


def _positions(batch: Batch, padding_id: int | None) -> NDArray[np.int64]:
    """Return the position of each token in its row.

    RoBERTa and similar models count from behind the padding id, and do not count tokens that have this id,
    which get into a row if a text spells the token out.
    """
    starts = np.cumsum(batch.lengths) - batch.lengths
    if padding_id is None:
        return np.arange(batch.tokens) - np.repeat(starts, batch.lengths)
    counted = (batch.ids != padding_id).astype(np.int64)
    before = np.concatenate([[0], np.cumsum(counted)])
    in_row = before[1:] - np.repeat(before[starts], batch.lengths)
    positions: NDArray[np.int64] = in_row * counted + padding_id
    return positions


def _pad(hidden: Tensor, lengths: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return shape (rows, tokens, hidden), and the mask (rows, tokens) of what is not padding."""
    padded = nn.utils.rnn.pad_sequence(list(torch.split(hidden, list(lengths))), batch_first=True)
    counts = torch.tensor(lengths)
    return padded, torch.arange(padded.shape[1]) < counts[:, None]
