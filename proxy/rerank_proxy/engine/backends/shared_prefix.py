"""Run decoders whose rows begin alike: keys and values of the common beginning are computed once for all.

The rows of a request to a generating reranker have its template, instruction and query before their texts. A
token of a decoder depends on those before it only, so the outputs are the same up to rounding.
"""

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from rerank_proxy.engine.backends.device import to_device
from rerank_proxy.engine.backends.padded import PaddedTorchBackend
from rerank_proxy.engine.rows import Batch

_LEAST_SAVED: Final = 1 / 8
"""Of the tokens of a group: a beginning that is shared by less is computed with each row."""


@dataclass(frozen=True, slots=True)
class Group:
    """Rows of a batch that run together."""

    rows: NDArray[np.int64]
    prefix: int
    """Tokens that all of them begin with; 0 where sharing them would not pay."""


def groups(batch: Batch) -> list[Group]:
    """Put the rows of a batch together that share a beginning worth sharing; the others are one group.

    Each row keeps at least one token of its own.
    """
    starts = np.cumsum(batch.lengths) - batch.lengths
    ids = [batch.ids[start : start + length] for start, length in zip(starts, batch.lengths, strict=True)]
    order = sorted(range(len(batch)), key=lambda row: ids[row].astype(">u4").tobytes())
    shared, alone = [], []
    for run, prefix in _runs(order, ids):
        tokens = int(batch.lengths[run].sum())
        pays = (len(run) - 1) * prefix >= _LEAST_SAVED * tokens and prefix > 0
        if pays:
            shared.append(Group(np.array(sorted(run)), prefix))
        else:
            alone += run
    return [*shared, *([Group(np.array(sorted(alone)), 0)] if alone else [])]


def _runs(order: Sequence[int], ids: Sequence[NDArray[np.int64]]) -> Iterator[tuple[list[int], int]]:
    """Cut sorted rows into runs, each as long as one more row has more tokens shared. Yield prefixes, too."""
    run, prefix = [order[0]], len(ids[order[0]]) - 1
    for before, row in pairwise(order):
        common = min(prefix, _common(ids[before], ids[row]), len(ids[row]) - 1)
        if len(run) * common >= (len(run) - 1) * prefix and common > 0:
            run, prefix = [*run, row], common
        else:
            yield run, prefix
            run, prefix = [row], len(ids[row]) - 1
    yield run, prefix


def _common(one: NDArray[np.int64], other: NDArray[np.int64]) -> int:
    least = min(len(one), len(other))
    differ = np.flatnonzero(one[:least] != other[:least])
    return int(differ[0]) if len(differ) else least


class SharedPrefixBackend(PaddedTorchBackend):
    """A `PaddedTorchBackend` for decoders that take a cache of keys and values.

    Args:
        network: One whose model is a causal one of transformers. To be sure that it is, compare a batch.
    """

    def _score(self, batch: Batch) -> NDArray[np.float32]:
        found = groups(batch)
        if len(found) == 1 and not found[0].prefix:
            return super()._score(batch)
        values = np.empty((len(batch), 1), np.float32)
        for group in found:
            chosen = np.zeros(len(batch), np.bool_)
            chosen[group.rows] = True
            part = batch.chosen(chosen)
            values[group.rows] = self._behind(part, group.prefix) if group.prefix else super()._score(part)
        return values

    @torch.inference_mode()
    def _behind(self, batch: Batch, prefix: int) -> NDArray[np.float32]:
        """Score rows that all begin with the same tokens."""
        ids, _, mask = batch.padded(self._inputs.pad_id)
        first = to_device(self._inputs.device, np.ascontiguousarray(ids[:1, :prefix]))
        cache = self._model.base_model(input_ids=first, use_cache=True).past_key_values
        inputs = {
            "input_ids": to_device(self._inputs.device, np.ascontiguousarray(ids[:, prefix:])),
            "attention_mask": to_device(self._inputs.device, mask).long(),
            "past_key_values": _for_rows(cache, len(batch)),
            "use_cache": True,
        }
        output = self._network(inputs, to_device(self._inputs.device, np.ascontiguousarray(mask[:, prefix:])))
        values: NDArray[np.float32] = output.float().cpu().numpy()
        return values

    @property
    def _model(self) -> Any:
        return self._network.model


def _for_rows(cache: Any, rows: int) -> Any:
    """Return a view of the cache of one row for several, which keeps nothing that it is given.

    Keys and values of a whole batch for all layers would take more memory than the weights.
    """
    several = copy.copy(cache)
    several.layers = [_layer_for_rows(layer, rows) for layer in cache.layers]
    return several


def _layer_for_rows(layer: Any, rows: int) -> Any:
    view = copy.copy(layer)
    keys, values = (each.expand(rows, -1, -1, -1) for each in (layer.keys, layer.values))
    view.keys, view.values = keys, values

    def update(*given: Any, **named: Any) -> Any:
        result = type(view).update(view, *given, **named)
        view.keys, view.values = keys, values
        return result

    view.update = update
    return view
