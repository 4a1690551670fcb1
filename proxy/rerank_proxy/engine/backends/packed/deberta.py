"""DeBERTa-v2 and -v3: attention between contents and relative positions besides that between contents.

The product of query i and key k is q · k + q · P(i - k) + k · Q(i - k), where P and Q are projections of an
embedding of the distance: they depend on the weights alone, and are computed when the model is loaded.
Distances beyond half of `position_buckets` share logarithmic buckets.

Products with positions are computed for all distances of a row, length by (2 * length - 1). The needed ones
lie on diagonals of that, which are a view with other strides: nothing is gathered.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from math import sqrt
from typing import Any, Final

import torch
from torch import Tensor

from rerank_proxy.engine.backends.packed import bert
from rerank_proxy.engine.backends.packed.attention import Attention, Full, Heads, joined, mix
from rerank_proxy.engine.backends.packed.body import Body, embedded
from rerank_proxy.engine.backends.packed.layers import PostNorm
from rerank_proxy.engine.backends.packed.layout import Group, Layout
from rerank_proxy.engine.backends.packed.linear import Linears
from rerank_proxy.engine.backends.plain.deberta import bucket

_MOST_PRODUCTS: Final = 1 << 20
"""Products with positions that are in memory at a time, unless one head of one row has more: 4 MiB."""


def supports(config: Any) -> bool:
    """Return whether a model with this config has nothing but attention between its layers' ends."""
    return getattr(config, "conv_kernel_size", 0) <= 0 and not getattr(config, "is_decoder", False)


def probe_tokens(config: Any) -> int:
    """Return the tokens of a row in which distances share buckets."""
    return max(0, int(getattr(config, "position_buckets", 0) or 0)) + 8


def build(model: Any, linear: Linears) -> Body:
    """Build the body of a `DebertaV2Model`."""

    def embed(layout: Layout) -> Tensor:
        return embedded(
            model.embeddings,
            layout,
            position_ids=layout.tensor(layout.positions()),
            token_type_ids=layout.tensor(layout.batch.type_ids),
        )

    with torch.inference_mode():
        return Body(embed, [_layer(layer, model.encoder, linear) for layer in model.encoder.layer])


def logits(model: Any, firsts: Tensor) -> Tensor:
    """Run the classification head on first tokens, (rows, hidden)."""
    output: Tensor = model.classifier(model.pooler(firsts[:, None]))
    return output


def _layer(layer: Any, encoder: Any, linear: Linears) -> PostNorm:
    attention = layer.attention.self
    return PostNorm(
        project=linear(attention.query_proj, attention.key_proj, attention.value_proj),
        attention=_attention(attention, encoder),
        output=linear(layer.attention.output.dense),
        attention_norm=layer.attention.output.LayerNorm,
        mlp=bert.mlp(layer, linear),
        mlp_norm=layer.output.LayerNorm,
    )


_Places = slice | Tensor
"""Rows of a table of positions."""


@dataclass(frozen=True, slots=True)
class _Distances:
    """Which rows of the tables stand for the 2 * length - 1 distances of tokens in a row."""

    ascending: _Places
    """Query minus key from 1 - length to length - 1."""
    descending: _Places
    """From length - 1 to 1 - length, in a table that is turned around."""


class _Buckets:
    """Finds the distances' rows in the tables, which are the same for all layers.

    Args:
        span: The tables have 2 * span rows.
    """

    def __init__(self, encoder: Any) -> None:
        self._furthest: int = encoder.max_relative_positions
        self._buckets: int = encoder.position_buckets
        self.span = self._buckets if self._buckets > 0 else self._furthest

    def distances(self, layout: Layout, length: int) -> _Distances:
        """Return the rows for a length, found once for a batch."""
        return layout.once(("distances", length), lambda: self._find(length, layout.device))

    def _find(self, length: int, device: torch.device) -> _Distances:
        distances = torch.arange(1 - length, length, device=device)
        if self._buckets > 0 and self._furthest > 0:
            distances = bucket(distances, self._buckets, self._furthest)
        rows = (distances + self.span).clamp_(0, 2 * self.span - 1)
        turned = (2 * self.span - 1) - rows.flip(0)
        return _Distances(_places(rows), _places(turned))


def _places(rows: Tensor) -> _Places:
    """Return a slice if the rows lie side by side: then they need not be copied."""
    first, last = int(rows[0]), int(rows[-1])
    return slice(first, last + 1) if last - first + 1 == len(rows) else rows


def _chosen(table: Tensor, places: _Places) -> Tensor:
    return table[:, places] if isinstance(places, slice) else table.index_select(1, places)


