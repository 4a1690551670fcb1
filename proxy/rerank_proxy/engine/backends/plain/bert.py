"""BERT, and what has its layers: RoBERTa, XLM-RoBERTa, ELECTRA."""

from typing import ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional

from rerank_proxy.engine.backends.plain.parts import (
    ACTIVATIONS,
    ClassificationHead,
    Classified,
    Config,
    Embedding,
    Encoded,
    Linear,
    Size,
    attend,
    positions_behind,
    seen,
)


class LayersConfig(Config, frozen=True):
    """What config.json says about layers that are those of BERT."""

    hidden_size: Size
    num_hidden_layers: Size
    num_attention_heads: Size
    intermediate_size: Size
    layer_norm_eps: float
    hidden_act: str

    @property
    def layers(self) -> int:
        return self.num_hidden_layers

    @property
    def usual(self) -> bool:
        divides = self.hidden_size % self.num_attention_heads == 0
        return super().usual and divides and self.hidden_act in ACTIVATIONS


class BertConfig(LayersConfig, frozen=True):
    """Of BERT, RoBERTa and XLM-RoBERTa."""

    type_vocab_size: Size

    @property
    def embedding_size(self) -> int:
        """The size of the embeddings below the layers."""
        return self.hidden_size


class ElectraConfig(LayersConfig, frozen=True):
    """Of ELECTRA."""

    type_vocab_size: Size
    embedding_size: Size


class Embeddings(nn.Module):
    """The sum of the embeddings of tokens, segments and positions, normalised.

    Args:
        counts: Whether positions are counted from behind the padding id.
    """

    def __init__(self, config: BertConfig | ElectraConfig, *, counts: bool) -> None:
        super().__init__()
        size, padding_id = config.embedding_size, config.pad_token_id
        self.word_embeddings = Embedding(config.vocab_size, size, padding_idx=padding_id)
        self.position_embeddings = Embedding(
            config.max_position_embeddings, size, padding_idx=padding_id if counts else None
        )
        self.token_type_embeddings = Embedding(config.type_vocab_size, size)
        self.LayerNorm = nn.LayerNorm(size, eps=config.layer_norm_eps)

    def forward(
        self, input_ids: Tensor, token_type_ids: Tensor | None = None, position_ids: Tensor | None = None
    ) -> Tensor:
        """Return shape (rows, tokens, hidden) for ids of shape (rows, tokens)."""
        types = torch.zeros_like(input_ids) if token_type_ids is None else token_type_ids
        positions = self._positions(input_ids) if position_ids is None else position_ids
        summed = self.word_embeddings(input_ids) + self.token_type_embeddings(types)
        normed: Tensor = self.LayerNorm(summed + self.position_embeddings(positions))
        return normed

    def _positions(self, input_ids: Tensor) -> Tensor:
        padding_id = self.position_embeddings.padding_idx
        if padding_id is not None:
            return positions_behind(input_ids, padding_id)
        return torch.arange(input_ids.shape[1], device=input_ids.device)[None]


class SelfAttention(nn.Module):
    """The projections to query, key and value."""

    def __init__(self, config: LayersConfig) -> None:
        super().__init__()
        size = config.hidden_size
        self.num_attention_heads = config.num_attention_heads
        self.query = Linear(size, size)
        self.key = Linear(size, size)
        self.value = Linear(size, size)

    def forward(self, hidden: Tensor, mask: Tensor | None) -> Tensor:
        """Return what each token gathers from its row, shape (rows, tokens, hidden)."""
        parts = (self.query(hidden), self.key(hidden), self.value(hidden))
        return attend(*parts, self.num_attention_heads, mask)


class Output(nn.Module):
    """A linear layer, added to what went around it, and normalised."""

    def __init__(self, inputs: int, config: LayersConfig) -> None:
        super().__init__()
        self.dense = Linear(inputs, config.hidden_size)
        self.LayerNorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)

    def forward(self, hidden: Tensor, around: Tensor) -> Tensor:
        normed: Tensor = self.LayerNorm(self.dense(hidden) + around)
        return normed


