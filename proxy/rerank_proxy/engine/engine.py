"""The engine as its callers see it: models by name, and their scores."""

import asyncio
import gc
import logging
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

from prometheus_client import CollectorRegistry

from rerank_proxy.concurrency.timers import Timers
from rerank_proxy.engine.backends.cpu import DeviceThreads, count_workers, sleep_while_waiting, usable_cores
from rerank_proxy.engine.batching.cache import OutputCache
from rerank_proxy.engine.batching.places import Places
from rerank_proxy.engine.batching.runner import Runner, WorkerStatus
from rerank_proxy.engine.batching.scheduler import Scheduler
from rerank_proxy.engine.batching.worker import ThreadWorker
from rerank_proxy.engine.cache_scope import Namespaces
from rerank_proxy.engine.encoding.tokenizing import TokenizingThreads
from rerank_proxy.engine.errors import DeadlineExceededError, EngineClosedError
from rerank_proxy.engine.hangs.journal import Journal
from rerank_proxy.engine.hangs.watchdog import Hang, Watchdog
from rerank_proxy.engine.loading.loader import Loader
from rerank_proxy.engine.metrics import EngineMetrics
from rerank_proxy.engine.model import Model, ModelStatus
from rerank_proxy.engine.model_memory import ModelMemory
from rerank_proxy.engine.models import Models
from rerank_proxy.engine.reservations import Reservation
from rerank_proxy.engine.scoring import Scores, Scoring
from rerank_proxy.engine.shared_cache.opening import open_shared_cache
from rerank_proxy.settings import EngineSettings, ModelSettings
from rerank_proxy.settings.sections.shared_cache import SharedCacheSettings

_log = logging.getLogger(__name__)


class EngineLoad(NamedTuple):
    """What an engine has to do, and what it remembers."""

    queued_texts: int
    queued_tokens: int
    cache_entries: int
    cache_bytes: int


