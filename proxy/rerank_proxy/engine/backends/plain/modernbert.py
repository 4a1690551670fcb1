"""ModernBERT: rotary positions, a gated MLP, and layers most of which see only a window around each token."""

from collections.abc import Mapping
from typing import Annotated, Final, Literal

import msgspec
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
    apart,
    mix,
    seen,
)

Kind = Literal["full_attention", "sliding_attention"]

_MOST_LAYERS: Final = 1000
"""A config that says more is not taken: a list of the kinds of so many layers could fill the memory."""


class ModernBertConfig(Config, frozen=True):
    """What config.json says about the arithmetic, in its words."""

    hidden_size: Size
    num_hidden_layers: Annotated[int, msgspec.Meta(gt=0, le=_MOST_LAYERS)]
    num_attention_heads: Size
    intermediate_size: Size
    hidden_activation: str
    norm_eps: float
    norm_bias: bool
    attention_bias: bool
    mlp_bias: bool
    local_attention: Annotated[int, msgspec.Meta(ge=2, lt=2**31)]
    classifier_pooling: Literal["cls", "mean"]
    classifier_bias: bool
    classifier_activation: str
    layer_types: tuple[Kind, ...] = ()
    rope_parameters: Mapping[Kind, dict[str, str | float]] = msgspec.field(default_factory=dict)
    global_attn_every_n_layers: Size = 3
    global_rope_theta: float = 160_000.0
    local_rope_theta: float = 10_000.0

    def __post_init__(self) -> None:
        """Derive what files of older versions of transformers say in other keys."""
        every = self.global_attn_every_n_layers
        kinds: tuple[Kind, ...] = tuple(
            "sliding_attention" if at % every else "full_attention" for at in range(self.num_hidden_layers)
        )
        msgspec.structs.force_setattr(self, "layer_types", self.layer_types or kinds)
        thetas: dict[Kind, float] = {
            "full_attention": self.global_rope_theta,
            "sliding_attention": self.local_rope_theta,
        }
        ropes = {
            kind: {"rope_type": "default", "rope_theta": theta, **self.rope_parameters.get(kind, {})}
            for kind, theta in thetas.items()
        }
        msgspec.structs.force_setattr(self, "rope_parameters", ropes)

    @property
    def layers(self) -> int:
        return self.num_hidden_layers

    @property
    def sliding_window(self) -> int:
        """How far before and behind itself a token of a local layer sees."""
        return self.local_attention // 2

    @property
    def head_size(self) -> int:
        """The numbers of one head."""
        return self.hidden_size // self.num_attention_heads

    @property
    def usual(self) -> bool:
        divides = self.hidden_size % self.num_attention_heads == 0 and self.head_size % 2 == 0
        activations = {self.hidden_activation, self.classifier_activation} <= ACTIVATIONS.keys()
        ropes = all(_is_usual(rope) for rope in self.rope_parameters.values())
        fits = len(self.layer_types) == self.num_hidden_layers
        return super().usual and divides and activations and ropes and fits


def _is_usual(rope: Mapping[str, str | float]) -> bool:
    theta = rope["rope_theta"]
    known = rope.keys() == {"rope_type", "rope_theta"} and rope["rope_type"] == "default"
    return known and isinstance(theta, float) and theta > 0


class Rotary:
    """The angles by which queries and keys are turned."""

    def __init__(self, config: ModernBertConfig) -> None:
        self._size = config.head_size
        self._thetas = {kind: float(rope["rope_theta"]) for kind, rope in config.rope_parameters.items()}

    def __call__(self, like: Tensor, positions: Tensor, kind: Kind) -> tuple[Tensor, Tensor]:
        """Return cosines and sines, each (1, tokens, size of a head), for positions of shape (1, tokens)."""
        steps = torch.arange(0, self._size, 2, dtype=torch.float32, device=like.device)
        angles = positions[..., None].float() * (1.0 / self._thetas[kind] ** (steps / self._size))
        both = torch.cat((angles, angles), dim=-1)
        return both.cos().to(like.dtype), both.sin().to(like.dtype)


