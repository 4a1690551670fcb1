"""What the families share."""

from collections.abc import Callable, Mapping
from typing import Annotated, Final, NamedTuple

import msgspec
from torch import Tensor, nn
from torch.nn import functional

Activation = Callable[[Tensor], Tensor]

ACTIVATIONS: Final[Mapping[str, Activation]] = {"gelu": functional.gelu, "relu": functional.relu}
"""By the name in config.json."""

Size = Annotated[int, msgspec.Meta(gt=0, lt=2**31)]


class Config(msgspec.Struct, frozen=True):
    """What config.json of every family says about the arithmetic, in its words."""

    model_type: str
    vocab_size: Size
    max_position_embeddings: Size
    pad_token_id: Annotated[int, msgspec.Meta(ge=0)]

    @property
    def layers(self) -> int:
        """How many layers there are."""
        raise NotImplementedError

    @property
    def usual(self) -> bool:
        """Whether the values go together, and are among those that are known here."""
        return self.pad_token_id < self.vocab_size


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


class ClassificationHead(nn.Module):
    """Two linear layers over the first token, the second one of one label, as several families have them."""

    def __init__(self, size: int, activation: Activation) -> None:
        super().__init__()
        self.dense = Linear(size, size)
        self.out_proj = Linear(size, 1)
        self.activation = activation

    def forward(self, hidden: Tensor) -> Tensor:
        """Return shape (rows, 1) for shape (rows, tokens, hidden)."""
        logits: Tensor = self.out_proj(self.activation(self.dense(hidden[:, 0])))
        return logits


def attend(query: Tensor, key: Tensor, value: Tensor, heads: int, mask: Tensor | None) -> Tensor:
    """Return what each token gathers from its row. All have the shape (rows, tokens, hidden).

    Args:
        mask: That of `mix`.
    """
    return mix(apart(query, heads), apart(key, heads), apart(value, heads), mask)


def apart(values: Tensor, heads: int) -> Tensor:
    """Return shape (rows, heads, tokens, size of a head) for shape (rows, tokens, hidden)."""
    rows, tokens, _ = values.shape
    return values.view(rows, tokens, heads, -1).transpose(1, 2)


def mix(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None, scale: float | None = None) -> Tensor:
    """Return what each token gathers from its row, shape (rows, tokens, hidden), of what `apart` gives.

    Args:
        mask: Fits (rows, heads, tokens, tokens): true where a token is seen, or numbers to add.
        scale: Of the products; None for 1 / √size.
    """
    rows, _, tokens, _ = query.shape
    mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
    return mixed.transpose(1, 2).reshape(rows, tokens, -1)


def seen(attention_mask: Tensor | None) -> Tensor | None:
    """Return the mask of `attend`: every token of a row, and no padding."""
    return None if attention_mask is None else attention_mask.bool()[:, None, None, :]


def positions_behind(input_ids: Tensor, padding_id: int) -> Tensor:
    """Return positions that are counted from behind the padding id, which itself is not counted."""
    counted = input_ids.ne(padding_id).long()
    return counted.cumsum(dim=1) * counted + padding_id
