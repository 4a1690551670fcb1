"""TorchScript programs that never return."""

import warnings
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn

from tests.support.trained_models import TOKENS

_APPLE: Final = TOKENS.index("apple")


class Returns(nn.Module):
    """A score for each row, and no loop."""

    def forward(self, ids: Tensor) -> Tensor:
        return ids.float().amax(dim=1, keepdim=True)


class LoopsOverThreeApples(nn.Module):
    """Loops over a row with three apples, and no other."""

    apple: Final[int]

    def __init__(self) -> None:
        super().__init__()
        self.apple = _APPLE

    def forward(self, ids: Tensor) -> Tensor:
        turns = 0
        while int((ids == self.apple).sum()) == 3:
            turns += 1
        return ids.float().amax(dim=1, keepdim=True) + turns


class LoopsAlways(nn.Module):
    """Loops over every row, and so while it is tried."""

    def forward(self, ids: Tensor) -> Tensor:
        turns = 0
        while ids.size(0) >= 0:
            turns += 1
        return ids.float().amax(dim=1, keepdim=True) + turns


class LoopsWhenRead(nn.Module):
    """Loops while its file is read, and holds the GIL."""

    def __init__(self) -> None:
        super().__init__()
        self.turns = 0

    @torch.jit.export
    def __getstate__(self) -> tuple[int, bool]:
        return (self.turns, self.training)

    @torch.jit.export
    def __setstate__(self, state: tuple[int, bool]) -> None:
        turns = 0
        while turns >= 0:
            turns = (turns + 1) % 1000
        self.turns = state[0]
        self.training = state[1]

    def forward(self, ids: Tensor) -> Tensor:
        return ids.float().amax(dim=1, keepdim=True)


def program(module: nn.Module, path: Path) -> bytes:
    """Return the bytes of a program, which are also left at `path`."""
    jit: Any = torch.jit
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch would rather have another format
        jit.save(jit.script(module.eval()), str(path))
    return path.read_bytes()
