"""Linear layers: the only place that takes weights out of an `nn.Linear`.

A `Linear` maps shape (tokens, inputs) to (tokens, outputs). Families get a `Linears`, which makes one of one
or several `nn.Linear` over the same input; another precision is another `Linears`.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

Linear = Callable[[Tensor], Tensor]
Linears = Callable[..., Linear]
"""Takes any number of `nn.Linear`; what it returns gives their outputs side by side."""

Activation = Callable[[Tensor], Tensor]
"""May write its result over its argument."""


class FullPrecision:
    """Linear layers in the type that their weights have.

    The weights of several layers are moved into one tensor, without keeping a second copy of them; the layers
    can still be used as before.
    """

    def __init__(self, *parts: nn.Linear) -> None:
        self.weights = (parts[0].weight, parts[0].bias) if len(parts) == 1 else _merge(parts)
        """Weight and bias, or None for no bias."""

    def __call__(self, values: Tensor) -> Tensor:
        return functional.linear(values, *self.weights)


def in_place(activation: Any) -> Activation:
    """Return a function with the results of an activation of transformers that saves a copy where it can."""
    written_over: dict[str, Activation] = {"GELUActivation": torch.ops.aten.gelu_, "ReLU": torch.relu_}
    kind = type(activation).__name__
    if activation is functional.gelu or kind == "GELUActivation":
        return written_over["GELUActivation"]
    function: Activation = written_over.get(kind, activation)
    return function


def _merge(parts: tuple[nn.Linear, ...]) -> tuple[Tensor, Tensor | None]:
    weight = torch.cat([part.weight.detach() for part in parts])
    sizes = [part.out_features for part in parts]
    for part, own in zip(parts, torch.split(weight, sizes), strict=True):
        part.weight = nn.Parameter(own, requires_grad=False)
    if all(part.bias is None for part in parts):
        return weight, None
    bias = torch.cat([part.bias.detach() for part in parts])
    for part, own in zip(parts, torch.split(bias, sizes), strict=True):
        part.bias = nn.Parameter(own, requires_grad=False)
    return weight, bias
