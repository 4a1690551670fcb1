"""What trained models need of the engine that runs them."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from rerank_proxy.engine import Engine, ModelStatus, Scores
from rerank_proxy.engine.reservations import Reservation
from rerank_proxy.settings import ModelSettings


class ModelEngine(Protocol):
    """A part of `rerank_proxy.engine.Engine`, with a model's directory in the place of its settings."""

    def status(self) -> Mapping[str, ModelStatus]:
        """Every known model's state by name, those of the settings included."""

    def add(
        self, name: str, directory: Path, *, failed: str | None, on_ready: Callable[[], None]
    ) -> str | None:
        """Make the model package `name` of a directory known, without loading it.

        Args:
            failed: Why it is not to be loaded before it is allowed.
            on_ready: Is called whenever it has been loaded.

        Returns:
            Why it is not to be loaded before it is allowed; None when it may be.
        """

    def allow(self, name: str) -> None:
        """Let a model be loaded, whatever it has done before."""

    def remove(self, name: str) -> None:
        """Forget a model and free its memory."""

    def reserve(self, model: str, holder: str, threads: int | None, *, keep_loaded: bool) -> None:
        """Take a deployment's reservation of a model, in place of its earlier one."""

    def release(self, model: str, holder: str) -> None:
        """Remove a reservation."""

    async def wait_ready(self, model: str, deadline: float) -> None:
        """Load a model unless it is loaded; raises as `rerank`."""

    async def scores(self, model: str, query: str, texts: Sequence[str], deadline: float) -> Scores:
        """Score texts, as `rerank_proxy.engine.Engine.scores` does."""


class EngineModels:
    """`ModelEngine` over the engine itself."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.status = engine.status
        self.allow = engine.allow
        self.remove = engine.remove
        self.release = engine.release
        self.wait_ready = engine.wait_ready
        self.scores = engine.scores

    def add(
        self, name: str, directory: Path, *, failed: str | None, on_ready: Callable[[], None]
    ) -> str | None:
        settings = ModelSettings(source=str(directory), package=name, preload=False)
        return self._engine.add(name, settings, failed=failed, on_ready=on_ready)

    def reserve(self, model: str, holder: str, threads: int | None, *, keep_loaded: bool) -> None:
        self._engine.reserve(model, holder, Reservation(threads, keep_loaded))


def deadline_in(seconds: float) -> float:
    """On the event loop's clock."""
    return asyncio.get_running_loop().time() + seconds
