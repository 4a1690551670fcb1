"""One model: loaded when a call or a reservation needs it, unloaded when none does."""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import Final, Literal

from rerank_proxy.engine.batching.jobs import Lane
from rerank_proxy.engine.batching.scheduler import Scheduler
from rerank_proxy.engine.errors import EngineError, InferenceError, ModelFailedError, fresh
from rerank_proxy.engine.hangs.journal import LoadBlock
from rerank_proxy.engine.loading.loaded_model import LoadedModel
from rerank_proxy.engine.loading.loader import Loader, WarmModel
from rerank_proxy.engine.metrics import EngineMetrics
from rerank_proxy.engine.model_memory import ModelMemory, Share
from rerank_proxy.engine.reservations import Reservation, Reservations
from rerank_proxy.engine.residence import Residence
from rerank_proxy.observe import stages
from rerank_proxy.observe.events import event
from rerank_proxy.settings import ModelSettings

_log = logging.getLogger(__name__)

RETRY_AFTER_S: Final = 30.0
"""Seconds before a call has a failed load tried again: each try reads gigabytes, calls come by the dozen."""
_LONGEST_RETRY_S: Final = 600.0


State = Literal["unloaded", "loading", "ready", "failed"]


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """The state of a model. `detail` is a line for people: what is loaded, or why not and what to do.

    Attributes:
        source: Where it is loaded from.
        precision: Of what is loaded.
        size_bytes: The memory that it is counted with; None while it is not loaded.
        unused_s: Seconds since the last call ended; 0 during calls, None before the first one.
    """

    state: State
    detail: str
    preload: bool
    """Whether it is to be loaded all the time. Otherwise its state says nothing about the engine's."""
    source: str = ""
    precision: str | None = None
    size_bytes: int | None = None
    unused_s: float | None = None


