"""Build the modules that sentence-transformers puts behind a transformer. Imports torch."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, TypeVar

import torch
from safetensors import safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from rerank_proxy.engine.backends.networks import POOLING_MODES, Dense, Normalize, Pooling
from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.model_files import COPY_AGAIN
from rerank_proxy.engine.loading.modules import HeadModule

_Module = TypeVar("_Module", bound=nn.Module)

_POOLING_FLAGS: Final = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}

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
                yield _pooling(module)
            case "Dense":
                with torch.device("meta"):  # where nothing takes memory, no matter what config.json says
                    dense = _dense(module)
                yield _with_weights(dense, module.directory)
            case "LayerNorm":
                with torch.device("meta"):
                    norm = nn.ModuleDict({"norm": nn.LayerNorm(_integer(module, "dimension"))})
                yield _with_weights(norm, module.directory)["norm"]
            case "Projection":
                yield _projection(module.directory)
            case "Normalize":
                yield Normalize()
            case _:  # Dropout does nothing outside of training.
                continue


def _pooling(module: HeadModule) -> Pooling:
    config = module.config
    given = config.get("pooling_mode")
    if given is None:
        modes = [mode for flag, mode in _POOLING_FLAGS.items() if config.get(flag)] or ["mean"]
    else:
        modes = [given] if isinstance(given, str) else list(given)[: len(POOLING_MODES) + 1]
    if len(modes) > len(POOLING_MODES):
        raise ModelLoadError(f"[{module.directory}] pools in more ways than there are")
    unknown = [mode for mode in modes if mode not in POOLING_MODES]
    if unknown:
        raise ModelLoadError(f"[{module.directory}] pools by [{unknown[0]}], which is not supported")
    if not config.get("include_prompt", True):
        raise ModelLoadError(f"[{module.directory}] pools without the prompt, which is not supported")
    return Pooling(modes)


def _dense(module: HeadModule) -> Dense:
    config = module.config
    sizes = _integer(module, "in_features"), _integer(module, "out_features")
    activation = _activation(module, config.get("activation_function", "torch.nn.modules.activation.Tanh"))
    return Dense(sizes, config.get("bias", True), activation, config.get("use_residual", False))


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


def _activation(module: HeadModule, path: str) -> nn.Module:
    """Return one of torch's own activations: a config file must not name code to run."""
    name = str(path).rsplit(".", 1)[-1]
    known = _ACTIVATIONS.get(name) if str(path).startswith("torch.nn.") else None
    if known is None:
        raise ModelLoadError(
            f"[{module.directory}] names the activation [{path}], which is not one of torch.nn"
        )
    return known()


def _integer(module: HeadModule, key: str) -> int:
    value = module.config.get(key)
    if not isinstance(value, int):
        raise ModelLoadError(f"[{module.directory}] gives no [{key}] in its config.json; {COPY_AGAIN}")
    return value


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
