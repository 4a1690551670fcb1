"""One model between a name and something that scores: loaded when it is wanted, unloaded when it is not."""

import asyncio
import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, Literal

from rerank_proxy.engine.batching.metrics import EngineMetrics
from rerank_proxy.engine.batching.scheduler import Lane, Scheduler
from rerank_proxy.engine.demand import Demand, allowed_threads
from rerank_proxy.engine.encoding.scorers import LoadedModel
from rerank_proxy.engine.errors import EngineError, InferenceError, ModelFailedError
from rerank_proxy.engine.loading.journal import Trouble
from rerank_proxy.engine.loading.loader import Loaded, Loader
from rerank_proxy.settings import ModelSettings

_log = logging.getLogger(__name__)

RETRY_AFTER_S: Final = 30.0
"""Seconds before a call has a failed load tried again: each try reads gigabytes, calls come by the dozen."""


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """How a model stands. `detail` is a line for people: what is loaded, or why not and what to do."""

    state: Literal["unloaded", "loading", "ready", "failed"]
    detail: str
    preload: bool
    """Whether it is meant to be loaded all the time. Else its state says nothing about the engine's."""


class Model:
    """A model of the engine. All its methods belong to the event loop.

    Args:
        pinned: Whether it is kept loaded although no holder asks for it.
        clock: In seconds.
        trouble: Why it is not to be loaded for now.
        on_ready: Is called whenever it has been loaded.
    """

    def __init__(
        self,
        name: str,
        settings: ModelSettings,
        loader: Loader,
        scheduler: Scheduler,
        metrics: EngineMetrics,
        clock: Callable[[], float],
        *,
        pinned: bool,
        trouble: Trouble | None = None,
        on_ready: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self._settings = settings
        self._loader = loader
        self._scheduler = scheduler
        self._metrics = metrics
        self._clock = clock
        self._pinned = pinned
        self._on_ready = on_ready
        self._holders: dict[str, Demand] = {}
        self._calls = 0
        self._last_used = clock()
        self._attempt: asyncio.Task[None] | None = None
        self._ready: tuple[LoadedModel, Lane] | None = None
        self._failure: EngineError | None = None
        self._failed_at = 0.0
        self._not_before = -math.inf
        self._load_seconds = 0.0
        self._end: EngineError | None = None
        metrics.not_loaded(name)
        if trouble is not None:
            self._block(trouble)

    @property
    def status(self) -> ModelStatus:
        source = f"[{self._settings.source}]"
        if self._ready is not None:
            return ModelStatus("ready", self._detail, self._pinned)
        if self._failure is not None:
            return ModelStatus("failed", str(self._failure), self._pinned)
        if self._attempt is not None:
            return ModelStatus("loading", f"loading from {source}", self._pinned)
        return ModelStatus("unloaded", f"loaded from {source} by the next call that needs it", self._pinned)

    @property
    def kept_loaded(self) -> bool:
        return self._pinned or any(demand.keep_loaded for demand in self._holders.values())

    def demand(self, holder: str, demand: Demand) -> None:
        """Take down what a holder wants, in place of what it wanted before."""
        self._holders[holder] = demand
        self._demands_changed()

    def release(self, holder: str) -> None:
        if self._holders.pop(holder, None) is not None:
            self._demands_changed()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """A call, during which the model is not unloaded."""
        self._calls += 1
        try:
            yield
        finally:
            self._calls -= 1
            self._last_used = self._clock()

    @property
    def blocked_s(self) -> float:
        """Seconds in which `begin` does nothing."""
        return max(0.0, self._not_before - self._clock())

    def allow(self) -> None:
        """A client wants it: let it be loaded whatever it has done before."""
        self._not_before = -math.inf

    def begin(self) -> None:
        """Begin to load it, unless it is loaded, being loaded, closed, or not to be loaded for now."""
        if self.blocked_s:
            return
        if self._ready is None and self._attempt is None and self._end is None:
            self._attempt = asyncio.create_task(self._load(), name=f"engine-load-{self.name}")

    async def ready(self) -> tuple[LoadedModel, Lane]:
        """For a call: wait until the model can score, or hear at once why the last load failed.

        Raises:
            EngineError: It cannot be loaded, or was closed.
        """
        if self._failure is not None and self._end is None:
            if self._clock() - self._failed_at >= RETRY_AFTER_S:
                self.begin()
            raise _fresh(self._failure)
        return await self.loaded()

    async def loaded(self) -> tuple[LoadedModel, Lane]:
        """As `ready`, but a load that failed before is tried again and waited for."""
        while self._ready is None:
            self.begin()
            if self._attempt is None:
                raise _fresh(self._end or self._failure)
            # Unlike the task itself this can be cancelled without an end to the loading.
            await asyncio.wait([self._attempt])
            if self._failure is not None:
                raise _fresh(self._end or self._failure)
        return self._ready

    def check_open(self) -> None:
        """Raises:
        EngineError: It was closed.
        """
        if self._end is not None:
            raise _fresh(self._end)

    def unload_if_idle(self, idle_s: float) -> bool:
        """Unload it when nobody has called it for so long and nobody wants it kept. Whether it was."""
        if self._ready is None or self._calls or self.kept_loaded or self._clock() - self._last_used < idle_s:
            return False
        self._scheduler.forget(self._ready[1])
        self._ready = None
        self._metrics.not_loaded(self.name)
        _log.info("model [%s] is unloaded: nobody called it for %.0f s", self.name, idle_s)
        return True

    def close(self, error: EngineError) -> None:
        """Unload it for good. Calls that wait for it get the error; what runs is not waited for."""
        self._end = error
        if self._attempt is not None:
            self._attempt.cancel()
            self._attempt = None
        if self._ready is not None:
            self._scheduler.abandon(error, self._ready[1])
            self._scheduler.forget(self._ready[1])
            self._ready = None

    def hangs(self, reason: str) -> None:
        """It has no end: close it, and say so from now on."""
        self.close(InferenceError(reason))
        self._block(Trouble(reason, None))

    def _block(self, trouble: Trouble) -> None:
        self._failure, self._failed_at = ModelFailedError(trouble.reason), self._clock()
        self._not_before = self._failed_at + (math.inf if trouble.again_in_s is None else trouble.again_in_s)
        self._metrics.failed(self.name)

    @property
    def _detail(self) -> str:
        assert self._ready is not None
        loaded, _ = self._ready
        what = "{kind} {architecture} on {device} in {dtype}, {max_length} tokens; ".format_map(loaded.info)
        return f"{what}loaded in {self._load_seconds:.1f} s from [{self._settings.source}]"

    def _demands_changed(self) -> None:
        self._last_used = self._clock()
        if self._ready is not None:
            self._ready[1].threads = allowed_threads(self._holders.values())
        if any(demand.keep_loaded for demand in self._holders.values()):
            self.begin()

    async def _load(self) -> None:
        try:
            loaded = await self._loader.load(self.name, self._settings)
        except ModelFailedError as failure:
            self._failure, self._failed_at = failure, self._clock()
            self._metrics.failed(self.name)
            _log.error(
                "model [%s] cannot be loaded: %s", self.name, failure, exc_info=failure.__cause__ or None
            )
        else:
            self._succeed(loaded)
        finally:
            self._attempt = None

    def _succeed(self, loaded: Loaded) -> None:
        model, threads = loaded.model, allowed_threads(self._holders.values())
        lane = Lane(
            self.name, model.backend, model.budget_tokens, threads, loaded.pace_s, model.info["dtype"]
        )
        self._load_seconds = loaded.seconds
        self._ready, self._failure = (model, lane), None
        self._last_used = self._clock()
        self._metrics.watch_queue(lane, self._scheduler)
        self._metrics.loaded(self.name, model.info, loaded.seconds)
        _log.info("model [%s] is ready: %s", self.name, self._detail)
        self._on_ready()


def _fresh(error: EngineError | None) -> EngineError:
    """The same error once more: one object that many calls raise would gather all their tracebacks."""
    assert error is not None
    return type(error)(*error.args)