class Model:
    """A model of the engine. All its methods belong to the event loop.

    Args:
        memory: Where it takes room for its weights.
        on_gone: Called when it has been unloaded, and no call uses it any more.
        pinned: Keep it loaded although no reservation asks for it.
        clock: In seconds.
        block: Why it is not to be loaded for now.
        on_ready: Called whenever it has been loaded.
    """

    def __init__(
        self,
        name: str,
        settings: ModelSettings,
        loader: Loader,
        scheduler: Scheduler,
        metrics: EngineMetrics,
        memory: ModelMemory,
        clock: Callable[[], float],
        on_gone: Callable[[], None],
        *,
        pinned: bool,
        block: LoadBlock | None = None,
        on_ready: Callable[[], None] = lambda: None,
        on_failed: Callable[[], None] = lambda: None,
    ) -> None:
        self.name = name
        self._settings = settings
        self._loader = loader
        self._scheduler = scheduler
        self._metrics = metrics
        self._memory = memory
        self._clock = clock
        self._on_gone = on_gone
        self._pinned = pinned
        self._on_ready = on_ready
        self._on_failed = on_failed
        self._failed_times = 0
        self._reservations = Reservations()
        self._calls = 0
        self._was_called = False
        self._last_call = 0.0
        self._last_used = clock()
        self._attempt: asyncio.Task[None] | None = None
        self._again = False
        self._ready: Residence | None = None
        self._failure: EngineError | None = None
        self._failed_at = 0.0
        self._not_before = -math.inf
        self._load_s = 0.0
        self._end: EngineError | None = None
        metrics.not_loaded(name)
        if block is not None:
            self._block(block)

    @property
    def status(self) -> ModelStatus:
        """Return the current state."""
        state, detail = self._state()
        ready = self._ready
        return ModelStatus(
            state,
            detail,
            self._pinned,
            self._settings.source,
            None if ready is None else ready.model.info["precision"],
            None if ready is None else ready.size_bytes,
            self._unused_s(),
        )

    def _state(self) -> tuple[State, str]:
        source = f"[{self._settings.source}]"
        if self._ready is not None:
            return "ready", self._detail
        if self._failure is not None:
            return "failed", str(self._failure)
        if self._attempt is not None:
            return "loading", f"loading from {source}"
        return "unloaded", f"loaded from {source} by the next call that needs it"

    def _unused_s(self) -> float | None:
        if not self._was_called:
            return None
        return 0.0 if self._calls else self._clock() - self._last_call

    @property
    def kept_loaded(self) -> bool:
        """Return whether the settings or a reservation keep it loaded."""
        return self._pinned or self._reservations.keep_loaded

    @property
    def evictable(self) -> bool:
        """Return whether it may be unloaded now: it is loaded, not kept loaded, and no call waits for it."""
        served = self._ready is not None and (self._ready.was_used or not self._calls)
        return served and not self.kept_loaded

    @property
    def need(self) -> tuple[bool, float]:
        """Order models by need: those without calls come first, and of these the least recently used."""
        return self._calls > 0, self._last_used

    def reserve(self, holder: str, reservation: Reservation) -> None:
        """Take a holder's reservation in place of its earlier one."""
        self._reservations.put(holder, reservation)
        self._reservations_changed()

    def release(self, holder: str) -> None:
        """Remove a holder's reservation, if there is one."""
        if self._reservations.remove(holder):
            self._reservations_changed()

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """Keep the model from being unloaded during a call."""
        self._calls += 1
        self._was_called = True
        try:
            yield
        finally:
            self._calls -= 1
            self._last_used = self._last_call = self._clock()
            self._memory.changed()

    @property
    def blocked_s(self) -> float:
        """The seconds during which `begin` does nothing."""
        return max(0.0, self._not_before - self._clock())

    @property
    def retry_s(self) -> float:
        """The seconds after which a load that has failed again and again is tried once more."""
        return min(RETRY_AFTER_S * 2.0 ** min(self._failed_times - 1, 10), _LONGEST_RETRY_S)

    def allow(self) -> None:
        """Let it be loaded although it was blocked: a client asks for it."""
        self._not_before = -math.inf

    def begin(self) -> None:
        """Begin to load it, unless it is loaded, being loaded, closed or blocked."""
        if self.blocked_s:
            return
        if self._ready is None and self._attempt is None and self._end is None:
            self._attempt = asyncio.create_task(self._load(), name=f"engine-load-{self.name}")

    def reload(self) -> None:
        """Load it again from its source. Calls are served by what is loaded until then, or if that fails.

        Where it is being loaded already, perhaps from older files, it is loaded once more after that.
        """
        self.allow()
        if self._attempt is not None:
            self._again = True
        elif self._end is None:
            self._attempt = asyncio.create_task(self._load(), name=f"engine-load-{self.name}")

    @asynccontextmanager
    async def ready(self) -> AsyncIterator[tuple[LoadedModel, Lane]]:
        """Wait until the model can score, and keep it in memory during the block.

        If the last load failed, its error is raised without waiting.

        Raises:
            EngineError: It cannot be loaded, or was closed.
        """
        if self._failure is not None and self._end is None:
            if self._clock() - self._failed_at >= RETRY_AFTER_S:
                self.begin()
            raise fresh(self._failure)
        with stages.stage("queue", "load") if self._ready is None else nullcontext():
            residence = await self.loaded()
        with residence.in_use():
            self._memory.changed()
            yield residence.model, residence.lane

    async def loaded(self) -> Residence:
        """Wait until the model can score. A load that failed before is tried again.

        Raises:
            EngineError: It cannot be loaded, or was closed.
        """
        while self._ready is None:
            self.begin()
            if self._attempt is None:
                raise self._error()
            # Unlike awaiting the task, this can be cancelled without cancelling the load.
            await asyncio.wait([self._attempt])
            if self._failure is not None:
                raise self._error()
        return self._ready

    def check_open(self) -> None:
        """Refuse to go on with a model that was closed.

        Raises:
            EngineError: It was.
        """
        if self._end is not None:
            raise fresh(self._end)

    def unload_if_idle(self, idle_s: float) -> None:
        """Unload the model if it has been idle for `idle_s` and nothing keeps it."""
        if self._ready is None or self._calls or self.kept_loaded or self._clock() - self._last_used < idle_s:
            return
        self._unload()
        _log.info(
            "model [%s] was unloaded: no call used it for %.0f s",
            self.name,
            idle_s,
            extra=event("model-unloaded", "process", model=self.name),
        )

    def evict(self) -> None:
        """Unload the model to make room for another. Calls under way are finished with it."""
        self._unload()
        _log.info(
            "model [%s] was unloaded: another one needs its memory (engine.model_memory)",
            self.name,
            extra=event("model-unloaded", "process", model=self.name),
        )

    def close(self, error: EngineError) -> None:
        """Unload it for good. Calls that wait for it get the error; what runs is not waited for."""
        self._end = error
        self._memory.changed()
        if self._attempt is not None:
            self._attempt.cancel()
            self._attempt = None
        if self._ready is not None:
            self._scheduler.abandon(error, self._ready.lane)
            self._ready.leave()
            self._ready = None

    def close_hung(self, reason: str) -> None:
        """Close a model that never returns, and give the reason as its failure from now on."""
        self.close(InferenceError(reason))
        self._block(LoadBlock(reason, None))

    def _error(self) -> EngineError:
        error = self._end or self._failure
        assert error is not None
        return fresh(error)

    def _block(self, block: LoadBlock) -> None:
        self._failure, self._failed_at = ModelFailedError(block.reason), self._clock()
        self._not_before = self._failed_at + (math.inf if block.retry_in_s is None else block.retry_in_s)
        self._metrics.models.failed(self.name)

    @property
    def _detail(self) -> str:
        assert self._ready is not None
        info = self._ready.model.info
        what = "{kind} {architecture} on {device} in {precision}, {max_length} tokens; ".format_map(info)
        return f"{what}loaded in {self._load_s:.1f} s from [{self._settings.source}]"

    def _reservations_changed(self) -> None:
        self._last_used = self._clock()
        if self._ready is not None:
            self._ready.lane.threads = self._reservations.threads
        if self._reservations.keep_loaded:
            self.begin()
        self._memory.changed()

    def _unload(self) -> None:
        assert self._ready is not None
        self._ready.leave()
        self._ready = None
        self._metrics.not_loaded(self.name)

    async def _load(self) -> None:
        shares: list[Share] = []

        async def take_memory(size_bytes: int) -> None:
            shares.append(await self._memory.take(self, size_bytes, lambda: self._end is None))

        try:
            warm = await self._loader.load(self.name, self._settings, take_memory)
            self._loaded(warm, shares.pop())
        except ModelFailedError as failure:
            self._load_failed(failure)
        finally:
            for share in shares:
                share.give_back()
            self._attempt = None
            self._memory.changed()
        if self._again:
            self._again = False
            self.reload()

    def _load_failed(self, failure: ModelFailedError) -> None:
        cause = failure.__cause__ or None
        fields = event("model-failed", "process", failed=True, model=self.name)
        if self._ready is not None:
            _log.error(
                "model [%s] stays as it is: it cannot be loaded again: %s",
                self.name,
                failure,
                exc_info=cause,
                extra=fields,
            )
            return
        self._failure, self._failed_at = failure, self._clock()
        self._failed_times += 1
        self._metrics.models.failed(self.name)
        _log.error("model [%s] cannot be loaded: %s", self.name, failure, exc_info=cause, extra=fields)
        self._on_failed()

    def _loaded(self, warm: WarmModel, share: Share) -> None:
        model = warm.model
        lane = Lane(
            self.name,
            model.backend,
            model.budget_tokens,
            self._reservations.threads,
            warm.pace_s,
            model.info["precision"],
            copies=model.copies,
        )
        if model.memory_bytes is not None:
            share.settle(model.memory_bytes)
        earlier, self._ready = self._ready, Residence(model, lane, share, lambda: self._gone(lane))
        self._failure, self._failed_times = None, 0
        self._load_s = warm.load_s
        self._last_used = self._clock()
        if earlier is not None:
            earlier.leave()
        self._metrics.calls.watch_queue(
            self.name,
            lambda: self._scheduler.queued_tokens.get(lane, 0),
            lambda: self._scheduler.queued_rows.get(lane, 0),
        )
        self._metrics.models.loaded(self.name, model.info, warm.load_s, share.size_bytes)
        fields = event("model-loaded", "process", model=self.name)
        _log.info("model [%s] is ready: %s", self.name, self._detail, extra=fields)
        self._on_ready()

    def _gone(self, lane: Lane) -> None:
        self._scheduler.forget(lane)
        self._on_gone()
