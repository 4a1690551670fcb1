"""The device that models run on. Imports torch."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np
import torch
from numpy.typing import NDArray

from rerank_proxy.engine.backends.cpu import count_workers, usable_cores
from rerank_proxy.engine.errors import ModelLoadError, OutOfDeviceMemoryError
from rerank_proxy.settings import EngineSettings

_log = logging.getLogger(__name__)

_CPU_BUDGET_TOKENS: Final = 2048
_GPU_BUDGET_TOKENS: Final = 16384

_NO_ROOM: Final = ("out of memory", "can't allocate memory")
"""How torch says so: `torch.OutOfMemoryError` and libraries of CUDA, MPS; and the allocator of CPUs."""


def choose(settings: EngineSettings) -> list[torch.device]:
    """Choose the devices by the settings: one, or several GPUs, each of which has a worker.

    Raises:
        ModelLoadError: There is no such device here.
    """
    names = names_of(settings.device)
    workers = count_workers(settings.workers, settings.threads or usable_cores())
    if len(names) > workers:
        _log.warning("engine.workers is %d, and so many of %d devices are used", workers, len(names))
    return [_device(name) for name in names[:workers]]


def names_of(setting: str) -> list[str]:
    """Return the names of the devices that `engine.device` means."""
    return list(dict.fromkeys(name for each in setting.split(",") for name in _meant(each)))


def _meant(name: str) -> list[str]:
    if name == "auto":
        if not torch.cuda.is_available():
            return ["cpu"]  # MPS lacks operations that some models need: it is for those who ask for it
        name = "cuda"
    gpus = torch.cuda.device_count() if name == "cuda" else 0
    return [f"cuda:{number}" for number in range(gpus)] if gpus > 1 else [name]


def _device(name: str) -> torch.device:
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


@contextmanager
def memory_errors() -> Iterator[None]:
    """Say by an `OutOfDeviceMemoryError` that the device has no room for a batch."""
    try:
        yield
    except RuntimeError as error:
        reason = str(error)
        if not any(words in reason for words in _NO_ROOM):
            raise
    except MemoryError as error:
        reason = str(error)
    else:
        return
    # Outside of the handlers: the error would keep the tensors of the failed attempt.
    raise OutOfDeviceMemoryError(reason)
