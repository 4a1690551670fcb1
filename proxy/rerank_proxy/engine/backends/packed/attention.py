"""Attention within the rows of a batch, by groups of rows of equal length, or on GPUs in all at once.

An `Attention` maps the merged queries, keys and values of all tokens, (tokens, 3 * hidden), to the mixed
values of every token, (tokens, hidden), or of the first token of each row, (rows, hidden).
"""

from collections.abc import Callable
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional

from rerank_proxy.engine.backends.packed.at_once import attend
from rerank_proxy.engine.backends.packed.layout import Group, Layout


class Heads(NamedTuple):
    """Queries, keys and values of a group, each of shape (rows, heads, length, size of a head)."""

    query: Tensor
    key: Tensor
    value: Tensor

    @classmethod
    def of(cls, merged: Tensor, group: Group, heads: int, *, firsts: bool = False) -> "Heads":
        """Take those of a group without copying them; of queries only the rows' first if asked for."""
        part = merged[group.tokens].view(group.rows, group.length, 3, heads, -1)
        query, key, value = part.permute(2, 0, 3, 1, 4)
        return cls(query[:, :, :1] if firsts else query, key, value)


class Attention(Protocol):
    """Attention within the rows."""

    def __call__(self, merged: Tensor, layout: Layout, *, firsts: bool) -> Tensor:
        """Return the mixed values, (tokens, hidden) or for first tokens (rows, hidden)."""
        ...


Bias = Callable[[Layout, int], Tensor | None]
"""Gives what is added to the scaled products of rows of a length, shape (heads, length, length)."""


class Full:
    """Every token attends to all of its row.

    Args:
        scale: Of the products; None for 1 / √size.
    """

    def __init__(self, heads: int, bias: Bias | None = None, scale: float | None = None) -> None:
        self._heads = heads
        self._bias = bias
        self._scale = scale

    def __call__(self, merged: Tensor, layout: Layout, *, firsts: bool) -> Tensor:
        if self._bias is None and layout.at_once:
            return attend(merged, layout, self._heads, firsts=firsts, scale=self._scale)
        mixed = []
        for group in layout.groups:
            heads = Heads.of(merged, group, self._heads, firsts=firsts)
            bias = None if self._bias is None else self._bias(layout, group.length)
            if bias is not None and firsts:
                bias = bias[:, :1]
            mixed.append(mix(*heads, bias, self._scale))
        return joined(mixed)


def mix(
    query: Tensor, key: Tensor, value: Tensor, bias: Tensor | None = None, scale: float | None = None
) -> Tensor:
    """Return softmax(scale * q · k + bias) · v, shape (rows * queries, heads * size of a head).

    Args:
        bias: Shape (queries, keys), or with heads, or with rows and heads before these.
        scale: None for 1 / √size.
    """
    rows, heads, queries, size = query.shape
    if bias is not None and bias.dim() < 4:
        bias = bias.expand(rows, heads, *bias.shape[-2:])
    mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias, scale=scale)
    return mixed.transpose(1, 2).reshape(rows * queries, heads * size)


def joined(parts: list[Tensor]) -> Tensor:
    """Lay parts, (tokens, hidden) each, end to end."""
    return parts[0] if len(parts) == 1 else torch.cat(parts)
