"""Networks of generating rerankers: a language model asked for one word, from padded token ids to logits."""

from typing import Any

import torch
from torch import Tensor, nn


class LogitHead(nn.Module):
    """A `…ForCausalLM`: the score is the logit of one token at the end, or the difference of two.

    Source: `LogitScore` of sentence-transformers. The head of the vocabulary is replaced by the rows of these
    tokens, so that no others are computed; what the model does to its logits behind the head stays.

    Args:
        model: The model, whose head is changed.
        yes: The token whose logit is the score.
        no: The token whose logit is subtracted; None for none.

    Raises:
        ValueError: The model's head is not a linear layer over the vocabulary, or it has no such token.
    """

    def __init__(self, model: Any, yes: int, no: int | None) -> None:
        super().__init__()
        self.model = model
        head = model.get_output_embeddings()
        tokens = [yes] if no is None else [yes, no]
        if not isinstance(head, nn.Linear) or not all(0 <= token < head.out_features for token in tokens):
            raise ValueError(f"its head gives no logits of the tokens {tokens}")
        model.set_output_embeddings(_rows(head, tokens))

    def forward(self, inputs: dict[str, Any], mask: Tensor) -> Tensor:
        """Return scores of shape (rows, 1)."""
        logits = _last(self.model(**inputs).logits.float(), mask)
        return logits[:, :1] - logits[:, 1:] if logits.shape[1] > 1 else logits


class LayerHead(nn.Module):
    """A model with code of its own in which a layer has a head that gives the score.

    Source: `LayerWiseLLMReranker` and `LightweightLLMReranker` of FlagEmbedding.

    Args:
        layer: The layer after which it is cut off.
    """

    def __init__(self, model: Any, layer: int) -> None:
        super().__init__()
        self.model = model
        self.layer = layer

    def forward(self, inputs: dict[str, Any], mask: Tensor) -> Tensor:
        """Return scores of shape (rows, 1)."""
        output = self.model(**inputs, use_cache=False, output_hidden_states=True, cutoff_layers=[self.layer])
        logits = output.logits if isinstance(output.logits, Tensor) else output.logits[0]
        return _last(logits.float().reshape(*mask.shape, -1), mask)


def _rows(head: nn.Linear, tokens: list[int]) -> nn.Linear:
    """Return a layer of a few of the outputs of another."""
    some = nn.Linear(head.in_features, len(tokens), bias=head.bias is not None, device="meta")
    some.weight = nn.Parameter(head.weight.detach()[tokens].clone(), requires_grad=False)
    if head.bias is not None:
        some.bias = nn.Parameter(head.bias.detach()[tokens].clone(), requires_grad=False)
    return some


def _last(values: Tensor, mask: Tensor) -> Tensor:
    """Return the values at the last token of each row, (rows, outputs). Rows are padded on the right."""
    return values[torch.arange(len(values), device=values.device), mask.sum(dim=1) - 1]
