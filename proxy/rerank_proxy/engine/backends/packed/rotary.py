"""Rotary position embeddings (RoPE): queries and keys are turned by angles that grow with the position."""

from collections.abc import Callable
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from rerank_proxy.engine.backends.packed.attention import Attention
from rerank_proxy.engine.backends.packed.layout import Layout

STATIC: Final = ("default", "linear", "llama3", "yarn")
"""The types whose angles do not depend on the length of the longest row."""

Angles = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
"""Gives cosines and sines of positions (1, length), each (1, length, size of a head), like another tensor."""


def is_static(parameters: Any) -> bool:
    """Return whether the `rope_parameters` of a config are of a type that does not depend on lengths."""
    return isinstance(parameters, dict) and parameters.get("rope_type", "default") in STATIC


class Rotary:
    """Turns queries and keys, then runs an attention.

    Args:
        angles: The rotary module of the model. Layers with the same one share what is computed for a batch.
    """

    def __init__(self, angles: Angles, name: str, heads: int, attention: Attention) -> None:
        self._angles = angles
        self._name = name
        self._heads = heads
        self._attention = attention

    def __call__(self, merged: Tensor, layout: Layout, *, firsts: bool) -> Tensor:
        cosines, sines = layout.once(("rotary", self._name), lambda: self._turns(merged, layout))
        _turn(merged.view(len(merged), 3, self._heads, -1)[:, :2], cosines, sines)
        return self._attention(merged, layout, firsts=firsts)

    def _turns(self, like: Tensor, layout: Layout) -> tuple[Tensor, Tensor]:
        """Return cosines and sines for each token, shape (tokens, 1, 1, half the size of a head)."""
        positions = layout.positions()
        longest = torch.arange(int(np.max(positions)) + 1, device=layout.device)
        cosines, sines = self._angles(like, longest[None])
        of_token = layout.tensor(positions)
        half = cosines.shape[-1] // 2  # The second half is like the first.
        return cosines[0, of_token, None, None, :half], sines[0, of_token, None, None, :half]


def _turn(values: Tensor, cosines: Tensor, sines: Tensor) -> None:
    """Turn pairs of `values`, (tokens, 2, heads, size), in place: the first half pairs with the second."""
    left, right = values.chunk(2, dim=-1)
    turned = left * sines
    left.mul_(cosines).addcmul_(right, sines, value=-1)
    right.mul_(cosines).add_(turned)
