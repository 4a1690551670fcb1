"""Build the modules that sentence-transformers puts behind a transformer, without torch."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rerank_proxy.engine.backends.array_head import (
    ACTIVATIONS,
    ArrayDense,
    ArrayLayerNorm,
    ArrayModule,
    ArrayNormalize,
    ArrayPooling,
)
from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.reading.head_config import activation_name, integer, pooling_modes
from rerank_proxy.engine.loading.reading.model_files import COPY_AGAIN
from rerank_proxy.engine.loading.reading.modules import HeadModule

_Weights = Mapping[str, NDArray[np.float32]]


def build_array_head(modules: Sequence[HeadModule]) -> list[ArrayModule]:
    """Build the modules and load their weights, in float32.

    Raises:
        ModelLoadError: A module's config or weights cannot be used.
    """
    return list(_built(modules))


def _built(modules: Sequence[HeadModule]) -> Iterator[ArrayModule]:
    for module in modules:
        match module.name:
            case "Pooling":
                yield ArrayPooling(pooling_modes(module))
            case "Dense":
                yield _dense(module)
            case "LayerNorm":
                size = (integer(module, "dimension"),)
                weights = _weights(module.directory)
                yield ArrayLayerNorm(
                    _tensor(module, weights, "norm.weight", size), _tensor(module, weights, "norm.bias", size)
                )
            case "Normalize":
                yield ArrayNormalize()
            case _:  # Dropout does nothing outside of training.
                continue


def _dense(module: HeadModule) -> ArrayDense:
    config = module.config
    inputs, outputs = integer(module, "in_features"), integer(module, "out_features")
    name = activation_name(module)
    activation = ACTIVATIONS.get(name)
    if activation is None:
        raise ModelLoadError(
            f"[{module.directory}] has the activation [{name}], which only the backend [torch] runs; there "
            f"are here: {', '.join(ACTIVATIONS)}"
        )
    weights = _weights(module.directory)
    bias = _tensor(module, weights, "linear.bias", (outputs,)) if config.get("bias", True) else None
    residual: NDArray[np.float32] | bool = bool(config.get("use_residual", False))
    if residual and inputs != outputs:
        residual = _tensor(module, weights, "residual.weight", (outputs, inputs))
    weight = _tensor(module, weights, "linear.weight", (outputs, inputs))
    return ArrayDense(weight, bias, activation, residual)


def _weights(directory: Path) -> _Weights:
    path = directory / "model.safetensors"
    if not path.exists():
        raise ModelLoadError(
            f"[{directory}] has no model.safetensors, the only weights that are read without torch; save the "
            "model again with sentence-transformers, or use the backend [torch]"
        )
    # Imported here: most models have no such module.
    from safetensors.numpy import load_file

    try:
        weights: _Weights = load_file(path)
    except Exception as error:  # The format has its own ways to be damaged.
        reason = str(error).strip().splitlines()[0]
        raise ModelLoadError(f"[{path}] cannot be loaded ({reason}); {COPY_AGAIN}") from error
    return weights


def _tensor(module: HeadModule, weights: _Weights, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
    tensor = weights.get(name)
    if tensor is None or tensor.shape != shape:
        raise ModelLoadError(
            f"[{module.directory}]: its weights cannot be loaded: there is no [{name}] of the shape "
            f"{shape}; {COPY_AGAIN}"
        )
    return tensor.astype(np.float32)
