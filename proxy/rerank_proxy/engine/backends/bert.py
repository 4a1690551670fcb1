"""BERT on torch alone, with the names of modules that checkpoints and `packed.py` know.

Importing transformers to get these few modules costs more than all else that a process does until it first
scores. Source of the arithmetic: `modeling_bert.py` of transformers. What does nothing
at inference, such as dropout, is left out.
"""

from collections.abc import Callable, Mapping
from typing import Annotated, Final, NamedTuple

import msgspec
import torch
from torch import Tensor, nn
from torch.nn import functional

ACTIVATIONS: Final[Mapping[str, Callable[[Tensor], Tensor]]] = {
    "gelu": functional.gelu,
    "relu": functional.relu,
}
"""By the name in config.json."""


_Size = Annotated[int, msgspec.Meta(gt=0, lt=2**31)]


class BertConfig(msgspec.Struct, frozen=True):
    """What config.json says about the arithmetic, in its words."""

    model_type: str
    vocab_size: _Size
    hidden_size: _Size
    num_hidden_layers: _Size
    num_attention_heads: _Size
    intermediate_size: _Size
    max_position_embeddings: _Size
    type_vocab_size: _Size
    layer_norm_eps: float
    hidden_act: str
    pad_token_id: Annotated[int, msgspec.Meta(ge=0)]


class Encoded(NamedTuple):
    """The output of a body, shape (rows, tokens, hidden)."""

    last_hidden_state: Tensor


class Classified(NamedTuple):
    """The output of a classifier, shape (rows, 1)."""

    logits: Tensor


class Linear(nn.Linear):
    """A linear layer that waits for its weights.

    torch would draw random ones, and imports a compiler for that if they are to take no memory.
    """

    def reset_parameters(self) -> None:
        """Leave the weights as they are."""


class Embedding(nn.Embedding):
    """A table that waits for its weights, as `Linear` does."""

    def reset_parameters(self) -> None:
        """Leave the weights as they are."""


class Embeddings(nn.Module):
    """The sum of the embeddings of tokens, segments and positions, normalised."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.word_embeddings = Embedding(config.vocab_size, size, padding_idx=config.pad_token_id)
        self.position_embeddings = Embedding(config.max_position_embeddings, size)
        self.token_type_embeddings = Embedding(config.type_vocab_size, size)
        self.LayerNorm = nn.LayerNorm(size, eps=config.layer_norm_eps)

    def forward(
        self, input_ids: Tensor, token_type_ids: Tensor | None = None, position_ids: Tensor | None = None
    ) -> Tensor:
        """Return shape (rows, tokens, hidden) for ids of shape (rows, tokens)."""
        types = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        tokens = torch.arange(input_ids.shape[1], device=input_ids.device)
        positions = tokens[None] if position_ids is None else position_ids
        summed = self.word_embeddings(input_ids) + self.token_type_embeddings(types)
        normed: Tensor = self.LayerNorm(summed + self.position_embeddings(positions))
        return normed


class SelfAttention(nn.Module):
    """The projections to query, key and value."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.num_attention_heads = config.num_attention_heads
        self.query = Linear(size, size)
        self.key = Linear(size, size)
        self.value = Linear(size, size)

    def forward(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """Return what each token gathers from its row, shape (rows, tokens, hidden)."""
        rows, tokens, size = hidden.shape
        query, key, value = (
            part(hidden).view(rows, tokens, self.num_attention_heads, -1).transpose(1, 2)
            for part in (self.query, self.key, self.value)
        )
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask)
        return mixed.transpose(1, 2).reshape(rows, tokens, size)


class Output(nn.Module):
    """A linear layer, added to what went around it, and normalised."""

    def __init__(self, inputs: int, config: BertConfig) -> None:
        super().__init__()
        self.dense = Linear(inputs, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden: Tensor, around: Tensor) -> Tensor:
        normed: Tensor = self.LayerNorm(self.dense(hidden) + around)
        return normed


class Attention(nn.Module):
    """Attention with its output."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.self = SelfAttention(config)
        self.output = Output(config.hidden_size, config)


class Intermediate(nn.Module):
    """The wide layer and its activation."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.intermediate_size)
        self.intermediate_act_fn = ACTIVATIONS[config.hidden_act]

    def forward(self, hidden: Tensor) -> Tensor:
        activated: Tensor = self.intermediate_act_fn(self.dense(hidden))
        return activated


class Layer(nn.Module):
    """One layer of the encoder."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.attention = Attention(config)
        self.intermediate = Intermediate(config)
        self.output = Output(config.intermediate_size, config)

    def forward(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        attended = self.attention.output(self.attention.self(hidden, mask), hidden)
        output: Tensor = self.output(self.intermediate(attended), attended)
        return output


class Layers(nn.Module):
    """The layers, one after the other."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))


class Pooler(nn.Module):
    """A linear layer and tanh over the first token."""

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        return torch.tanh(self.dense(hidden[:, 0]))


class BertModel(nn.Module):
    """The transformer. The pooler is for classifiers; that of an encoder has a use in pre-training only."""

    base_model_prefix = "bert"

    def __init__(self, config: BertConfig, *, pooler: bool = False) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config)
        self.encoder = Layers(config)
        self.pooler = Pooler(config) if pooler else None

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Encoded:
        """Run padded rows: ids of shape (rows, tokens), the mask 1 on tokens and 0 on padding."""
        hidden = self.embeddings(input_ids, token_type_ids)
        mask = None if attention_mask is None else attention_mask.bool()[:, None, None, :]
        for layer in self.encoder.layer:
            hidden = layer(hidden, mask)
        return Encoded(hidden)


class BertForSequenceClassification(nn.Module):
    """BERT with its pooler and one linear layer, of one label."""

    base_model_prefix = "bert"

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.bert = BertModel(config, pooler=True)
        self.classifier = Linear(config.hidden_size, 1)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Classified:
        """Run padded rows, as `BertModel` does."""
        hidden = self.bert(input_ids, attention_mask, token_type_ids).last_hidden_state
        assert self.bert.pooler is not None
        return Classified(self.classifier(self.bert.pooler(hidden)))
