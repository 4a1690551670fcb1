"""The modules that sentence-transformers puts behind a transformer, on arrays: without torch.

Source of the formulas: `Pooling`, `Dense`, `LayerNorm` and `Normalize` of sentence-transformers.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

_LAYER_NORM_EPSILON: Final = 1e-5
_SMALLEST_LENGTH: Final = 1e-12

_erf: Final = np.frompyfunc(math.erf, 1, 1)


class ArrayModule(Protocol):
    """A module behind the transformer."""

    def __call__(self, values: Array, mask: Mask) -> Array:
        """Return what the module makes of its input.

        Args:
            values: Shape (rows, tokens, dimensions) before the pooling, (rows, dimensions) behind it.
            mask: Shape (rows, tokens), True on tokens. The rows are padded on the right.
        """


@dataclass(frozen=True)
class ArrayPooling:
    """Makes one embedding per row of token embeddings, in one or several ways side by side."""

    modes: Sequence[str]

    def __call__(self, values: Array, mask: Mask) -> Array:
        return np.concatenate([_pool(mode, values, mask) for mode in self.modes], axis=-1)


def _pool(mode: str, hidden: Array, mask: Mask) -> Array:
    lengths = mask.sum(axis=1, keepdims=True).astype(np.float32)
    weights = mask.astype(np.float32)[..., None]
    pooled: Array
    match mode:
        case "cls":
            pooled = hidden[:, 0]
        case "lasttoken":
            pooled = hidden[np.arange(len(hidden)), mask.sum(axis=1) - 1]
        case "max":
            pooled = np.where(mask[..., None], hidden, -np.inf).max(axis=1)
        case "mean":
            pooled = (hidden * weights).sum(axis=1) / lengths
        case "mean_sqrt_len_tokens":
            pooled = (hidden * weights).sum(axis=1) / np.sqrt(lengths)
        case "weightedmean":
            weights = weights * np.arange(1, hidden.shape[1] + 1, dtype=np.float32)[None, :, None]
            pooled = (hidden * weights).sum(axis=1) / weights.sum(axis=1)
        case _:
            raise AssertionError(mode)  # Checked when the model is loaded.
    return pooled.astype(np.float32, copy=False)


@dataclass(frozen=True)
class ArrayDense:
    """A linear layer with an activation, and optionally a residual connection around both."""

    weight: Array
    bias: Array | None
    activation: Callable[[Array], Array]
    residual: Array | bool
    """Weight of a linear layer around both; True for the values themselves, False for no connection."""

    def __call__(self, values: Array, mask: Mask) -> Array:
        output = values @ self.weight.T
        if self.bias is not None:
            output = output + self.bias
        output = self.activation(output)
        if isinstance(self.residual, bool):
            return output + values if self.residual else output
        return output + values @ self.residual.T


@dataclass(frozen=True)
class ArrayLayerNorm:
    """Scales to mean 0 and variance 1, and then by weights."""

    weight: Array
    bias: Array

    def __call__(self, values: Array, mask: Mask) -> Array:
        centred = values - values.mean(axis=-1, keepdims=True)
        variance = (centred * centred).mean(axis=-1, keepdims=True)
        normal: Array = centred / np.sqrt(variance + np.float32(_LAYER_NORM_EPSILON))
        return normal * self.weight + self.bias


class ArrayNormalize:
    """Scales to unit length."""

    def __call__(self, values: Array, mask: Mask) -> Array:
        lengths = np.linalg.norm(values, axis=-1, keepdims=True)
        unit: Array = values / np.maximum(lengths, np.float32(_SMALLEST_LENGTH))
        return unit


def _gelu(values: Array) -> Array:
    error = np.asarray(_erf(values.astype(np.float64) / math.sqrt(2)), np.float64)
    grown: Array = (values * (1 + error) / 2).astype(np.float32)
    return grown


def _sigmoid(values: Array) -> Array:
    grown: Array = np.exp(-np.logaddexp(0, -values.astype(np.float64))).astype(np.float32)
    return grown


def _softplus(values: Array) -> Array:
    grown: Array = np.logaddexp(0, values.astype(np.float64)).astype(np.float32)
    return grown


def _tanh(values: Array) -> Array:
    grown: Array = np.tanh(values)
    return grown


ACTIVATIONS: Final[Mapping[str, Callable[[Array], Array]]] = {
    "Identity": lambda values: values,
    "Tanh": _tanh,
    "ReLU": lambda values: np.maximum(values, np.float32(0)),
    "GELU": _gelu,
    "SiLU": lambda values: values * _sigmoid(values),
    "Sigmoid": _sigmoid,
    "Softplus": _softplus,
}
"""Those of torch.nn, with its defaults, by name."""
