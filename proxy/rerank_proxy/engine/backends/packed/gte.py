"""GTE and NomicBERT: BERT with rotary positions and a gated MLP."""

from typing import Any

from torch import Tensor

from rerank_proxy.engine.backends.packed.attention import Full
from rerank_proxy.engine.backends.packed.body import Body, embedded
from rerank_proxy.engine.backends.packed.layers import GatedMlp, PostNorm
from rerank_proxy.engine.backends.packed.layout import Layout
from rerank_proxy.engine.backends.packed.linear import Linears, in_place
from rerank_proxy.engine.backends.packed.rotary import Rotary, is_static


def supports(config: Any) -> bool:
    """Return whether the angles of positions are the same for rows of any length."""
    return is_static(config.rope_parameters)


def build(model: Any, linear: Linears) -> Body:
    """Build the body of a `GteModel` or `NomicBertModel`."""

    def embed(layout: Layout) -> Tensor:
        return embedded(model.embeddings, layout, token_type_ids=layout.tensor(layout.batch.type_ids))

    return Body(embed, [_layer(layer, model, linear) for layer in model.layers])


def _layer(layer: Any, model: Any, linear: Linears) -> PostNorm:
    attention, mlp = layer.self_attn, layer.mlp
    heads = attention.q_proj.out_features // attention.head_dim
    return PostNorm(
        project=linear(attention.q_proj, attention.k_proj, attention.v_proj),
        attention=Rotary(model.rotary_emb, "all", heads, Full(heads)),
        output=linear(attention.o_proj),
        attention_norm=layer.post_attention_layernorm,
        mlp=GatedMlp(linear(mlp.gate_proj, mlp.up_proj), in_place(mlp.act_fn), linear(mlp.down_proj)),
        mlp_norm=layer.post_mlp_layernorm,
    )