class Attention(nn.Module):
    """Attention with its output."""

    def __init__(self, config: LayersConfig) -> None:
        super().__init__()
        self.self = SelfAttention(config)
        self.output = Output(config.hidden_size, config)


class Intermediate(nn.Module):
    """The wide layer and its activation."""

    def __init__(self, config: LayersConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.intermediate_size)
        self.intermediate_act_fn = ACTIVATIONS[config.hidden_act]

    def forward(self, hidden: Tensor) -> Tensor:
        activated: Tensor = self.intermediate_act_fn(self.dense(hidden))
        return activated


class Layer(nn.Module):
    """One layer of the encoder."""

    def __init__(self, config: LayersConfig) -> None:
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

    def __init__(self, config: LayersConfig) -> None:
        super().__init__()
        self.layer = nn.ModuleList(Layer(config) for _ in range(config.num_hidden_layers))


class Pooler(nn.Module):
    """A linear layer and tanh over the first token."""

    def __init__(self, config: LayersConfig) -> None:
        super().__init__()
        self.dense = Linear(config.hidden_size, config.hidden_size)

    def forward(self, hidden: Tensor) -> Tensor:
        return torch.tanh(self.dense(hidden[:, 0]))


class BertModel(nn.Module):
    """The transformer. The pooler is for classifiers; that of an encoder has a use in pre-training only."""

    base_model_prefix: ClassVar = "bert"
    counts: ClassVar = False

    def __init__(self, config: BertConfig | ElectraConfig, *, pooler: bool = False) -> None:
        super().__init__()
        self.config = config
        self.embeddings = Embeddings(config, counts=self.counts)
        if config.embedding_size != config.hidden_size:
            self.embeddings_project = Linear(config.embedding_size, config.hidden_size)
        self.encoder = Layers(config)
        self.pooler = Pooler(config) if pooler else None

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Encoded:
        """Run padded rows: ids of shape (rows, tokens), the mask 1 on tokens and 0 on padding."""
        hidden = self.embeddings(input_ids, token_type_ids)
        if hasattr(self, "embeddings_project"):
            hidden = self.embeddings_project(hidden)
        for layer in self.encoder.layer:
            hidden = layer(hidden, seen(attention_mask))
        return Encoded(hidden)


class RobertaModel(BertModel):
    """BERT with other positions."""

    base_model_prefix = "roberta"
    counts = True


class XLMRobertaModel(RobertaModel):
    """RoBERTa by another name."""


class ElectraModel(BertModel):
    """BERT with embeddings of a size of their own."""

    base_model_prefix = "electra"


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


class RobertaForSequenceClassification(nn.Module):
    """RoBERTa with a head of two layers, of one label."""

    base_model_prefix = "roberta"

    def __init__(self, config: BertConfig) -> None:
        super().__init__()
        self.config = config
        self.roberta = RobertaModel(config)
        self.classifier = ClassificationHead(config.hidden_size, torch.tanh)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Classified:
        """Run padded rows, as `BertModel` does."""
        hidden = self.roberta(input_ids, attention_mask, token_type_ids).last_hidden_state
        return Classified(self.classifier(hidden))


class XLMRobertaForSequenceClassification(RobertaForSequenceClassification):
    """RoBERTa by another name."""


class ElectraForSequenceClassification(nn.Module):
    """ELECTRA with a head of two layers, of one label."""

    base_model_prefix = "electra"

    def __init__(self, config: ElectraConfig) -> None:
        super().__init__()
        self.config = config
        self.electra = ElectraModel(config)
        self.classifier = ClassificationHead(config.hidden_size, functional.gelu)

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor | None = None, token_type_ids: Tensor | None = None
    ) -> Classified:
        """Run padded rows, as `BertModel` does."""
        hidden = self.electra(input_ids, attention_mask, token_type_ids).last_hidden_state
        return Classified(self.classifier(hidden))
