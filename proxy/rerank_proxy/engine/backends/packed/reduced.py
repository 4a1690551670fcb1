"""Linear layers in lower precision, on CPUs: `Linears` beside `linear.FullPrecision`.

Only matrix products run in it, some seven tenths of the arithmetic. Attention, norms, activations, sums and
the head stay in float32.
"""

import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from rerank_proxy.engine.backends.cpu import has_vnni
from rerank_proxy.engine.backends.packed.linear import FullPrecision
from rerank_proxy.engine.rows import Batch

_quantized: Any = torch.ops.quantized  # has no types
_engines: Any = torch.backends.quantized
_packing = threading.Lock()
"""The engine is a global of torch."""

_LARGEST_WEIGHT: Final = {"fbgemm": 64, "onednn": 127}
_SHORTEST_RUN: Final = 16
"""Tokens."""

_SMALLEST_SCALE: Final = 1e-30
"""Of an output whose weights are all zero."""

_batch = threading.local()


class Half:
    """Linear layers in bfloat16 or float16 over float32 values.

    Fast where the processor has instructions for it: AMX or AVX512-BF16, and AVX512-FP16.
    """

    kind: torch.dtype

    def __init__(self, *parts: nn.Linear) -> None:
        weight, bias = FullPrecision(*parts).weights
        self._weight = weight.to(self.kind)
        self._bias = None if bias is None else bias.to(self.kind)

    def __call__(self, values: Tensor) -> Tensor:
        return functional.linear(values.to(self.kind), self._weight, self._bias).float()


class BFloat16(Half):
    """Linear layers in bfloat16."""

    kind = torch.bfloat16


class Float16(Half):
    """Linear layers in float16."""

    kind = torch.float16


class Int8:
    """Linear layers over integers of eight bits: weights by output, values by run of tokens.

    A run is the query or the text of a row, so that the result of a row does not depend on its neighbours.
    The special tokens around and between them run in float32: their values are many times as large as those
    of words, and would leave these few steps. They are few. Without VNNI, FBGEMM adds two products at 16
    bits, for which its weights have seven bits.
    """

    def __init__(self, *parts: nn.Linear, engine: str | None = None) -> None:
        engine = engine or best_engine()
        self._exact = FullPrecision(*parts)
        self._packed = _pack(*self._exact.weights, engine)

    def __call__(self, values: Tensor) -> Tensor:
        runs: _Runs | None = getattr(_batch, "runs", None)
        if runs is None or not runs.plain or len(values) != runs.tokens:  # such as the first tokens alone
            return self._exact(values)
        output = values.new_empty(len(values), len(self._exact.weights[0]))
        for start, end in runs.plain:
            output[start:end] = _quantized.linear_dynamic(values[start:end], self._packed)
        output[runs.special] = self._exact(values[runs.special])
        return output


@dataclass(frozen=True, slots=True, eq=False)
class _Runs:
    """Where the tokens of a batch are that are quantised together, and those that are not at all."""

    tokens: int
    plain: Sequence[tuple[int, int]]
    """Start and end of each run."""
    special: Tensor
    """Positions of the other tokens."""

    @classmethod
    def of(cls, batch: Batch) -> "_Runs":
        """Take the first and the last token of each row, and those equal to them, for special.

        So are those of short runs, for which quantising costs more than it saves.
        """
        ends = np.cumsum(batch.lengths)
        firsts, lasts = batch.ids[ends - batch.lengths], batch.ids[ends - 1]
        special = batch.ids == np.repeat(firsts, batch.lengths)
        special |= batch.ids == np.repeat(lasts, batch.lengths)
        bounds = np.concatenate([[-1], np.flatnonzero(special), [batch.tokens]]).tolist()
        runs = [(start + 1, end) for start, end in pairwise(bounds)]
        plain = [(start, end) for start, end in runs if end - start >= _SHORTEST_RUN]
        for start, end in runs:
            special[start:end] = end - start < _SHORTEST_RUN
        return cls(batch.tokens, plain, torch.from_numpy(np.flatnonzero(special)))


@contextmanager
def running(batch: Batch) -> Iterator[None]:
    """Tell `Int8` on this thread what the tokens are that it is given: a linear layer sees values alone."""
    _batch.runs = _Runs.of(batch)
    try:
        yield
    finally:
        del _batch.runs


def best_engine() -> str:
    """Return the library that is fastest here: oneDNN with VNNI or AMX, FBGEMM without.

    Raises:
        RuntimeError: torch has neither.
    """
    wanted = ("onednn", "fbgemm") if has_vnni() else ("fbgemm", "onednn")
    for engine in wanted:
        if engine in _engines.supported_engines:
            return engine
    raise RuntimeError("this torch has no library for quantised layers")


def _pack(weight: Tensor, bias: Tensor | None, engine: str) -> Any:
    scales = (weight.abs().amax(dim=1) / _LARGEST_WEIGHT[engine]).clamp(min=_SMALLEST_SCALE)
    zeros = torch.zeros(len(scales), dtype=torch.int64)
    with _packing, warnings.catch_warnings():
        # Deprecated since torch 2.13, and without a successor for layers that are not compiled.
        warnings.filterwarnings("ignore", message=r".*quantized", category=UserWarning)
        before = _engines.engine
        _engines.engine = engine
        try:
            tensor = torch.quantize_per_channel(weight, scales.double(), zeros, 0, torch.qint8)
            return _quantized.linear_prepack(tensor, bias)
        finally:
            _engines.engine = before
