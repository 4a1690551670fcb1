"""DistilBERT: BERT under other names, without segments."""

from typing import Any

from torch import Tensor

from rerank_proxy.engine.backends.packed.attention import Full
from rerank_proxy.engine.backends.packed.body import Body, embedded
from rerank_proxy.engine.backends.packed.layers import Mlp, PostNorm
from rerank_proxy.engine.backends.packed.layout import Layout
from rerank_proxy.engine.backends.packed.linear import Linears, in_place


def build(model: Any, linear: Linears) -> Body:
    """Build the body of a `DistilBertModel`."""

    def embed(layout: Layout) -> Tensor:
        return embedded(model.embeddings, layout, position_ids=layout.tensor(layout.positions()))

    return Body(embed, [_layer(layer, linear) for layer in model.transformer.layer])


def logits(model: Any, firsts: Tensor) -> Tensor:
    """Run the classification head on first tokens, (rows, hidden)."""
    output: Tensor = model.classifier(model.pre_classifier(firsts).relu())
    return output


def _layer(layer: Any, linear: Linears) -> PostNorm:
    attention, mlp = layer.attention, layer.ffn
    return PostNorm(
        project=linear(attention.q_lin, attention.k_lin, attention.v_lin),
        attention=Full(attention.n_heads),
        output=linear(attention.out_lin),
        attention_norm=layer.sa_layer_norm,
        mlp=Mlp(linear(mlp.lin1), in_place(mlp.activation), linear(mlp.lin2)),
        mlp_norm=layer.output_layer_norm,
    )
