"""The device that models run on. Imports torch."""

from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.settings import EngineSettings

_CPU_BUDGET_TOKENS: Final = 2048
_GPU_BUDGET_TOKENS: Final = 16384


def choose(settings: EngineSettings) -> torch.device:
    """Choose the device by the settings.

    Raises:
        ModelLoadError: There is no such device here.
    """
    name = settings.device
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0]
        raise ModelLoadError(
            f"engine.device [{name}] cannot be used here ({reason}); use `cpu` or `auto`"
        ) from error
    return device


def budget_tokens(settings: EngineSettings, place: torch.device) -> int:
    """Return the tokens, padding included, of one batch."""
    return settings.budget_tokens or (_CPU_BUDGET_TOKENS if place.type == "cpu" else _GPU_BUDGET_TOKENS)


def to_device(place: torch.device, array: NDArray[np.generic]) -> torch.Tensor:
    """Copy an array to a device; to a CUDA device without waiting for it."""
    tensor = torch.from_numpy(array)
    if place.type == "cuda":
        return tensor.pin_memory().to(place, non_blocking=True)
    return tensor.to(place)
