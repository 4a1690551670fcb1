"""Build the modules that sentence-transformers puts behind a transformer. Imports torch."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from rerank_proxy.engine.backends.networks import Dense, Normalize, Pooling
from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.reading.head_config import (
    activation_name,
    integer,
    pooling_modes,
    unknown_activation,
)
from rerank_proxy.engine.loading.reading.model_files import COPY_AGAIN
from rerank_proxy.engine.loading.reading.modules import HeadModule

_Module = TypeVar("_Module", bound=nn.Module)

_ACTIVATIONS: Final[Mapping[str, type[nn.Module]]] = {
    "Identity": nn.Identity,
    **{name: getattr(nn, name) for name in nn.modules.activation.__all__ if name != "MultiheadAttention"},
}

_PROJECTION: Final = "linear.weight"


def build_head(modules: Sequence[HeadModule]) -> list[nn.Module]:
    """Build the modules and load their weights, in float32.

    Raises:
        ModelLoadError: A module's config or weights cannot be used.
    """
    return list(_built(modules))


def _built(modules: Sequence[HeadModule]) -> Iterator[nn.Module]:
    for module in modules:
        match module.name:
            case "Pooling":
                yield Pooling(pooling_modes(module))
            case "Dense":
                with torch.device("meta"):  # where nothing takes memory, no matter what config.json says
                    dense = _dense(module)
                yield _with_weights(dense, module.directory)
            case "LayerNorm":
                with torch.device("meta"):
                    norm = nn.ModuleDict({"norm": nn.LayerNorm(integer(module, "dimension"))})
                yield _with_weights(norm, module.directory)["norm"]
            case "Projection":
                yield _projection(module.directory)
            case "Normalize":
                yield Normalize()
            case _:  # Dropout does nothing outside of training.
                continue


def _dense(module: HeadModule) -> Dense:
    config = module.config
    sizes = integer(module, "in_features"), integer(module, "out_features")
    return Dense(sizes, config.get("bias", True), _activation(module), config.get("use_residual", False))


def _projection(directory: Path) -> Dense:
    """Build the projection of a ColBERT checkpoint, whose weight is among those of the transformer."""
    safe, legacy = directory / "model.safetensors", directory / "pytorch_model.bin"
    try:
        if safe.exists():
            with safe_open(safe, "pt") as weights:
                weight = weights.get_tensor(_PROJECTION)
        else:
            weight = _load_legacy(legacy)[_PROJECTION]
    except Exception as error:  # Every format has its own ways to be damaged.
        raise ModelLoadError(
            f"[{directory}] is a ColBERT without [{_PROJECTION}] in model.safetensors; {COPY_AGAIN}"
        ) from error
    outputs, inputs = weight.shape
    with torch.device("meta"):
        dense = Dense((inputs, outputs), False, nn.Identity(), False)
    dense.load_state_dict({_PROJECTION: weight}, assign=True)
    return dense.float()


def _activation(module: HeadModule) -> nn.Module:
    name = activation_name(module)
    known = _ACTIVATIONS.get(name)
    if known is None:
        raise unknown_activation(module, f"torch.nn.{name}")
    return known()


def _with_weights(built: _Module, directory: Path) -> _Module:
    safe, legacy = directory / "model.safetensors", directory / "pytorch_model.bin"
    if not safe.exists() and not legacy.exists():
        raise ModelLoadError(f"[{directory}] has no weights (model.safetensors); {COPY_AGAIN}")
    try:
        weights = load_file(safe) if safe.exists() else _load_legacy(legacy)
        built.load_state_dict(weights, assign=True)
    except Exception as error:  # Every format has its own ways to be damaged.
        reason = str(error).strip().splitlines()[0]
        raise ModelLoadError(
            f"[{directory}]: its weights cannot be loaded ({reason}); {COPY_AGAIN}"
        ) from error
    return built.float()


def _load_legacy(path: Path) -> dict[str, Tensor]:
    # `weights_only`: a pickle may hold code.
    weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return weights
