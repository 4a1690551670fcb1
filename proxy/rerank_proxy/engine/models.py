"""The models of an engine: which there are, their reservations, and when they are loaded and unloaded."""

import math
from collections.abc import Callable, Mapping
from typing import Final

from rerank_proxy.concurrency.tasks import BackgroundTasks
from rerank_proxy.concurrency.timers import Timers
from rerank_proxy.engine.batching.scheduler import Scheduler
from rerank_proxy.engine.errors import EngineClosedError, UnknownModelError
from rerank_proxy.engine.hangs.journal import Journal, LoadBlock
from rerank_proxy.engine.loading.loader import Loader
from rerank_proxy.engine.metrics import EngineMetrics
from rerank_proxy.engine.model import Model, ModelStatus
from rerank_proxy.engine.model_memory import ModelMemory
from rerank_proxy.engine.reservations import Reservation
from rerank_proxy.settings import ModelSettings

_IDLE_CHECKS: Final = 20
"""Checks for idle models in the time after which they are unloaded."""


class Models:
    """Models by name. All methods belong to the event loop.

    Args:
        memory: What the weights of all of them share.
        idle_unload_s: Seconds without calls after which a model that nothing keeps is unloaded.
        clock: In seconds.
    """

    def __init__(
        self,
        loader: Loader,
        scheduler: Scheduler,
        metrics: EngineMetrics,
        journal: Journal,
        memory: ModelMemory,
        idle_unload_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._loader = loader
        self._scheduler = scheduler
        self._metrics = metrics
        self._journal = journal
        self._memory = memory
        self._idle_unload_s = idle_unload_s
        self._clock = clock
        self._models: dict[str, Model] = {}
        self._timers = Timers()
        self._freeing = BackgroundTasks()
        self._closed = False

    def configure(self, name: str, settings: ModelSettings) -> None:
        """Add a model of the settings. One that took the process down gets another try."""
        block = self._load_block(name, trusted=True)
        self._models[name] = self._model(name, settings, block, pinned=settings.preload)

    def add(
        self, name: str, settings: ModelSettings, failed: str | None, on_ready: Callable[[], None]
    ) -> str | None:
        """Add a model of a client. Return why it is not loaded until it is allowed; None when it may be.

        Args:
            failed: Why it is not to be loaded until it is allowed.
            on_ready: Called whenever it has been loaded.

        Raises:
            ValueError: There is a model of that name.
            EngineClosedError: `close` was called.
        """
        self._check_open()
        if name in self._models:
            raise ValueError(f"there is already a model [{name}]")
        block = self._load_block(name, trusted=False) if failed is None else LoadBlock(failed, None)
        self._models[name] = self._model(name, settings, block, pinned=False, on_ready=on_ready)
        return block.reason if block is not None and block.retry_in_s is None else None

    def get(self, name: str) -> Model:
        """Return a model.

        Raises:
            UnknownModelError: There is none of that name.
        """
        model = self._models.get(name)
        if model is None:
            names = ", ".join(sorted(self._models)) or "none"
            raise UnknownModelError(f"no model [{name}] is configured; known: {names}")
        return model

    def status(self) -> Mapping[str, ModelStatus]:
        """Return every model's state by name."""
        return {name: model.status for name, model in self._models.items()}

    def start(self) -> None:
        """Begin to load the models that are kept loaded, and to unload idle ones from time to time."""
        for model in self._models.values():
            if model.kept_loaded:
                self._begin(model)
        self._check_for_idle_models()

    def allow(self, name: str) -> None:
        """Let a model be loaded although the process had to be ended because of it.

        Raises:
            UnknownModelError: There is none of that name.
        """
        self.get(name).allow()
        self._journal.forgive(name)

    def reload(self) -> None:
        """Load all models but unloaded ones again. They serve meanwhile."""
        for model in self._models.values():
            if model.status.state != "unloaded":
                model.reload()

    def remove(self, name: str) -> None:
        """Remove a model, and end its calls with `UnknownModelError`.

        Raises:
            UnknownModelError: There is none of that name.
        """
        self._check_open()
        model = self.get(name)
        del self._models[name]
        model.close(UnknownModelError(f"model [{name}] was removed"))
        self._journal.forgive(name)
        self._metrics.forget(name)

    def reserve(self, name: str, holder: str, reservation: Reservation) -> None:
        """Take a holder's reservation, and begin to load a model that is to be kept loaded.

        Raises:
            UnknownModelError: There is none of that name.
        """
        model = self.get(name)
        model.reserve(holder, reservation)
        if reservation.keep_loaded:
            self._begin(model)

    def release(self, name: str, holder: str) -> None:
        """Remove a reservation, if model and reservation are there."""
        if name in self._models:
            self._models[name].release(holder)

    def unload_idle(self) -> None:
        """Unload the models that no call uses and nothing keeps."""
        for model in self._models.values():
            model.unload_if_idle(self._idle_unload_s)

    def close_hung(self, name: str, reason: str, others: EngineClosedError) -> None:
        """Close a model that never returns with the reason, and the others with `others`."""
        for model in self._models.values():
            if model.name == name:
                model.close_hung(reason)
            else:
                model.close(others)

    async def close(self, error: EngineClosedError) -> None:
        """Close all models for good."""
        self._closed = True
        self._timers.cancel()
        for model in self._models.values():
            model.close(error)
        self._memory.close()
        await self._freeing.cancel()

    def _model(
        self,
        name: str,
        settings: ModelSettings,
        block: LoadBlock | None,
        *,
        pinned: bool,
        on_ready: Callable[[], None] = lambda: None,
    ) -> Model:
        return Model(
            name,
            settings,
            self._loader,
            self._scheduler,
            self._metrics,
            self._memory,
            self._clock,
            self._free,
            pinned=pinned,
            block=block,
            on_ready=on_ready,
            on_failed=lambda: self._begin_later(name),
        )

    def _load_block(self, name: str, *, trusted: bool) -> LoadBlock | None:
        """Return why a model is not to be loaded, and until when, in words for people."""
        block = self._journal.load_block(name, trusted=trusted)
        if block is None:
            return None
        if block.retry_in_s is not None:
            then = f"it is tried again {block.retry_in_s:.0f} s after that"
        elif trusted:
            then = "it is not tried again before the proxy is restarted"
        else:
            then = "it is not loaded again before a client starts it"
        return LoadBlock(f"{block.reason}; {then}", block.retry_in_s)

    def _begin(self, model: Model) -> None:
        """Begin to load a model now, or when it is no longer blocked."""
        wait_s = model.blocked_s
        if 0 < wait_s < math.inf:
            self._timers.start(f"load {model.name}", wait_s, lambda: self._begin(model))
        model.begin()

    def _begin_later(self, name: str) -> None:
        """Load a model that is to be kept loaded once more: no call may come that would.

        While it is not there, `/ready` answers 503, and what asks that sends no searches.
        """
        model = self._models.get(name)
        if model is not None and model.kept_loaded and not self._closed:
            self._timers.start(f"load {name}", model.retry_s, lambda: self._begin(model))

    def _free(self) -> None:
        if not self._closed:
            self._freeing.start(self._loader.free())

    def _check_for_idle_models(self) -> None:
        self.unload_idle()
        self._timers.start("idle", self._idle_unload_s / _IDLE_CHECKS, self._check_for_idle_models)

    def _check_open(self) -> None:
        if self._closed:
            raise EngineClosedError("the engine was closed")
