"""DeBERTa-v2 and -v3: attention between contents and relative positions besides that between contents."""

import math
from typing import Annotated, Final, Literal

import msgspec
import torch
from torch import Tensor, nn

from rerank_proxy.engine.backends.plain.bert import Intermediate, LayersConfig, Output
from rerank_proxy.engine.backends.plain.parts import (
    ACTIVATIONS,
    Classified,
    Embedding,
    Encoded,
    Linear,
    apart,
    mix,
    seen,
)

_KINDS: Final = frozenset({"c2p", "p2c"})
"""Of products: contents with positions, and positions with contents."""

_Whole = Annotated[int, msgspec.Meta(ge=-(2**31), lt=2**31)]


class DebertaConfig(LayersConfig, frozen=True):
    """What config.json says about the arithmetic, in its words."""

    type_vocab_size: Annotated[int, msgspec.Meta(ge=0, lt=2**31)]
    relative_attention: bool
    position_biased_input: bool
    pos_att_type: tuple[str, ...] | str | None
    pooler_hidden_act: str
    pooler_hidden_size: int | None = None
    max_relative_positions: _Whole = -1
    position_buckets: _Whole = -1
    norm_rel_ebd: Literal["none", "layer_norm"] = "none"
    share_att_key: bool = False

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of products with positions."""
        said = self.pos_att_type or ()
        return frozenset(said.lower().split("|") if isinstance(said, str) else said)

    @property
    def furthest(self) -> int:
        """Tokens that are farther from one another count as if they were not."""
        return (
            self.max_relative_positions if self.max_relative_positions > 0 else self.max_position_embeddings
        )

    @property
    def span(self) -> int:
        """Half of the positions of which there are embeddings."""
        return self.position_buckets if self.position_buckets > 0 else self.furthest

    @property
    def usual(self) -> bool:
        pooled = self.pooler_hidden_size in (None, self.hidden_size) and self.pooler_hidden_act in ACTIVATIONS
        buckets = self.position_buckets <= 0 or 1 <= self.position_buckets // 2 < self.furthest - 1
        return super().usual and pooled and buckets and self.kinds <= _KINDS


def bucket(distances: Tensor, buckets: int, furthest: int) -> Tensor:
    """Return the bucket of each distance, whole numbers: up to half of them its own, from there logarithmic.

    Args:
        buckets: How many there are on each side of zero.
        furthest: The distance, plus one, that gets the last one.
    """
    half = buckets // 2
    far = distances.abs().clamp(min=max(half - 1, 1))  # Nearer ones are their own buckets.
    # Divided and rounded in this order, and as tensors: the steps are where transformers has them.
    steps = torch.log(far / half) / torch.log(torch.tensor((furthest - 1) / half)) * (half - 1)
    logarithmic = (torch.ceil(steps) + half).long() * distances.sign()
    return torch.where(distances.abs() <= half, distances, logarithmic)


class Embeddings(nn.Module):
    """The sum of the embeddings of tokens and, where there are, positions and segments, normalised."""

    def __init__(self, config: DebertaConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.word_embeddings = Embedding(config.vocab_size, size, padding_idx=config.pad_token_id)
        positions, types = config.max_position_embeddings, config.type_vocab_size
        self.position_embeddings = Embedding(positions, size) if config.position_biased_input else None
        self.token_type_embeddings = Embedding(types, size) if types else None
        self.LayerNorm = nn.LayerNorm(size, eps=config.layer_norm_eps)

    def forward(
        self, input_ids: Tensor, token_type_ids: Tensor | None = None, position_ids: Tensor | None = None
    ) -> Tensor:
        """Return shape (rows, tokens, hidden) for ids of shape (rows, tokens)."""
        summed = self.word_embeddings(input_ids)
        if self.position_embeddings is not None:
            tokens = torch.arange(input_ids.shape[1], device=input_ids.device)
            summed = summed + self.position_embeddings(tokens[None] if position_ids is None else position_ids)
        if self.token_type_embeddings is not None:
            types = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids
            summed = summed + self.token_type_embeddings(types)
        normed: Tensor = self.LayerNorm(summed)
        return normed


class SelfAttention(nn.Module):
    """The projections to query, key and value, of contents and of positions."""

    def __init__(self, config: DebertaConfig) -> None:
        super().__init__()
        size, kinds = config.hidden_size, config.kinds
        self.num_attention_heads = config.num_attention_heads
        self.all_head_size = size
        self.pos_att_type = kinds
        self.relative_attention = config.relative_attention
        self.share_att_key = config.share_att_key
        self._scale = 1 / math.sqrt(size // config.num_attention_heads * (1 + len(kinds)))
        self.query_proj = Linear(size, size)
        self.key_proj = Linear(size, size)
        self.value_proj = Linear(size, size)
        if self.relative_attention and not self.share_att_key:
            if "c2p" in kinds:
                self.pos_key_proj = Linear(size, size)
            if "p2c" in kinds:
                self.pos_query_proj = Linear(size, size)

    def forward(self, hidden: Tensor, known: Tensor | None, embeddings: Tensor, places: Tensor) -> Tensor:
        """Return what each token gathers from its row, shape (rows, tokens, hidden).

        Args:
            embeddings: Of positions, shape (positions, hidden), none without relative attention.
            places: Which of them is that of each query (row) and key (column).
        """
        parts = (self.query_proj(hidden), self.key_proj(hidden), self.value_proj(hidden))
        query, key, value = (apart(part, self.num_attention_heads) for part in parts)
        if not self.relative_attention:
            return mix(query, key, value, known, self._scale)
        bias = self._products(query, key, embeddings, places) * self._scale
        mask = bias if known is None else bias.masked_fill(~known, -math.inf)
        return mix(query, key, value, mask, self._scale)

    def _products(self, query: Tensor, key: Tensor, embeddings: Tensor, places: Tensor) -> Tensor:
        """Return products with positions, shape (rows, heads, tokens, tokens)."""
        products = query.new_zeros(*query.shape[:2], *places.shape)
        if "c2p" in self.pos_att_type:
            project = self.key_proj if self.share_att_key else self.pos_key_proj
            positions = apart(project(embeddings)[None], self.num_attention_heads)
            every = query @ positions.transpose(2, 3)
            products = products + every.gather(3, places.expand_as(products))
        if "p2c" in self.pos_att_type:
            project = self.query_proj if self.share_att_key else self.pos_query_proj
            positions = apart(project(embeddings)[None], self.num_attention_heads)
            every = key @ positions.transpose(2, 3)
            products = products + every.gather(3, places.T.expand_as(products)).transpose(2, 3)
        return products


class Attention(nn.Module):
    """Attention with its output."""

    def __init__(self, config: DebertaConfig) -> None:
        super().__init__()
        self.self = SelfAttention(config)
        self.output = Output(config.hidden_size, config)


class Layer(nn.Module):
    """One layer of the encoder."""

    def __init__(self, config: DebertaConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.intermediate = Intermediate(config)
        self.output = Output(config.intermediate_size, config)

    def forward(self, hidden: Tensor, known: Tensor | None, embeddings: Tensor, places: Tensor) -> Tensor:
        attended = self.attention.output(self.attention.self(hidden, known, embeddings, places), hidden)
        output: Tensor = self.output(self.intermediate(attended), attended)
        return output


class Encoder(nn.Module):
    """The layers, and the embeddings of positions that they share."""

    def __init__(self, config: DebertaConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))
        self.max_relative_positions = config.furthest
        self.position_buckets = config.position_buckets
        self._span = config.span
        self.rel_embeddings = (
            Embedding(2 * self._span, config.hidden_size) if config.relative_attention else None
        )
        if config.norm_rel_ebd == "layer_norm":
            self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden: Tensor, attention_mask: Tensor | None) -> Tensor:
        """Return the last hidden state, shape (rows, tokens, hidden)."""
        embeddings, places = self.get_rel_embedding(), self._places(hidden)
        known = seen(attention_mask)
        for layer in self.layer:
            hidden = layer(hidden, known, embeddings, places)
        return hidden

    def get_rel_embedding(self) -> Tensor | None:
        """Return the embeddings of positions, shape (positions, hidden), if there are any."""
        if self.rel_embeddings is None:
            return None
        weight: Tensor = self.rel_embeddings.weight
        return self.LayerNorm(weight) if hasattr(self, "LayerNorm") else weight

    def _places(self, hidden: Tensor) -> Tensor:
        tokens = torch.arange(hidden.shape[1], device=hidden.device)
        distances = tokens[:, None] - tokens[None, :]
        if self.position_buckets > 0:
            distances = bucket(distances, self.position_buckets, self.max_relative_positions)
        return (distances + self._span).clamp(0, 2 * self._span - 1)


class DebertaV2Model(nn.Module):
    """The transformer."""

    base_model_prefix = "deberta"

    def __init__(self, config: DebertaConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.encoder = Encoder(config)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Encoded:
        """Run padded rows: ids of shape (rows, tokens), the mask 1 on tokens and 0 on padding."""
        return Encoded(self.encoder(self.embeddings(input_ids, token_type_ids), attention_mask))


class ContextPooler(nn.Module):
    """A linear layer and its activation over the first token."""

    def __init__(self, config: DebertaConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.hidden_size)
        self.activation = ACTIVATIONS[config.pooler_hidden_act]

    def forward(self, hidden: Tensor) -> Tensor:
        return self.activation(self.dense(hidden[:, 0]))


class DebertaV2ForSequenceClassification(nn.Module):
    """DeBERTa with its pooler and one linear layer, of one label."""

    base_model_prefix = "deberta"

    def __init__(self, config: DebertaConfig) -> None:
        super().__init__()
        self.config = config
        self.deberta = DebertaV2Model(config)
        self.pooler = ContextPooler(config)
        self.classifier = Linear(config.hidden_size, 1)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Classified:
        """Run padded rows, as `DebertaV2Model` does."""
        hidden = self.deberta(input_ids, attention_mask, token_type_ids).last_hidden_state
        return Classified(self.classifier(self.pooler(hidden)))
