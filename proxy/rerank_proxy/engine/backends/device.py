"""The device that models run on. Imports torch."""

from dataclasses import dataclass
from typing import Final

import torch

from rerank_proxy.engine.errors import ModelLoadError
from rerank_proxy.settings import EngineSettings

_CPU_BUDGET_TOKENS: Final = 2048
_GPU_BUDGET_TOKENS: Final = 16384
_DTYPES: Final = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, slots=True)
class Device:
    """The device of a model, and the type that it calculates in."""

    place: torch.device
    dtype: torch.dtype

    @property
    def dtype_name(self) -> str:
        """The type as the setting `engine.dtype` names it."""
        return str(self.dtype).removeprefix("torch.")

    @property
    def runs_packed(self) -> bool:
        """Return whether models may run on it without padding."""
        return self.place.type == "cpu" and self.dtype == torch.float32


def choose(settings: EngineSettings) -> Device:
    """Choose device and type by the settings.

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
    automatic = torch.float32 if device.type == "cpu" else torch.float16
    return Device(device, _DTYPES.get(settings.dtype, automatic))


def budget_tokens(settings: EngineSettings, place: torch.device) -> int:
    """Return the tokens, padding included, of one batch."""
    return settings.budget_tokens or (_CPU_BUDGET_TOKENS if place.type == "cpu" else _GPU_BUDGET_TOKENS)
