"""DistilBERT: BERT under other names, without segments."""

from typing import Final

import torch
from torch import Tensor, nn

from rerank_proxy.engine.backends.plain.parts import (
    ACTIVATIONS,
    Classified,
    Config,
    Embedding,
    Encoded,
    Linear,
    Size,
    attend,
    seen,
)

_EPSILON: Final = 1e-12
"""Of all norms, whatever the config says."""


class DistilBertConfig(Config, frozen=True):
    """What config.json says about the arithmetic, in its words."""

    dim: Size
    hidden_dim: Size
    n_layers: Size
    n_heads: Size
    activation: str

    @property
    def layers(self) -> int:
        return self.n_layers

    @property
    def usual(self) -> bool:
        return super().usual and self.dim % self.n_heads == 0 and self.activation in ACTIVATIONS


class Embeddings(nn.Module):
    """The sum of the embeddings of tokens and positions, normalised."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__()
        self.word_embeddings = Embedding(config.vocab_size, config.dim, padding_idx=config.pad_token_id)
        self.position_embeddings = Embedding(config.max_position_embeddings, config.dim)
        self.LayerNorm = nn.LayerNorm(config.dim, eps=_EPSILON)

    def forward(self, input_ids: Tensor, position_ids: Tensor | None = None) -> Tensor:
        """Return shape (rows, tokens, hidden) for ids of shape (rows, tokens)."""
        tokens = torch.arange(input_ids.shape[1], device=input_ids.device)
        positions = tokens[None] if position_ids is None else position_ids
        summed = self.word_embeddings(input_ids) + self.position_embeddings(positions)
        normed: Tensor = self.LayerNorm(summed)
        return normed


class Attention(nn.Module):
    """Attention with its output."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__()
        self.n_heads = config.n_heads
        self.q_lin = Linear(config.dim, config.dim)
        self.k_lin = Linear(config.dim, config.dim)
        self.v_lin = Linear(config.dim, config.dim)
        self.out_lin = Linear(config.dim, config.dim)

    def forward(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        parts = (self.q_lin(hidden), self.k_lin(hidden), self.v_lin(hidden))
        output: Tensor = self.out_lin(attend(*parts, self.n_heads, mask))
        return output


class Ffn(nn.Module):
    """The wide layer."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__()
        self.lin1 = Linear(config.dim, config.hidden_dim)
        self.lin2 = Linear(config.hidden_dim, config.dim)
        self.activation = ACTIVATIONS[config.activation]

    def forward(self, hidden: Tensor) -> Tensor:
        output: Tensor = self.lin2(self.activation(self.lin1(hidden)))
        return output


class Layer(nn.Module):
    """One layer."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.sa_layer_norm = nn.LayerNorm(config.dim, eps=_EPSILON)
        self.ffn = Ffn(config)
        self.output_layer_norm = nn.LayerNorm(config.dim, eps=_EPSILON)

    def forward(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        attended = self.sa_layer_norm(self.attention(hidden, mask) + hidden)
        output: Tensor = self.output_layer_norm(self.ffn(attended) + attended)
        return output


class Layers(nn.Module):
    """The layers, one after the other."""

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(config) for _ in range(config.n_layers))


class DistilBertModel(nn.Module):
    """The transformer."""

    base_model_prefix = "distilbert"

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.transformer = Layers(config)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Encoded:
        """Run padded rows: ids of shape (rows, tokens), the mask 1 on tokens and 0 on padding."""
        hidden = self.embeddings(input_ids)
        for layer in self.transformer.layer:
            hidden = layer(hidden, seen(attention_mask))
        return Encoded(hidden)


class DistilBertForSequenceClassification(nn.Module):
    """DistilBERT with two linear layers, of one label."""

    base_model_prefix = "distilbert"

    def __init__(self, config: DistilBertConfig) -> None:
        super().__init__()
        self.config = config
        self.distilbert = DistilBertModel(config)
        self.pre_classifier = Linear(config.dim, config.dim)
        self.classifier = Linear(config.dim, 1)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Classified:
        """Run padded rows, as `DistilBertModel` does."""
        firsts = self.distilbert(input_ids, attention_mask).last_hidden_state[:, 0]
        return Classified(self.classifier(self.pre_classifier(firsts).relu()))
