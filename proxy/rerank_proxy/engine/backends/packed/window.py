"""Attention within a window around each token."""

from typing import Final

import torch
from torch import Tensor

from rerank_proxy.engine.backends.packed.at_once import attend
from rerank_proxy.engine.backends.packed.attention import Heads, joined, mix
from rerank_proxy.engine.backends.packed.layout import Group, Layout

BLOCKS_FROM: Final = 4
"""Rows of more than so many times the reach run by blocks. In shorter ones a mask costs less than calls."""


class Window:
    """Every token attends to those at most `reach` before or behind it.

    Long rows run by blocks of `reach` queries, which see the keys of three such blocks, so that time and
    memory grow with the length of a row and not with its square.
    """

    def __init__(self, heads: int, reach: int) -> None:
        self._heads = heads
        self._reach = reach

    def __call__(self, merged: Tensor, layout: Layout, *, firsts: bool) -> Tensor:
        if layout.at_once:
            return attend(merged, layout, self._heads, firsts=firsts, reach=self._reach)
        mixed: list[Tensor] = []
        for group in layout.groups:
            if firsts:
                query, key, value = Heads.of(merged, group, self._heads, firsts=True)
                seen = self._reach + 1
                mixed.append(mix(query, key[:, :, :seen], value[:, :, :seen]))
            elif group.length <= BLOCKS_FROM * self._reach:
                mask = self._mask(merged, layout, group.length)
                mixed.append(mix(*Heads.of(merged, group, self._heads), mask))
            else:
                for row in range(group.rows):
                    mixed += self._by_blocks(merged, layout, group.row(row))
        return joined(mixed)

    def _by_blocks(self, merged: Tensor, layout: Layout, row: Group) -> list[Tensor]:
        """Return the mixed values of one row: of its first block, those within, and the rest."""
        reach = self._reach
        band = layout.once(("band", reach), lambda: _band(reach, reach, 3 * reach, merged))
        query, key, value = Heads.of(merged, row, self._heads)
        within = row.length // reach - 2  # Behind each of these lies another whole block.
        begin = mix(query[:, :, :reach], key[:, :, : 2 * reach], value[:, :, : 2 * reach], band[:, reach:])
        middle = mix(
            _blocks(query[:, :, reach:], reach, reach, within),
            _blocks(key, 3 * reach, reach, within),
            _blocks(value, 3 * reach, reach, within),
            band,
        )
        rest = (within + 1) * reach
        tail = _band(row.length - rest, reach, row.length - rest + reach, merged)
        before = rest - reach
        end = mix(query[:, :, rest:], key[:, :, before:], value[:, :, before:], tail)
        return [begin, middle, end]

    def _mask(self, merged: Tensor, layout: Layout, length: int) -> Tensor | None:
        if length <= self._reach + 1:
            return None
        longest = BLOCKS_FROM * self._reach

        def make() -> Tensor:
            return _band(longest, self._reach, longest + self._reach, merged)[:, self._reach :]

        return layout.once(("mask", self._reach), make)[:length, :length]


def _blocks(values: Tensor, count: int, step: int, blocks: int) -> Tensor:
    """Return overlapping parts of one row as rows, without copying them.

    Args:
        values: Shape (1, heads, length, size).
        count: Tokens of each part; each begins `step` behind the one before.

    Returns:
        Shape (blocks, heads, count, size).
    """
    _, heads, _, size = values.shape
    _, of_head, of_token, of_number = values.stride()
    strides = (step * of_token, of_head, of_token, of_number)
    return values.as_strided((blocks, heads, count, size), strides, values.storage_offset())


def _band(queries: int, reach: int, keys: int, like: Tensor) -> Tensor:
    """Return 0 where query and key are near and -∞ elsewhere, if the first query lies at key `reach`."""
    at = torch.arange(queries, device=like.device)[:, None] + reach
    far = (at - torch.arange(keys, device=like.device)).abs() > reach
    return torch.zeros_like(far, dtype=like.dtype).masked_fill_(far, float("-inf"))
