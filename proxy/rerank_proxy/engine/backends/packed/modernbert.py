"""ModernBERT: rotary positions, a gated MLP, and layers most of which see only a window around each token."""

from typing import Any

from torch import Tensor

from rerank_proxy.engine.backends.packed.attention import Attention, Full
from rerank_proxy.engine.backends.packed.body import Body, embedded
from rerank_proxy.engine.backends.packed.layers import GatedMlp, PreNorm
from rerank_proxy.engine.backends.packed.linear import Linears, in_place
from rerank_proxy.engine.backends.packed.rotary import Rotary, is_static
from rerank_proxy.engine.backends.packed.window import BLOCKS_FROM, Window

_LOCAL = "sliding_attention"


def supports(config: Any) -> bool:
    """Return whether the angles of positions are the same for rows of any length."""
    return all(is_static(config.rope_parameters[kind]) for kind in set(config.layer_types))


def probe_tokens(config: Any) -> int:
    """Return the tokens of a row that has blocks within, and at both ends, of windows."""
    return (BLOCKS_FROM + 1) * int(config.sliding_window) + 1


def pools_first(config: Any) -> bool:
    """Return whether the classifier reads the first token; else the mean of all."""
    return bool(config.classifier_pooling == "cls")


def build(model: Any, linear: Linears) -> Body:
    """Build the body of a `ModernBertModel`."""
    layers = [_layer(layer, model, linear) for layer in model.layers]
    return Body(lambda layout: embedded(model.embeddings, layout), layers, finish=model.final_norm)


def logits(model: Any, pooled_rows: Tensor) -> Tensor:
    """Run the classification head on shape (rows, hidden)."""
    output: Tensor = model.classifier(model.head(pooled_rows))
    return output


def _layer(layer: Any, model: Any, linear: Linears) -> PreNorm:
    attention, mlp = layer.attn, layer.mlp
    heads = model.config.num_attention_heads
    kind = layer.attention_type
    within: Attention = Window(heads, model.config.sliding_window) if kind == _LOCAL else Full(heads)
    return PreNorm(
        attention_norm=layer.attn_norm,
        project=linear(attention.Wqkv),
        attention=Rotary(_angles(model.rotary_emb, kind), kind, heads, within),
        output=linear(attention.Wo),
        mlp_norm=layer.mlp_norm,
        mlp=GatedMlp(linear(mlp.Wi), in_place(mlp.act), linear(mlp.Wo)),
    )


def _angles(rotary: Any, kind: str) -> Any:
    return lambda like, positions: rotary(like, positions, kind)
