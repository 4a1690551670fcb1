"""MPNet: BERT with a bias for each distance between two tokens, without segments."""

import math
from typing import Annotated, Final

import msgspec
import torch
from torch import Tensor, nn

from rerank_proxy.engine.backends.plain.bert import Intermediate, LayersConfig, Output
from rerank_proxy.engine.backends.plain.parts import (
    ClassificationHead,
    Classified,
    Embedding,
    Encoded,
    Linear,
    attend,
    positions_behind,
    seen,
)

_PADDING_ID: Final = 1
"""Positions are counted from behind it, whatever the config says."""

_BUCKETS: Final = 32
_FURTHEST: Final = 128
"""Tokens that are farther from one another share a bucket."""


class MPNetConfig(LayersConfig, frozen=True):
    """What config.json says about the arithmetic, in its words."""

    relative_attention_num_buckets: Annotated[int, msgspec.Meta(ge=_BUCKETS, le=_BUCKETS)]

    @property
    def usual(self) -> bool:
        return super().usual and self.pad_token_id == _PADDING_ID


class Embeddings(nn.Module):
    """The sum of the embeddings of tokens and positions, normalised."""

    def __init__(self, config: MPNetConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.word_embeddings = Embedding(config.vocab_size, size, padding_idx=_PADDING_ID)
        self.position_embeddings = Embedding(config.max_position_embeddings, size, padding_idx=_PADDING_ID)
        self.LayerNorm = nn.LayerNorm(size, eps=config.layer_norm_eps)

    def forward(self, input_ids: Tensor, position_ids: Tensor | None = None) -> Tensor:
        """Return shape (rows, tokens, hidden) for ids of shape (rows, tokens)."""
        positions = positions_behind(input_ids, _PADDING_ID) if position_ids is None else position_ids
        summed = self.word_embeddings(input_ids) + self.position_embeddings(positions)
        normed: Tensor = self.LayerNorm(summed)
        return normed


class SelfAttention(nn.Module):
    """Attention without its norm."""

    def __init__(self, config: MPNetConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.num_attention_heads = config.num_attention_heads
        self.q = Linear(size, size)
        self.k = Linear(size, size)
        self.v = Linear(size, size)
        self.o = Linear(size, size)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        parts = (self.q(hidden), self.k(hidden), self.v(hidden))
        output: Tensor = self.o(attend(*parts, self.num_attention_heads, mask))
        return output


class Attention(nn.Module):
    """Attention with its norm."""

    def __init__(self, config: MPNetConfig) -> None:
        super().__init__()
        self.attn = SelfAttention(config)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        normed: Tensor = self.LayerNorm(self.attn(hidden, mask) + hidden)
        return normed


class Layer(nn.Module):
    """One layer of the encoder."""

    def __init__(self, config: MPNetConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.intermediate = Intermediate(config)
        self.output = Output(config.intermediate_size, config)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        attended = self.attention(hidden, mask)
        output: Tensor = self.output(self.intermediate(attended), attended)
        return output


class Encoder(nn.Module):
    """The layers, and the bias that they share."""

    def __init__(self, config: MPNetConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.relative_attention_bias = Embedding(_BUCKETS, config.num_attention_heads)

    def forward(self, hidden: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Return the last hidden state, shape (rows, tokens, hidden)."""
        places = torch.arange(hidden.shape[1], device=hidden.device)
        buckets = self.relative_position_bucket(places[None, :] - places[:, None])
        bias = self.relative_attention_bias(buckets).permute(2, 0, 1)[None]
        known = seen(attention_mask)
        mask = bias if known is None else bias.masked_fill(~known, -math.inf)
        for layer in self.layer:
            hidden = layer(hidden, mask)
        return hidden

    @staticmethod
    def relative_position_bucket(ahead: Tensor) -> Tensor:
        """Return the bucket of each distance; a key that comes behind its query is `ahead` of it."""
        half, exact = _BUCKETS // 2, _BUCKETS // 4
        distance = ahead.abs()
        steps = torch.log(distance.float() / exact) / math.log(_FURTHEST / exact) * (half - exact)
        far = (exact + steps.long()).clamp(max=half - 1)
        return torch.where(distance < exact, distance, far) + (ahead > 0).long() * half


class MPNetModel(nn.Module):
    """The transformer."""

    base_model_prefix = "mpnet"

    def __init__(self, config: MPNetConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Encoded:
        """Run padded rows: ids of shape (rows, tokens), the mask 1 on tokens and 0 on padding."""
        return Encoded(self.encoder(self.embeddings(input_ids), attention_mask))


class MPNetForSequenceClassification(nn.Module):
    """MPNet with a head of two layers, of one label."""

    base_model_prefix = "mpnet"

    def __init__(self, config: MPNetConfig) -> None:
        super().__init__()
        self.config = config
        self.mpnet = MPNetModel(config)
        self.classifier = ClassificationHead(config.hidden_size, torch.tanh)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Classified:
        """Run padded rows, as `MPNetModel` does."""
        hidden = self.mpnet(input_ids, attention_mask).last_hidden_state
        return Classified(self.classifier(hidden))
