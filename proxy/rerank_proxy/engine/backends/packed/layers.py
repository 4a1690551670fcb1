"""The order of attention, norms and MLP in a layer. All are functions of shape (tokens, hidden)."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor

from rerank_proxy.engine.backends.packed.attention import Attention
from rerank_proxy.engine.backends.packed.layout import Layout
from rerank_proxy.engine.backends.packed.linear import Activation, Linear

Map = Callable[[Tensor], Tensor]


@dataclass(frozen=True, slots=True)
class PostNorm:
    """Norms come behind the sums, as in BERT."""

    project: Linear
    attention: Attention
    output: Linear
    attention_norm: Map
    mlp: Map
    mlp_norm: Map

    def __call__(self, hidden: Tensor, layout: Layout, *, firsts: bool) -> Tensor:
        mixed = self.output(self.attention(self.project(hidden), layout, firsts=firsts))
        attended = self.attention_norm(mixed.add_(_residual(hidden, layout, firsts)))
        return self.mlp_norm(self.mlp(attended).add_(attended))


@dataclass(frozen=True, slots=True)
class PreNorm:
    """Norms come before attention and MLP, outside of the residual sum."""

    attention_norm: Map
    project: Linear
    attention: Attention
    output: Linear
    mlp_norm: Map
    mlp: Map

    def __call__(self, hidden: Tensor, layout: Layout, *, firsts: bool) -> Tensor:
        merged = self.project(self.attention_norm(hidden))
        attended = self.output(self.attention(merged, layout, firsts=firsts))
        attended.add_(_residual(hidden, layout, firsts))
        return self.mlp(self.mlp_norm(attended)).add_(attended)


@dataclass(frozen=True, slots=True)
class Mlp:
    """Two linear layers with an activation between them."""

    up: Linear
    activation: Activation
    down: Linear

    def __call__(self, values: Tensor) -> Tensor:
        return self.down(self.activation(self.up(values)))


@dataclass(frozen=True, slots=True)
class GatedMlp:
    """The activated first half of `up` times the second half."""

    up: Linear
    activation: Activation
    down: Linear

    def __call__(self, values: Tensor) -> Tensor:
        activated, gate = self.up(values).chunk(2, dim=-1)
        return self.down(self.activation(activated).mul_(gate))


def _residual(hidden: Tensor, layout: Layout, firsts: bool) -> Tensor:
    return hidden[layout.firsts] if firsts else hidden
