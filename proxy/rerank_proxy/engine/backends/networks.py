"""Networks: a transformer with its head, from padded token ids to float32 outputs."""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional


class Classifier(nn.Module):
    """A `…ForSequenceClassification` with one label."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: dict[str, Tensor], mask: Tensor) -> Tensor:
        """Return logits of shape (rows, 1)."""
        logits: Tensor = self.model(**inputs).logits
        return logits.float()


class Encoder(nn.Module):
    """A transformer followed by modules of sentence-transformers."""

    def __init__(self, model: Any, head: Sequence[nn.Module]) -> None:
        super().__init__()
        self.model = model
        self.head = nn.ModuleList(head)

    def forward(self, inputs: dict[str, Tensor], mask: Tensor) -> Tensor:
        """Return embeddings of shape (rows, dimensions), or what the last module makes of them."""
        return self.finish(self.model(**inputs).last_hidden_state, mask)

    def finish(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """Run the modules behind the transformer on its output, (rows, tokens, dimensions)."""
        output = hidden.float()
        for module in self.head:
            output = module(output, mask) if isinstance(module, Pooling) else module(output)
        return output


class Pooling(nn.Module):
    """Makes one embedding per row of token embeddings, in one or several ways side by side.

    The rows are padded on the right. Source of the formulas: `Pooling` of sentence-transformers.
    """

    def __init__(self, modes: Sequence[str]) -> None:
        super().__init__()
        self.modes = tuple(modes)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        return torch.cat([_pool(mode, hidden, mask) for mode in self.modes], dim=-1)


def _pool(mode: str, hidden: Tensor, mask: Tensor) -> Tensor:
    """Pool `hidden`, (rows, tokens, dimensions). `mask`, (rows, tokens), is True on tokens."""
    lengths = mask.sum(dim=1, keepdim=True)
    weights = mask.to(hidden.dtype).unsqueeze(-1)
    match mode:
        case "cls":
            return hidden[:, 0]
        case "lasttoken":
            return hidden[torch.arange(len(hidden), device=hidden.device), lengths.squeeze(1) - 1]
        case "max":
            return hidden.masked_fill(~mask.unsqueeze(-1), float("-inf")).amax(dim=1)
        case "mean":
            return (hidden * weights).sum(dim=1) / lengths
        case "mean_sqrt_len_tokens":
            return (hidden * weights).sum(dim=1) / lengths.sqrt()
        case "weightedmean":
            positions = torch.arange(1, hidden.shape[1] + 1, device=hidden.device, dtype=hidden.dtype)
            weights = weights * positions.view(1, -1, 1)
            return (hidden * weights).sum(dim=1) / weights.sum(dim=1)
    raise AssertionError(mode)  # Checked when the model is loaded.


class Dense(nn.Module):
    """A linear layer with an activation, and optionally a residual connection around both."""

    def __init__(self, sizes: tuple[int, int], bias: bool, activation: nn.Module, residual: bool) -> None:
        super().__init__()
        inputs, outputs = sizes
        self.linear = nn.Linear(inputs, outputs, bias=bias)
        self.activation = activation
        self.around = residual
        if residual and inputs != outputs:
            self.residual = nn.Linear(inputs, outputs, bias=False)

    def forward(self, values: Tensor) -> Tensor:
        output: Tensor = self.activation(self.linear(values))
        if not self.around:
            return output
        around: Tensor = self.residual(values) if hasattr(self, "residual") else values
        return output + around


class Normalize(nn.Module):
    """Scale to unit length."""

    def forward(self, values: Tensor) -> Tensor:
        return functional.normalize(values, p=2, dim=-1)
