"""What runs on the device: a transformer with its head, from padded token ids to float32 outputs."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from rerank_proxy.engine.backends.profile import HeadModule
from rerank_proxy.engine.errors import ModelLoadError

_Module = TypeVar("_Module", bound=nn.Module)

POOLING_MODES: Final = ("cls", "max", "mean", "mean_sqrt_len_tokens", "weightedmean", "lasttoken")
"""In the order in which sentence-transformers puts several of them together."""

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


class Classifier(nn.Module):
    """A `…ForSequenceClassification` with one label."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model

    def forward(self, inputs: dict[str, Tensor], mask: Tensor) -> Tensor:
        """Logits of shape (rows, 1)."""
        logits: Tensor = self.model(**inputs).logits
        return logits.float()


class Encoder(nn.Module):
    """A transformer followed by modules of sentence-transformers."""

    def __init__(self, model: Any, head: Sequence[nn.Module]) -> None:
        super().__init__()
        self.model = model
        self.head = nn.ModuleList(head)

    def forward(self, inputs: dict[str, Tensor], mask: Tensor) -> Tensor:
        """Embeddings of shape (rows, dimensions), or whatever the last module makes of them."""
        return self.finish(self.model(**inputs).last_hidden_state, mask)

    def finish(self, hidden: Tensor, mask: Tensor) -> Tensor:
        """The modules behind the transformer, over its (rows, tokens, dimensions)."""
        output = hidden.float()
        for module in self.head:
            output = module(output, mask) if isinstance(module, Pooling) else module(output)
        return output


class Pooling(nn.Module):
    """From token embeddings to one embedding per row, in one or several ways side by side.

    The rows are padded on the right. Source of the formulas: `Pooling` of sentence-transformers.
    """

    def __init__(self, modes: Sequence[str]) -> None:
        super().__init__()
        self.modes = tuple(modes)

    def forward(self, hidden: Tensor, mask: Tensor) -> Tensor:
        return torch.cat([_pool(mode, hidden, mask) for mode in self.modes], dim=-1)


def _pool(mode: str, hidden: Tensor, mask: Tensor) -> Tensor:
    """`hidden`: (rows, tokens, dimensions); `mask`: (rows, tokens), True on tokens."""
    lengths = mask.sum(dim=1, keepdim=True)
    weights = mask.to(hidden.dtype).unsqueeze(-1)
    match mode:
        case "cls":
            return hidden[:, 0]
        case "lasttoken":
            return hidden[torch.arange(len(hidden), device=hidden.device), lengths.squeeze(1) - 1]
        case "max":
            return hidden.masked_fill(~mask.unsqueeze(-1), float("-inf")).amax(dim=1)
        case "mean":
            return (hidden * weights).sum(dim=1) / lengths
        case "mean_sqrt_len_tokens":
            return (hidden * weights).sum(dim=1) / lengths.sqrt()
        case "weightedmean":
            positions = torch.arange(1, hidden.shape[1] + 1, device=hidden.device, dtype=hidden.dtype)
            weights = weights * positions.view(1, -1, 1)
            return (hidden * weights).sum(dim=1) / weights.sum(dim=1)
    raise AssertionError(mode)  # `_pooling` has checked it.


class Dense(nn.Module):
    """A linear layer with an activation, and optionally a way around both."""

    def __init__(self, sizes: tuple[int, int], bias: bool, activation: nn.Module, residual: bool) -> None:
        super().__init__()
        inputs, outputs = sizes
        self.linear = nn.Linear(inputs, outputs, bias=bias)
        self.activation = activation
        self.around = residual
        if residual and inputs != outputs:
            self.residual = nn.Linear(inputs, outputs, bias=False)

    def forward(self, values: Tensor) -> Tensor:
        output: Tensor = self.activation(self.linear(values))
        if not self.around:
            return output
        around: Tensor = self.residual(values) if hasattr(self, "residual") else values
        return output + around


class Normalize(nn.Module):
    """To unit length."""

    def forward(self, values: Tensor) -> Tensor:
        return functional.normalize(values, p=2, dim=-1)


def build_head(modules: Sequence[HeadModule]) -> list[nn.Module]:
    """The modules with their weights, in float32.

    Raises:
        ModelLoadError: A module's config or weights are not usable.
    """
    return list(_built(modules))


def _built(modules: Sequence[HeadModule]) -> Iterator[nn.Module]:
    for module in modules:
        match module.name:
            case "Pooling":
                yield _pooling(module)
            case "Dense":
                with torch.device("meta"):  # where nothing takes room, whatever config.json says
                    dense = _dense(module)
                yield _with_weights(dense, module.directory)
            case "LayerNorm":
                with torch.device("meta"):
                    norm = nn.ModuleDict({"norm": nn.LayerNorm(_integer(module, "dimension"))})
                yield _with_weights(norm, module.directory)["norm"]
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


def _activation(module: HeadModule, path: str) -> nn.Module:
    """Only torch's own: a config file must not name code to run."""
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
        raise ModelLoadError(
            f"[{module.directory}] gives no [{key}] in its config.json; copy the model again"
        )
    return value


def _with_weights(built: _Module, directory: Path) -> _Module:
    safe, legacy = directory / "model.safetensors", directory / "pytorch_model.bin"
    if not safe.exists() and not legacy.exists():
        raise ModelLoadError(f"[{directory}] has no weights (model.safetensors); copy the model again")
    try:
        weights = load_file(safe) if safe.exists() else _load_legacy(legacy)
        built.load_state_dict(weights, assign=True)
    except Exception as error:  # Every format has its own ways to be damaged.
        reason = str(error).strip().splitlines()[0]
        raise ModelLoadError(
            f"[{directory}]: its weights cannot be loaded ({reason}); copy the model again"
        ) from error
    return built.float()


def _load_legacy(path: Path) -> dict[str, Tensor]:
    # `weights_only`: a pickle may hold code.
    weights: dict[str, Tensor] = torch.load(path, map_location="cpu", weights_only=True)
    return weights