def _turned(values: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    left, right = values.float().chunk(2, dim=-1)
    turned = values.float() * cosines + torch.cat((-right, left), dim=-1) * sines
    return turned.to(values.dtype)


def _norm(config: ModernBertConfig) -> nn.LayerNorm:
    return nn.LayerNorm(config.hidden_size, eps=config.norm_eps, bias=config.norm_bias)


class Embeddings(nn.Module):
    """The embeddings of tokens, normalised."""

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__()
        self.tok_embeddings = Embedding(
            config.vocab_size, config.hidden_size, padding_idx=config.pad_token_id
        )
        self.norm = _norm(config)

    def forward(self, input_ids: Tensor) -> Tensor:
        """Return shape (rows, tokens, hidden) for ids of shape (rows, tokens)."""
        normed: Tensor = self.norm(self.tok_embeddings(input_ids))
        return normed


class Attention(nn.Module):
    """Attention with its output."""

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.num_attention_heads = config.num_attention_heads
        self.Wqkv = Linear(size, 3 * size, bias=config.attention_bias)
        self.Wo = Linear(size, size, bias=config.attention_bias)

    def forward(self, hidden: Tensor, mask: Tensor | None, turns: tuple[Tensor, Tensor]) -> Tensor:
        parts = self.Wqkv(hidden).chunk(3, dim=-1)
        query, key, value = (apart(part, self.num_attention_heads) for part in parts)
        output: Tensor = self.Wo(mix(_turned(query, *turns), _turned(key, *turns), value, mask))
        return output


class Mlp(nn.Module):
    """The activated first half of a wide layer times the second half."""

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__()
        self.Wi = Linear(config.hidden_size, 2 * config.intermediate_size, bias=config.mlp_bias)
        self.act = ACTIVATIONS[config.hidden_activation]
        self.Wo = Linear(config.intermediate_size, config.hidden_size, bias=config.mlp_bias)

    def forward(self, hidden: Tensor) -> Tensor:
        activated, gate = self.Wi(hidden).chunk(2, dim=-1)
        output: Tensor = self.Wo(self.act(activated) * gate)
        return output


class Layer(nn.Module):
    """One layer. The embeddings are normalised, and the first layer does not do it again."""

    def __init__(self, config: ModernBertConfig, at: int) -> None:
        super().__init__()
        self.attention_type = config.layer_types[at]
        self.attn_norm = _norm(config) if at else nn.Identity()
        self.attn = Attention(config)
        self.mlp_norm = _norm(config)
        self.mlp = Mlp(config)

    def forward(self, hidden: Tensor, mask: Tensor | None, turns: tuple[Tensor, Tensor]) -> Tensor:
        attended = hidden + self.attn(self.attn_norm(hidden), mask, turns)
        output: Tensor = attended + self.mlp(self.mlp_norm(attended))
        return output


class ModernBertModel(nn.Module):
    """The transformer."""

    base_model_prefix = "model"

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.layers = nn.ModuleList(Layer(config, at) for at in range(config.num_hidden_layers))
        self.final_norm = _norm(config)
        self.rotary_emb = Rotary(config)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Encoded:
        """Run padded rows: ids of shape (rows, tokens), the mask 1 on tokens and 0 on padding."""
        hidden = self.embeddings(input_ids)
        positions = torch.arange(input_ids.shape[1], device=input_ids.device)
        known = seen(attention_mask)
        masks = {"full_attention": known, "sliding_attention": self._near(positions, known)}
        turns = {
            kind: self.rotary_emb(hidden, positions[None], kind) for kind in set(self.config.layer_types)
        }
        for layer, kind in zip(self.layers, self.config.layer_types, strict=True):
            hidden = layer(hidden, masks[kind], turns[kind])
        return Encoded(self.final_norm(hidden))

    def _near(self, positions: Tensor, known: Tensor | None) -> Tensor:
        """Return the mask of local layers. Padding sees itself, as a token that sees nothing has no value."""
        distances = (positions[:, None] - positions[None, :]).abs()
        near = distances <= self.config.sliding_window
        return near if known is None else near & (known | (distances == 0))


class PredictionHead(nn.Module):
    """A linear layer, its activation and a norm."""

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.hidden_size, bias=config.classifier_bias)
        self.act = ACTIVATIONS[config.classifier_activation]
        self.norm = _norm(config)

    def forward(self, hidden: Tensor) -> Tensor:
        normed: Tensor = self.norm(self.act(self.dense(hidden)))
        return normed


class ModernBertForSequenceClassification(nn.Module):
    """ModernBERT with its head and one linear layer, of one label, over the first token or the mean."""

    base_model_prefix = "model"

    def __init__(self, config: ModernBertConfig) -> None:
        super().__init__()
        self.config = config
        self.model = ModernBertModel(config)
        self.head = PredictionHead(config)
        self.classifier = Linear(config.hidden_size, 1)

    def forward(self, input_ids: Tensor, attention_mask: Tensor | None = None) -> Classified:
        """Run padded rows, as `ModernBertModel` does."""
        hidden = self.model(input_ids, attention_mask).last_hidden_state
        return Classified(self.classifier(self.head(self._pooled(hidden, attention_mask))))

    def _pooled(self, hidden: Tensor, attention_mask: Tensor | None) -> Tensor:
        if self.config.classifier_pooling == "cls":
            return hidden[:, 0]
        if attention_mask is None:
            return hidden.mean(dim=1)
        counted = attention_mask[..., None]
        return (hidden * counted).sum(dim=1) / counted.sum(dim=1)
