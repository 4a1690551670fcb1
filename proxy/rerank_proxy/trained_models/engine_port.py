"""The part of the engine that trained models need."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from rerank_proxy.engine import Engine, ModelStatus, Scores
from rerank_proxy.engine.reservations import Reservation
from rerank_proxy.settings import ModelSettings


class ModelEngine(Protocol):
    """The part of `rerank_proxy.engine.Engine` that is used here, given directories instead of settings."""

    def status(self) -> Mapping[str, ModelStatus]:
        """Return the state of every known model by name, including those of the settings."""

    def add(
        self, name: str, directory: Path, *, failed: str | None, on_ready: Callable[[], None]
    ) -> str | None:
        """Add the model package `name` of a directory, without loading it.

        Args:
            failed: Why it must not be loaded until it is allowed.
            on_ready: Called whenever it has been loaded.

        Returns:
            Why it will not be loaded until it is allowed; None if it may be loaded.
        """

    def allow(self, name: str) -> None:
        """Allow a model to be loaded even if it has failed before."""

    def remove(self, name: str) -> None:
        """Forget a model and free its memory."""

    def reserve(self, model: str, holder: str, threads: int | None, *, keep_loaded: bool) -> None:
        """Reserve a model for a deployment, replacing an earlier reservation of the same holder."""

    def release(self, model: str, holder: str) -> None:
        """Cancel a reservation."""

    async def wait_ready(self, model: str, deadline: float) -> None:
        """Load a model if it is not loaded, and wait for it; raises as `rerank` does."""

    async def scores(self, model: str, query: str, texts: Sequence[str], deadline: float) -> Scores:
        """Return raw relevance scores, as `rerank_proxy.engine.Engine.scores` does."""


class EngineModels:
    """Implements `ModelEngine` with the engine."""

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
