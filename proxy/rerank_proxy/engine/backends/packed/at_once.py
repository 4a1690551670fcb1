"""Attention within all rows of a batch at once: for GPUs, where many small operations cost more than padding.

With a kernel for rows of different lengths (FlashAttention's, in torch 2.10 and later) nothing is padded.
Where there is none, for this device or type, queries, keys and values are padded for the attention alone.
"""

from collections.abc import Callable
from functools import cache
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from rerank_proxy.engine.backends.packed.layout import Layout

_TYPES: Final = (torch.float16, torch.bfloat16)
_LARGEST_HEAD: Final = 256
"""The kernel takes heads of multiples of 8 up to this size."""


def attend(
    merged: Tensor,
    layout: Layout,
    heads: int,
    *,
    firsts: bool,
    scale: float | None = None,
    reach: int | None = None,
) -> Tensor:
    """Return the mixed values as an `Attention` does.

    Args:
        merged: Queries, keys and values, shape (tokens, 3 * hidden).
        scale: Of the products; None for 1 / √size.
        reach: A token attends to those at most so far before or behind it; None for all of its row.
    """
    if reach is not None and layout.longest <= reach + 1:
        reach = None
    # The kernel aligns windows with the last query, and a row's first token is not its last.
    if _has_kernel(merged, heads) and not (firsts and reach is not None):
        return ragged(merged, layout, heads, firsts=firsts, scale=scale, reach=reach)
    return padded(merged, layout, heads, firsts=firsts, scale=scale, reach=reach)


def _has_kernel(merged: Tensor, heads: int) -> bool:
    size = merged.shape[1] // 3 // heads
    fits = size % 8 == 0 and size <= _LARGEST_HEAD
    return fits and merged.device.type == "cuda" and merged.dtype in _TYPES and kernel() is not None


@cache
def kernel() -> Callable[..., Any] | None:
    """Return the kernel, if this version of torch has one."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return varlen_attn


def ragged(
    merged: Tensor, layout: Layout, heads: int, *, firsts: bool, scale: float | None, reach: int | None
) -> Tensor:
    """Attend with the kernel."""
    run = kernel()
    assert run is not None
    query, key, value = merged.view(len(merged), 3, heads, -1).unbind(1)
    bounds = layout.once("bounds", lambda: layout.tensor(_bounds(layout.batch.lengths)))
    queries, longest = bounds, layout.longest
    if firsts:
        query, longest = query[layout.firsts], 1
        queries = layout.once("numbers", lambda: layout.tensor(np.arange(len(bounds), dtype=np.int32)))
    window = (-1, -1) if reach is None else (reach, reach)
    mixed: Tensor = run(
        query, key, value, queries, bounds, longest, layout.longest, scale=scale, window_size=window
    )
    return mixed.reshape(len(mixed), -1)


def padded(
    merged: Tensor, layout: Layout, heads: int, *, firsts: bool, scale: float | None, reach: int | None
) -> Tensor:
    """Attend with queries, keys and values padded to the longest row."""
    places, kept = layout.once("places", lambda: tuple(map(layout.tensor, _places(layout.batch.lengths))))
    rows, longest = len(layout.batch), layout.longest
    query, key, value = merged[places].view(rows, longest, 3, heads, -1).permute(2, 0, 3, 1, 4)
    mask = layout.once(("seen", reach), lambda: _seen(layout, reach))
    if firsts:
        query, mask = query[:, :, :1], mask[:, :, :1]
    mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scale)
    mixed = mixed.transpose(1, 2).reshape(rows * query.shape[2], -1)
    return mixed if firsts else mixed[kept]


def _bounds(lengths: NDArray[np.int64]) -> NDArray[np.int32]:
    """Return where rows begin, and where the last one ends, shape (rows + 1,)."""
    return np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)


def _places(lengths: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the token at each place of padded rows, any one for padding, and the places of the tokens."""
    offsets = np.arange(lengths.max())
    starts = np.cumsum(lengths) - lengths
    inside = offsets < lengths[:, None]
    return np.where(inside, starts[:, None] + offsets, 0).ravel(), np.flatnonzero(inside)


def _seen(layout: Layout, reach: int | None) -> Tensor:
    """Return which keys a query sees: (rows, 1, 1, longest), or with a reach (rows, 1, longest, longest).

    Queries of padding see what others at their place do, so that no row of the mask is empty.
    """
    at = torch.arange(layout.longest, device=layout.device)
    seen = (at < layout.tensor(layout.batch.lengths)[:, None])[:, None, None]
    if reach is None:
        return seen
    near = (at[:, None] - at).abs() <= reach
    return (seen & near) | (at[:, None] == at)