class Engine:
    """Models on one device. Belongs to the event loop that starts it.

    Args:
        models: By the name under which `scores` knows them. Those with `preload` are loaded by `start` and
            stay loaded; all others as endpoints and calls need them.
        registry: Where the metrics go.
        clock: In seconds. Tells how long no call has used a model.
        journal: A file for what is under way: an engine that is started after this one with the same file
            does not load, or not immediately, the model that took this one down.
        on_hang: Called with the reason when something never returns. From then on no call succeeds, and only
            the end of the process helps.
        caller: Returns a digest of the credentials of the current call's caller, for `cache_scope: caller`
            and `queue_share`.
    """

    def __init__(
        self,
        models: Mapping[str, ModelSettings],
        settings: EngineSettings,
        registry: CollectorRegistry | None = None,
        clock: Callable[[], float] = time.monotonic,
        journal: Path | None = None,
        on_hang: Callable[[str], None] = lambda reason: None,
        caller: Callable[[], bytes] = lambda: b"",
    ) -> None:
        self._on_hang = on_hang
        self._hang: Hang | None = None
        self._hang_checks = Timers()
        self._journal = Journal(journal)
        self._watchdog = Watchdog(settings, self._journal)
        metrics = EngineMetrics(registry)
        cache, shared_cache = _caches(settings, metrics)
        self._cache = cache
        self._shared = open_shared_cache(shared_cache, cache.put, metrics, registry)
        self._scheduler, self._runner = _device(settings, cache, metrics, self._watchdog)
        self._tokenizing = TokenizingThreads(self._watchdog)
        spaces = Namespaces(settings.cache_scope, caller)
        self._scoring = Scoring(
            settings,
            cache,
            self._scheduler,
            self._runner,
            self._tokenizing,
            metrics,
            spaces,
            caller,
            self._shared,
        )
        loader = Loader(settings, self._runner.on_device, self._watchdog)
        memory = ModelMemory(settings.model_memory)
        self._models = Models(
            loader, self._scheduler, metrics, self._journal, memory, settings.idle_unload_s, clock
        )
        for name, each in models.items():
            self._models.configure(name, each)

    async def start(self) -> None:
        """Begin to load the models that are kept loaded. Does not wait or raise for them: see `status`."""
        sleep_while_waiting()
        self._runner.start()
        if self._shared is not None:
            self._shared.start()
        self._models.start()
        self._check_for_hangs()

    def status(self) -> Mapping[str, ModelStatus]:
        """Return every model's state by name."""
        return self._models.status()

    @property
    def hangs(self) -> bool:
        """Return whether something never returns, so that nothing can be scored any more."""
        return self._hang is not None

    @property
    def workers(self) -> WorkerStatus:
        """Return how many workers there are, and how many are missing: lost, and not yet replaced."""
        return self._runner.workers

    @property
    def load(self) -> EngineLoad:
        """Return what waits for the workers, and what is remembered."""
        return EngineLoad(
            sum(self._scheduler.queued_rows.values()),
            sum(self._scheduler.queued_tokens.values()),
            len(self._cache),
            self._cache.size_bytes,
        )

    def add(
        self,
        name: str,
        settings: ModelSettings,
        *,
        failed: str | None = None,
        on_ready: Callable[[], None] = lambda: None,
    ) -> str | None:
        """Add a model to a running engine. It is loaded when a call or a reservation needs it.

        Args:
            failed: Why it is not to be loaded until it is allowed: it never returned before.
            on_ready: Called whenever it has been loaded.

        Returns:
            Why it is not loaded until it is allowed; None when it may be.

        Raises:
            ValueError: There is a model of that name: `remove` it first.
            EngineClosedError: `close` was called.
        """
        return self._models.add(name, settings, failed, on_ready)

    def allow(self, name: str) -> None:
        """Let a model be loaded although the process had to be ended because of it.

        Raises:
            UnknownModelError: No such model.
        """
        self._models.allow(name)

    def remove(self, name: str) -> None:
        """Remove a model, and end its calls with `UnknownModelError`. Its memory is freed when it is idle.

        Raises:
            UnknownModelError: No such model.
        """
        self._models.remove(name)

    def reserve(self, model: str, holder: str, reservation: Reservation) -> None:
        """Take an endpoint's or a deployment's reservation of a model, in place of its earlier one.

        With `keep_loaded` the model begins to load now, even if a load has failed. While no reservation and
        no setting keeps it, it is unloaded after `engine.idle_unload_s` without calls.

        Args:
            holder: Tells one reservation from another, for example an inference id.

        Raises:
            UnknownModelError: No such model.
        """
        self._models.reserve(model, holder, reservation)

    def release(self, model: str, holder: str) -> None:
        """Remove a reservation. Neither model nor reservation has to be there."""
        self._models.release(model, holder)

    async def wait_ready(self, model: str, deadline: float | None = None) -> None:
        """Wait until a model is loaded. A load that failed is tried again, and a blocked model is allowed.

        Args:
            deadline: On the event loop's clock, in seconds; None for none.

        Raises:
            EngineError: As `scores`.
        """
        known = self._models.get(model)
        self._models.allow(model)
        with known.in_use():
            async with _in_time(known, deadline):
                await known.loaded()

    async def scores(
        self,
        model: str,
        query: str,
        texts: Sequence[str],
        deadline: float | None = None,
        *,
        instruction: str | None = None,
    ) -> Scores:
        """Score every text against the query. Waits for a model that is still loading.

        Args:
            model: A name of the settings, or one that was added.
            deadline: On the event loop's clock, in seconds; None for none.
            instruction: What the model is told to do, for one whose format has a place for that; None: what
                its settings or its files say.

        Raises:
            UnknownModelError: No such model, or it was removed meanwhile.
            ModelFailedError: It could not be loaded.
            DeadlineExceededError: Not done in time.
            QueueFullError: Too much already waits.
            DeadlineUnreachableError: It cannot be done in time, which is told before the time has passed.
            InputTooLargeError: The texts are too long for a model whose truncation forbids cutting them.
            NoInstructionError: The model takes no instruction, or not such a long one.
            InferenceError: The model failed, or a score is not a finite number.
            EngineClosedError: `close` was called.
        """
        known = self._models.get(model)
        with known.in_use():
            async with _in_time(known, deadline):
                return await self._scoring.scores(known, query, texts, instruction, deadline)

    def unload_idle(self) -> None:
        """Unload the models that no call uses and nothing keeps. The engine does so from time to time."""
        self._models.unload_idle()

    def reload(self) -> None:
        """Load all models again from their sources. What is loaded serves until its successor is."""
        self._models.reload()

    async def close(self) -> None:
        """End all calls with `EngineClosedError`, free the device. Does not wait for what never returns."""
        self._hang_checks.cancel()
        await self._models.close(EngineClosedError("the engine was closed"))
        self._tokenizing.close()
        await self._runner.close()
        if self._shared is not None:
            await self._shared.close()
        self._journal.close()
        gc.unfreeze()  # What was loaded may go, and has to before the process can end in good order.

    def _check_for_hangs(self) -> None:
        hang = self._watchdog.check()
        if hang is None:
            self._hang_checks.start("hangs", self._watchdog.every_s, self._check_for_hangs)
        else:
            self._end(hang)

    def _end(self, hang: Hang) -> None:
        """End all calls: nothing can be scored any more."""
        self._hang = hang
        reason = f"model [{hang.model}] failed: {hang.reason}"
        _log.critical("%s", reason)
        restart = EngineClosedError(f"the reranking process is started again, because {reason}")
        self._models.close_hung(hang.model, hang.reason, restart)
        self._scheduler.abandon(restart)
        self._tokenizing.close()
        self._on_hang(reason)


def _now() -> float:
    """Return the time on the event loop's clock, to which deadlines refer."""
    return asyncio.get_running_loop().time()


@asynccontextmanager
async def _in_time(model: Model, deadline: float | None) -> AsyncIterator[None]:
    try:
        async with asyncio.timeout_at(deadline) as timeout:
            yield
    except TimeoutError:
        if not timeout.expired():
            raise
        doing = "still loading" if model.status.state == "loading" else "not done with the texts"
        raise DeadlineExceededError(f"model [{model.name}] was {doing} at the deadline") from None


def _device(
    settings: EngineSettings, cache: OutputCache, metrics: EngineMetrics, watchdog: Watchdog
) -> tuple[Scheduler, Runner]:
    """Return what decides which texts run next, and what runs them."""
    threads = settings.threads or usable_cores()
    places = Places(count_workers(settings.workers, threads), threads)
    scheduler = Scheduler(settings.queue_tokens, _now, len(places), settings.queue_share)
    runner = Runner(
        scheduler,
        cache,
        metrics,
        places,
        lambda place: ThreadWorker(place, metrics, watchdog, threads, DeviceThreads(threads).use),
    )
    return scheduler, runner


def _caches(settings: EngineSettings, metrics: EngineMetrics) -> tuple[OutputCache, SharedCacheSettings]:
    """Return the cache of this process and the settings of the shared one: neither keeps anything where
    nothing may be remembered.
    """
    if settings.cache_scope == "none":
        return OutputCache(0), SharedCacheSettings()
    cache = OutputCache(settings.cache_bytes, metrics.cache.evictions.inc)
    metrics.cache.watch(lambda: cache.size_bytes, lambda: len(cache))
    return cache, settings.shared_cache
