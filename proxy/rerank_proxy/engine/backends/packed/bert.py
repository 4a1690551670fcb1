"""BERT and what is built and named like it: RoBERTa, XLM-RoBERTa, CamemBERT, ELECTRA."""

from typing import Any

from torch import Tensor

from rerank_proxy.engine.backends.packed.attention import Full
from rerank_proxy.engine.backends.packed.body import Body, embedded
from rerank_proxy.engine.backends.packed.layers import Mlp, PostNorm
from rerank_proxy.engine.backends.packed.layout import Layout
from rerank_proxy.engine.backends.packed.linear import Linears, in_place


def supports(config: Any) -> bool:
    """Return whether a model with this config attends to whole rows, with positions in its embeddings."""
    absolute = getattr(config, "position_embedding_type", "absolute") in (None, "absolute")
    decodes = getattr(config, "is_decoder", False) or getattr(config, "add_cross_attention", False)
    return absolute and not decodes


def build(model: Any, linear: Linears) -> Body:
    """Build the body of a `BertModel` and its like."""

    def embed(layout: Layout) -> Tensor:
        padding_id = model.embeddings.position_embeddings.padding_idx
        positions = layout.positions() if padding_id is None else layout.positions_behind(padding_id)
        hidden = embedded(
            model.embeddings,
            layout,
            position_ids=layout.tensor(positions),
            token_type_ids=layout.tensor(layout.batch.type_ids),
        )
        if not hasattr(model, "embeddings_project"):
            return hidden
        projected: Tensor = model.embeddings_project(hidden)
        return projected

    return Body(embed, [_layer(layer, linear) for layer in model.encoder.layer])


def _layer(layer: Any, linear: Linears) -> PostNorm:
    attention = layer.attention.self
    return PostNorm(
        project=linear(attention.query, attention.key, attention.value),
        attention=Full(attention.num_attention_heads),
        output=linear(layer.attention.output.dense),
        attention_norm=layer.attention.output.LayerNorm,
        mlp=mlp(layer, linear),
        mlp_norm=layer.output.LayerNorm,
    )


def mlp(layer: Any, linear: Linears) -> Mlp:
    """Build the MLP of a layer that names its parts as BERT does."""
    intermediate = layer.intermediate
    return Mlp(
        linear(intermediate.dense), in_place(intermediate.intermediate_act_fn), linear(layer.output.dense)
    )
