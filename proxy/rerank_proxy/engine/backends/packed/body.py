"""What a family makes of a transformer: a function from packed token ids to packed outputs."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from rerank_proxy.engine.backends.packed.layout import Layout


class Layer(Protocol):
    """One layer of a transformer."""

    def __call__(self, hidden: Tensor, layout: Layout, *, firsts: bool) -> Tensor:
        """Return the output for every token, shape (tokens, hidden); or for the first of each row, (rows, …).

        Args:
            hidden: Shape (tokens, hidden). Is not changed.
        """
        ...


@dataclass(frozen=True, slots=True)
class Body:
    """A transformer below its head."""

    embed: Callable[[Layout], Tensor]
    """Gives the embeddings of the tokens, shape (tokens, hidden)."""
    layers: Sequence[Layer]
    finish: Callable[[Tensor], Tensor] | None = None
    """What follows the last layer, on shape (tokens or rows, hidden)."""

    def __call__(self, layout: Layout, *, firsts: bool) -> Tensor:
        """Return the last hidden state, of every token or of the first of each row."""
        hidden = self.embed(layout)
        for layer in self.layers[:-1]:
            hidden = layer(hidden, layout, firsts=False)
        hidden = self.layers[-1](hidden, layout, firsts=firsts)
        return hidden if self.finish is None else self.finish(hidden)


def embedded(embeddings: Any, layout: Layout, **more: Tensor) -> Tensor:
    """Run a model's module of embeddings, (1, tokens) → (tokens, hidden).

    Args:
        more: Position and segment ids, shape (tokens,).
    """
    given = {name: each[None] for name, each in more.items()}
    hidden: Tensor = embeddings(input_ids=layout.tensor(layout.batch.ids)[None], **given)
    return hidden[0]