class _Disentangled:
    """Attention to contents and positions.

    Args:
        scale: Of all products. Those with positions have it in the tables.
        keys: P for each bucket, turned around, shape (heads, 2 * span, size of a head); None for none.
        queries: Q for each bucket; None for none.
    """

    def __init__(
        self, heads: int, scale: float, buckets: _Buckets, keys: Tensor | None, queries: Tensor | None
    ) -> None:
        self._heads = heads
        self._scale = scale
        self._buckets = buckets
        self._keys = keys
        self._queries = queries

    def __call__(self, merged: Tensor, layout: Layout, *, firsts: bool) -> Tensor:
        mixed = []
        for group in layout.groups:
            distances = self._buckets.distances(layout, group.length)
            if firsts:
                part = Heads.of(merged, group, self._heads, firsts=True)
                mixed.append(mix(*part, self._first_bias(part, distances), self._scale))
            else:
                mixed += self._all(merged, group, distances)
        return joined(mixed)

    def _all(self, merged: Tensor, group: Group, distances: _Distances) -> Iterator[Tensor]:
        """Yield the mixed values of some rows after the other, as many at a time as fit."""
        products = group.length * (2 * group.length - 1)
        rows = max(1, _MOST_PRODUCTS // (self._heads * products))
        heads = min(self._heads, max(1, _MOST_PRODUCTS // products))
        for row in range(0, group.rows, rows):
            few = Group(group.start + row * group.length, min(rows, group.rows - row), group.length)
            every = Heads.of(merged, few, self._heads)
            parts = [
                self._some(every, slice(head, head + heads), distances)
                for head in range(0, self._heads, heads)
            ]
            yield parts[0] if len(parts) == 1 else torch.cat(parts, dim=-1)

    def _some(self, every: Heads, heads: slice, distances: _Distances) -> Tensor:
        query, key, value = (each[:, heads] for each in every)
        bias = None
        if self._keys is not None:
            bias = _diagonals(query, _chosen(self._keys[heads], distances.descending))
        if self._queries is not None:
            across = _diagonals(key, _chosen(self._queries[heads], distances.ascending)).transpose(2, 3)
            bias = across.contiguous() if bias is None else bias.add_(across)
        return mix(query, key, value, bias, self._scale)

    def _first_bias(self, part: Heads, distances: _Distances) -> Tensor | None:
        """Return the products with positions of rows' first tokens, shape (rows, heads, 1, length)."""
        bias = None
        length = part.key.shape[2]
        if self._keys is not None:
            behind = _chosen(self._keys, distances.descending)[:, length - 1 :]
            bias = part.query @ behind.transpose(1, 2)
        if self._queries is not None:
            behind = _chosen(self._queries, distances.ascending)[:, :length].flip(1)
            across = (part.key * behind).sum(dim=-1)[:, :, None]
            bias = across if bias is None else bias.add_(across)
        return bias


def _diagonals(contents: Tensor, positions: Tensor) -> Tensor:
    """Return products of contents with the positions of distances.

    Args:
        contents: Shape (rows, heads, length, size).
        positions: Shape (heads, 2 * length - 1, size).

    Returns:
        Shape (rows, heads, length, length), a view: content i with position length - 1 - i + j at (i, j).
    """
    rows, heads, length, size = contents.shape
    distances = positions.shape[1]
    flat = contents.transpose(0, 1).reshape(heads, rows * length, size)
    products = torch.bmm(flat, positions.transpose(1, 2))
    strides = (length * distances, rows * length * distances, distances - 1, 1)
    return products.as_strided((rows, heads, length, length), strides, length - 1)


def _attention(attention: Any, encoder: Any) -> Attention:
    heads: int = attention.num_attention_heads
    kinds = attention.pos_att_type
    scale = 1 / sqrt(attention.all_head_size // heads * (1 + ("c2p" in kinds) + ("p2c" in kinds)))
    if not attention.relative_attention:
        return Full(heads, scale=scale)
    buckets = _Buckets(encoder)
    embeddings = encoder.get_rel_embedding()[: 2 * buckets.span]
    shared = attention.share_att_key
    keys = queries = None
    if "c2p" in kinds:
        project = attention.key_proj if shared else attention.pos_key_proj
        keys = _table(project(embeddings), heads, scale).flip(1)
    if "p2c" in kinds:
        project = attention.query_proj if shared else attention.pos_query_proj
        queries = _table(project(embeddings), heads, scale)
    return _Disentangled(heads, scale, buckets, keys, queries)


def _table(projected: Tensor, heads: int, scale: float) -> Tensor:
    """Return shape (heads, positions, size of a head) of (positions, hidden)."""
    return projected.view(len(projected), heads, -1).transpose(0, 1).mul(scale).contiguous()
