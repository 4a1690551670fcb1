"""What the machine could do at most: the speed of the model's own matrix products."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import msgspec
import torch

_TOKENS: Final = 2048
_ROUNDS: Final = 40
"""Many, since the machine may be busy: the fastest counts."""


@dataclass(frozen=True, slots=True)
class Shape:
    """The sizes of an encoder."""

    layers: int
    hidden: int
    intermediate: int

    @classmethod
    def of(cls, directory: Path) -> "Shape":
        """Read them from a model's config."""
        config: dict[str, Any] = msgspec.json.decode((directory / "config.json").read_bytes())
        return cls(config["num_hidden_layers"], config["hidden_size"], config["intermediate_size"])

    @property
    def products(self) -> list[tuple[int, int]]:
        """The matrices of a layer that tokens are multiplied with: inputs and outputs."""
        own, wide = (self.hidden, self.hidden), (self.hidden, self.intermediate)
        return [(self.hidden, 3 * self.hidden), own, wide, (self.intermediate, self.hidden)]

    def flop(self, lengths: Sequence[int]) -> float:
        """Return the operations of rows with so many tokens: matrix products and attention, no padding."""
        linear = sum(inputs * outputs for inputs, outputs in self.products)
        return sum(2.0 * self.layers * tokens * (linear + 2 * tokens * self.hidden) for tokens in lengths)


def gemm_flop_per_s(shape: Shape) -> float:
    """Return the best speed of the products of one layer on one core, over a usual batch of tokens.

    It is taken by processor time, which other work on the machine affects least.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    matrices = [torch.randn(inputs, outputs) for inputs, outputs in shape.products]
    tokens = [torch.randn(_TOKENS, inputs) for inputs, _ in shape.products]
    seconds = []
    for _ in range(_ROUNDS):
        began = time.thread_time()
        for left, right in zip(tokens, matrices, strict=True):
            left @ right
        seconds.append(time.thread_time() - began)
    torch.set_num_threads(threads)
    linear = sum(inputs * outputs for inputs, outputs in shape.products)
    return 2.0 * _TOKENS * linear / min(seconds)
