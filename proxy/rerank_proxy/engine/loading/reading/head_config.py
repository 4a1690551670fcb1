"""Read what sentence-transformers' modules behind a transformer are to do, from their config files."""

from typing import Final

from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.engine.loading.reading.model_files import COPY_AGAIN
from rerank_proxy.engine.loading.reading.modules import HeadModule

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

_DEFAULT_ACTIVATION: Final = "torch.nn.modules.activation.Tanh"


def pooling_modes(module: HeadModule) -> list[str]:
    """Return the ways in which a `Pooling` pools, side by side.

    Raises:
        ModelLoadError: One of them is not supported.
    """
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
    return modes


def activation_name(module: HeadModule) -> str:
    """Return the name of a `Dense`'s activation in torch.nn: a config file must not name code to run.

    Raises:
        ModelLoadError: It is not one of torch.nn.
    """
    path = str(module.config.get("activation_function", _DEFAULT_ACTIVATION))
    if not path.startswith("torch.nn."):
        raise unknown_activation(module, path)
    return path.rsplit(".", 1)[-1]


def unknown_activation(module: HeadModule, path: str) -> ModelLoadError:
    """Return the error for an activation that torch.nn does not have."""
    return ModelLoadError(f"[{module.directory}] names the activation [{path}], which is not one of torch.nn")


def integer(module: HeadModule, key: str) -> int:
    """Return a number that a module's config has to give.

    Raises:
        ModelLoadError: It does not.
    """
    value = module.config.get(key)
    if not isinstance(value, int):
        raise ModelLoadError(f"[{module.directory}] gives no [{key}] in its config.json; {COPY_AGAIN}")
    return value
