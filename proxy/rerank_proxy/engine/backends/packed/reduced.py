"""Linear layers in lower precision, on CPUs: `Linears` beside `linear.FullPrecision`.

Only matrix products run in it, some seven tenths of the arithmetic. Attention, norms, activations, sums and
the head stay in float32.
"""

import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from rerank_proxy.engine.backends.cpu import has_vnni
from rerank_proxy.engine.backends.packed.linear import FullPrecision
from rerank_proxy.engine.backends.packed.onnx_product import OnnxProduct, installed
from rerank_proxy.engine.rows import Batch

_quantized: Any = torch.ops.quantized  # has no types
_engines: Any = torch.backends.quantized
_packing = threading.Lock()
"""The engine is a global of torch."""

_SHORTEST_RUN: Final = {"fbgemm": 16, "onednn": 16, "onnxruntime": 6}
"""Tokens of which the product in integers is faster."""

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
    of words, and would leave these few steps. They are few. Without VNNI, libraries add two products at 16
    bits, for which weights have seven bits.

    Args:
        engine: The library that multiplies, see `best_engine`.
    """

    def __init__(self, *parts: nn.Linear, engine: str | None = None) -> None:
        engine = engine or best_engine()
        self._shortest = _SHORTEST_RUN[engine]
        self._exact = FullPrecision(*parts)
        self._product = _product(*self._exact.weights, engine)

    def __call__(self, values: Tensor) -> Tensor:
        runs = _runs(self._shortest)
        if runs is None or not runs.plain or len(values) != runs.tokens:  # such as the first tokens alone
            return self._exact(values)
        values = values.contiguous()
        output = values.new_empty(len(values), len(self._exact.weights[0]))
        for start, end in runs.plain:
            self._product(values[start:end], output[start:end])
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
    def of(cls, batch: Batch, shortest: int) -> "_Runs":
        """Take the first and the last token of each row, and those equal to them, for special.

        So are those of runs with fewer tokens than `shortest`, for which quantising costs more than it saves.
        """
        ends = np.cumsum(batch.lengths)
        firsts, lasts = batch.ids[ends - batch.lengths], batch.ids[ends - 1]
        special = batch.ids == np.repeat(firsts, batch.lengths)
        special |= batch.ids == np.repeat(lasts, batch.lengths)
        bounds = np.concatenate([[-1], np.flatnonzero(special), [batch.tokens]]).tolist()
        runs = [(start + 1, end) for start, end in pairwise(bounds)]
        plain = [(start, end) for start, end in runs if end - start >= shortest]
        for start, end in runs:
            special[start:end] = end - start < shortest
        return cls(batch.tokens, plain, torch.from_numpy(np.flatnonzero(special)))


@contextmanager
def running(batch: Batch) -> Iterator[None]:
    """Tell `Int8` on this thread what the tokens are that it is given: a linear layer sees values alone."""
    _batch.runs = cache(lambda shortest: _Runs.of(batch, shortest))
    try:
        yield
    finally:
        del _batch.runs


def _runs(shortest: int) -> _Runs | None:
    """Return the runs of the batch that this thread is running; None if it runs none."""
    of_batch: Callable[[int], _Runs] | None = getattr(_batch, "runs", None)
    return None if of_batch is None else of_batch(shortest)


def best_engine(threads: int = 1) -> str:
    """Return the library that is fastest here.

    ONNX Runtime is, where it is installed and a batch has one thread: more would be threads of its own for
    each layer. Of those in torch, oneDNN is with VNNI or AMX, and FBGEMM without.

    Args:
        threads: Of a batch.

    Raises:
        RuntimeError: There is none.
    """
    if threads == 1 and installed():
        return "onnxruntime"
    wanted = ("onednn", "fbgemm") if has_vnni() else ("fbgemm", "onednn")
    for engine in wanted:
        if engine in _engines.supported_engines:
            return engine
    raise RuntimeError("this torch has no library for quantised layers")


def _product(weight: Tensor, bias: Tensor | None, engine: str) -> Callable[[Tensor, Tensor], None]:
    """Return what writes a layer's outputs for its values, both of shape (tokens, …)."""
    largest = 64 if engine == "fbgemm" or not has_vnni() else 127
    scales = (weight.detach().abs().amax(dim=1) / largest).clamp(min=_SMALLEST_SCALE)
    if engine == "onnxruntime":
        steps = (weight.detach() / scales[:, None]).round().to(torch.int8)
        return OnnxProduct(steps.numpy(), scales.numpy(), None if bias is None else bias.detach().numpy())
    packed = _pack(weight, bias, scales, engine)

    def multiply(values: Tensor, output: Tensor) -> None:
        output.copy_(_quantized.linear_dynamic(values, packed))

    return multiply


def _pack(weight: Tensor, bias: Tensor | None, scales: Tensor, engine: str) -> Any:
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
