"""MPNet: BERT with a bias for each distance between two tokens, which all layers share."""

from typing import Any, Final

import torch
from torch import Tensor

from rerank_proxy.engine.backends.packed import bert
from rerank_proxy.engine.backends.packed.attention import Bias, Full
from rerank_proxy.engine.backends.packed.body import Body, embedded
from rerank_proxy.engine.backends.packed.layers import PostNorm
from rerank_proxy.engine.backends.packed.layout import Layout
from rerank_proxy.engine.backends.packed.linear import Linears

_FURTHEST: Final = 128
"""Tokens that are farther from one another share a bucket, as `relative_position_bucket` has it."""


def probe_tokens(config: Any) -> int:
    """Return the tokens of a row in which distances share buckets, up to the last."""
    return _FURTHEST + 12


def build(model: Any, linear: Linears) -> Body:
    """Build the body of an `MPNetModel`."""

    def embed(layout: Layout) -> Tensor:
        padding_id = model.embeddings.position_embeddings.padding_idx
        return embedded(
            model.embeddings, layout, position_ids=layout.tensor(layout.positions_behind(padding_id))
        )

    bias = _bias(model.encoder)
    return Body(embed, [_layer(layer, bias, linear) for layer in model.encoder.layer])


def _layer(layer: Any, bias: Bias, linear: Linears) -> PostNorm:
    attention = layer.attention.attn
    return PostNorm(
        project=linear(attention.q, attention.k, attention.v),
        attention=Full(attention.num_attention_heads, bias),
        output=linear(attention.o),
        attention_norm=layer.attention.LayerNorm,
        mlp=bert.mlp(layer, linear),
        mlp_norm=layer.output.LayerNorm,
    )


def _bias(encoder: Any) -> Bias:
    """Return a function that computes the bias of a length once for a batch."""

    def make(length: int, device: torch.device) -> Tensor:
        ahead = torch.arange(1 - length, length, device=device)
        by_distance: Tensor = encoder.relative_attention_bias(encoder.relative_position_bucket(ahead)).t()
        # The last window of so many distances is that of the first query, which has every key ahead.
        return by_distance.unfold(-1, length, 1).flip(1)

    return lambda layout, length: layout.once(("bias", length), lambda: make(length, layout.device))
