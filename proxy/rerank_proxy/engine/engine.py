"""Models on this machine, by name: load them when they are wanted, score with them."""

import asyncio
import gc
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from prometheus_client import CollectorRegistry

from rerank_proxy.concurrency.steps import Steps
from rerank_proxy.concurrency.turns import ClosedError, Turns
from rerank_proxy.engine.batching.batch import Row
from rerank_proxy.engine.batching.cache import Output, OutputCache
from rerank_proxy.engine.batching.cpu import sleep_while_waiting
from rerank_proxy.engine.batching.metrics import EngineMetrics
from rerank_proxy.engine.batching.runner import Runner, failure
from rerank_proxy.engine.batching.scheduler import Lane, Request, Scheduler
from rerank_proxy.engine.batching.threads import DeviceThreads
from rerank_proxy.engine.batching.watchdog import Hang, Watchdog
from rerank_proxy.engine.demand import Demand
from rerank_proxy.engine.encoding.texts import Call, TextMemory
from rerank_proxy.engine.ending import Ending
from rerank_proxy.engine.errors import (
    DeadlineExceededError,
    EngineClosedError,
    EngineError,
    QueueFullError,
    UnknownModelError,
)
from rerank_proxy.engine.loading.journal import Journal, Trouble
from rerank_proxy.engine.loading.loader import Loader
from rerank_proxy.engine.model import Model, ModelStatus
from rerank_proxy.engine.portions import TEXTS_OF_A_PORTION, in_portions
from rerank_proxy.settings import EngineSettings, ModelSettings

_log = logging.getLogger(__name__)

_TOKENIZING_THREADS: Final = 2
"""The tokenizer itself spreads a piece over the cores; a second call need not wait for a huge first one."""

_IDLE_CHECKS: Final = 20
"""So many times in `engine.idle_unload_s` is looked for models that nobody calls."""

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Reranked:
    """The scores of one call."""

    scores: Sequence[float]
    """One raw relevance score per text in input order; each is exactly a float32."""
    cached: int
    """Texts whose result was remembered."""
    truncated: int
    """Texts that were cut, or whose query was."""

    @classmethod
    def joined(cls, parts: "Sequence[Reranked]") -> "Reranked":
        """Return the scores of the texts of all parts, one after the other."""
        scores = [score for part in parts for score in part.scores]
        return cls(scores, sum(part.cached for part in parts), sum(part.truncated for part in parts))


class Engine:
    """Models on one device. Belongs to the event loop that starts it.

    Args:
        models: By the name under which `rerank` knows them. Those with `preload` are loaded by `start` and
            stay so; all others as endpoints and calls need them.
        registry: Where the metrics go.
        clock: In seconds. Tells how long nobody has called a model.
        journal: A file for what is under way: an engine that is started after this one with the same file
            does not load what this one died of, or not at once.
        on_hang: Is called, with the reason, when something never returns. From then on no call succeeds, and
            only the end of the process helps.
    """

    def __init__(
        self,
        models: Mapping[str, ModelSettings],
        settings: EngineSettings,
        registry: CollectorRegistry | None = None,
        clock: Callable[[], float] = time.monotonic,
        journal: Path | None = None,
        on_hang: Callable[[str], None] = lambda reason: None,
    ) -> None:
        self._settings = settings
        self._on_hang = on_hang
        self._journal = Journal(journal)
        self._watchdog = Watchdog(settings, self._journal)
        self._clock = clock
        self._metrics = EngineMetrics(registry)
        self._cache = OutputCache(settings.cache_entries)
        self._scheduler = Scheduler(settings.queue_tokens)
        self._runner = Runner(
            self._scheduler, self._cache, self._metrics, self._watchdog, DeviceThreads(settings.threads).use
        )
        self._loader = Loader(settings, self._runner, self._watchdog)
        self._texts = TextMemory(settings.queue_bytes)
        self._tokenizing = Turns(_TOKENIZING_THREADS, "engine-tokenize")
        self._models = {
            name: self._model(name, each, self._trouble(name, trusted=True), pinned=each.preload)
            for name, each in models.items()
        }
        self._timers: dict[str, asyncio.TimerHandle] = {}
        self._hang: Hang | None = None
        self._over = asyncio.Event()
        self._freeing: set[asyncio.Task[None]] = set()
        self._closed = False

    async def start(self) -> None:
        """Begin to load what is to be loaded. Returns at once and never raises for a model: see `status`."""
        sleep_while_waiting()
        self._runner.start()
        for model in self._models.values():
            if model.kept_loaded:
                self._begin(model)
        self._check_for_idle_models()
        self._check_for_hangs()

    def status(self) -> Mapping[str, ModelStatus]:
        """Every model's state by name."""
        return {name: model.status for name, model in self._models.items()}

    @property
    def hangs(self) -> bool:
        """Whether something never returns, so that nothing can be scored any more."""
        return self._hang is not None

    def add(
        self,
        name: str,
        settings: ModelSettings,
        *,
        failed: str | None = None,
        on_ready: Callable[[], None] = lambda: None,
    ) -> str | None:
        """Make a model known to a running engine. It is loaded when a call or a demand needs it.

        Args:
            failed: Why it is not, until it is allowed: it had no end before.
            on_ready: Is called whenever it has been loaded.

        Returns:
            Why it is not loaded until it is allowed; None when it may be.

        Raises:
            ValueError: There is a model of that name: `remove` it first.
            EngineClosedError: `close` was called.
        """
        self._check_open()
        if name in self._models:
            raise ValueError(f"there is a model [{name}] already")
        trouble = self._trouble(name, trusted=False) if failed is None else Trouble(failed, None)
        self._models[name] = self._model(name, settings, trouble, pinned=False, on_ready=on_ready)
        return trouble.reason if trouble is not None and trouble.again_in_s is None else None

    def allow(self, name: str) -> None:
        """Let a model be loaded, although the process had to be ended because of it.

        Raises:
            UnknownModelError: No such model.
        """
        self._known(name).allow()
        self._journal.forgive(name)

    def remove(self, name: str) -> None:
        """Forget a model, and end its calls with `UnknownModelError`. Its memory is freed when it is idle.

        Raises:
            UnknownModelError: No such model.
        """
        self._check_open()
        model = self._known(name)
        del self._models[name]
        model.close(UnknownModelError(f"model [{name}] was removed"))
        self._journal.forgive(name)
        self._metrics.forget(name)
        self._free()

    def demand(self, model: str, holder: str, demand: Demand) -> None:
        """Say what an endpoint wants of a model, in place of what it wanted before.

        With `keep_loaded` the model begins to load now, also where a load has failed. While no holder wants
        it kept, and the settings do not either, it is unloaded after `engine.idle_unload_s` without calls.

        Args:
            holder: Tells one demand from another, for example an inference id.

        Raises:
            UnknownModelError: No such model.
        """
        known = self._known(model)
        known.demand(holder, demand)
        if demand.keep_loaded:
            self._begin(known)

    def release(self, model: str, holder: str) -> None:
        """Take back a demand. Neither model nor demand has to be there."""
        if model in self._models:
            self._models[model].release(holder)

    async def wait_ready(self, model: str, deadline: float | None = None) -> None:
        """Load a model unless it is loaded, and wait for it. A load that has failed is tried again, and one
        that is not allowed is allowed.

        Args:
            deadline: On the event loop's clock, in seconds; None for none.

        Raises:
            EngineError: As `rerank`.
        """
        known = self._known(model)
        self.allow(model)
        with known.in_use():
            async with self._in_time(known, deadline):
                await known.loaded()

    async def rerank(
        self, model: str, query: str, texts: Sequence[str], deadline: float | None = None
    ) -> Reranked:
        """Score every text against the query. Waits for a model that still loads.

        Args:
            model: A name of the settings, or one that was added.
            deadline: On the event loop's clock, in seconds; None for none.

        Raises:
            UnknownModelError: No such model, or it was removed meanwhile.
            ModelFailedError: It could not be loaded.
            DeadlineExceededError: Not done in time.
            QueueFullError: Too much waits already.
            InputTooLargeError: The texts are too long for a model whose truncation forbids to cut them.
            InferenceError: The model broke, or a score is not a finite number.
            EngineClosedError: `close` was called.
        """
        known = self._known(model)
        with known.in_use(), self._rejections_counted(model), self._texts.holding(query, texts):
            async with self._in_time(known, deadline):
                if len(texts) <= TEXTS_OF_A_PORTION:
                    return await self._rerank(known, query, texts)
                parts = await in_portions(texts, lambda portion: self._rerank(known, query, portion))
        return Reranked.joined(parts)

    def unload_idle(self) -> None:
        """Unload the models that nobody needs. The engine does this by itself from time to time."""
        unloaded = [
            model for model in self._models.values() if model.unload_if_idle(self._settings.idle_unload_s)
        ]
        if unloaded:
            self._free()

    async def close(self) -> None:
        """End all calls with `EngineClosedError` and free the device. Does not wait for what has no end."""
        self._closed = True
        for timer in self._timers.values():
            timer.cancel()
        error = EngineClosedError("the engine was closed")
        for model in self._models.values():
            model.close(error)
        self._over.set()
        await self._runner.close()
        for task in self._freeing:
            task.cancel()
        self._tokenizing.close()
        self._journal.close()
        gc.unfreeze()  # what was loaded may go, and has to before the process can end in good order

    def _model(
        self,
        name: str,
        settings: ModelSettings,
        trouble: Trouble | None,
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
            self._clock,
            pinned=pinned,
            trouble=trouble,
            on_ready=on_ready,
        )

    def _trouble(self, name: str, *, trusted: bool) -> Trouble | None:
        """What stands against loading a model, in words for people."""
        trouble = self._journal.trouble(name, trusted=trusted)
        if trouble is None:
            return None
        if trouble.again_in_s is not None:
            then = f"it is tried again {trouble.again_in_s:.0f} s after that"
        elif trusted:
            then = "it is not tried again before the proxy is started again"
        else:
            then = "it is not loaded again before a client starts it"
        return Trouble(f"{trouble.reason}; {then}", trouble.again_in_s)

    def _begin(self, model: Model) -> None:
        """Begin to load it, later if it is to wait."""
        wait_s = model.blocked_s
        if 0 < wait_s < float("inf"):
            self._later(f"load {model.name}", wait_s, lambda: self._begin(model))
        model.begin()

    def _free(self) -> None:
        task = asyncio.create_task(self._loader.free())
        self._freeing.add(task)
        task.add_done_callback(self._freeing.discard)

    def _later(self, name: str, seconds: float, action: Callable[[], None]) -> None:
        before = self._timers.get(name)
        if before is not None:
            before.cancel()
        self._timers[name] = asyncio.get_running_loop().call_later(seconds, action)

    def _check_for_hangs(self) -> None:
        hang = self._watchdog.check()
        if hang is None:
            self._later("hangs", self._watchdog.every_s, self._check_for_hangs)
        else:
            self._end(hang)

    def _end(self, hang: Hang) -> None:
        """Say to everyone that nothing will be scored any more."""
        self._hang = hang
        told = f"model [{hang.model}] failed: {hang.reason}"
        _log.critical("%s", told)
        if hang.model in self._models:
            self._models[hang.model].hangs(hang.reason)
        restart = EngineClosedError(f"the reranking process is started again, because {told}")
        for name, model in self._models.items():
            if name != hang.model:
                model.close(restart)
        self._scheduler.abandon(restart)
        self._over.set()
        self._on_hang(told)

    def _known(self, name: str) -> Model:
        model = self._models.get(name)
        if model is None:
            names = ", ".join(sorted(self._models)) or "none"
            raise UnknownModelError(f"no model [{name}] is configured; known: {names}")
        return model

    @asynccontextmanager
    async def _in_time(self, model: Model, deadline: float | None) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout_at(deadline) as timeout:
                yield
        except TimeoutError:
            if not timeout.expired():
                raise
            doing = "still loading" if model.status.state == "loading" else "not done with the texts"
            raise DeadlineExceededError(f"model [{model.name}] was {doing} at the deadline") from None

    @contextmanager
    def _rejections_counted(self, model: str) -> Iterator[None]:
        try:
            yield
        except QueueFullError:
            self._metrics.rejected.labels(model).inc()
            raise

    def _check_for_idle_models(self) -> None:
        self.unload_idle()
        self._later("idle", self._settings.idle_unload_s / _IDLE_CHECKS, self._check_for_idle_models)

    def _check_open(self) -> None:
        if self._closed:
            raise EngineClosedError("the engine was closed")

    async def _rerank(self, model: Model, query: str, texts: Sequence[str]) -> Reranked:
        loaded, lane = await model.ready()
        if not texts:
            return Reranked((), 0, 0)
        scorer = loaded.scorer
        call = await self._in_turns(model, Call.of(scorer, query, texts, self._settings.text_characters))
        outputs = self._remembered(lane, call)
        cached = sum(key in outputs for key in call.text_keys)
        missing = {key: at for at, key in enumerate(call.keys) if key not in outputs}
        if missing:
            outputs |= await self._run(model, lane, call, missing)
        ordered = [outputs[key] for key in call.keys]
        query_cut = any(output.truncated for output in ordered[: scorer.texts_at])
        truncated = sum(query_cut or output.truncated for output in ordered[scorer.texts_at :])
        return Reranked(scorer.scores(ordered), cached, max(truncated, call.cut))

    def _remembered(self, lane: Lane, call: Call) -> dict[bytes, Output]:
        found = {key: self._cache.get(key) for key in call.keys}
        outputs = {key: output for key, output in found.items() if output is not None}
        hits = sum(key in outputs for key in call.text_keys)
        self._metrics.cache_hits.labels(lane.model).inc(hits)
        self._metrics.cache_misses.labels(lane.model).inc(len(call.text_keys) - hits)
        return outputs

    async def _run(
        self, model: Model, lane: Lane, call: Call, missing: Mapping[bytes, int]
    ) -> dict[bytes, Output]:
        """Outputs of the inputs whose key and position are given, each run once whoever else wants it."""
        ending = Ending()
        request = self._scheduler.open(lane, ending.end)
        try:
            own = {key: at for key, at in missing.items() if not self._scheduler.join(request, key)}
            encoded = await self._encode(model, call, list(own.values())) if own else []
            rows = dict(zip(own, encoded, strict=True))
            # Another call may have had them run while this one was tokenising.
            outputs = {key: output for key in rows if (output := self._cache.get(key)) is not None}
            model.check_open()  # `close` knows what was submitted, and not what was being tokenised.
            self._submit(request, {key: row for key, row in rows.items() if key not in outputs})
            await ending.wait()
        finally:
            self._scheduler.cancel(request)
        return outputs | {key: job.output for key, job in request.jobs.items() if job.output is not None}

    def _submit(self, request: Request, rows: Mapping[bytes, Row]) -> None:
        self._check_open()
        self._scheduler.submit(request, rows)
        self._runner.wake()

    async def _encode(self, model: Model, call: Call, wanted: Sequence[int]) -> list[Row]:
        started = time.perf_counter()
        rows = await self._in_turns(model, self._rows(call, wanted))
        self._metrics.tokenize_seconds.labels(model.name).observe(time.perf_counter() - started)
        return rows

    def _rows(self, call: Call, wanted: Sequence[int]) -> Steps[list[Row]]:
        """The rows of the wanted inputs. No more are made than the queue can ever take."""
        rows: list[Row] = []
        tokens = 0
        for piece in call.scorer.encode(call.query, call.texts, wanted):
            rows += piece
            tokens += sum(map(len, piece))
            self._scheduler.check_size(tokens)
            yield
        return rows

    async def _in_turns(self, model: Model, steps: Steps[_T]) -> _T:
        """Do work on texts in turn with other calls, until the engine is over."""
        self._check_open()
        done = asyncio.ensure_future(self._tokenizing.run(self._watched(model, steps)))
        over = asyncio.ensure_future(self._over.wait())
        either: tuple[asyncio.Future[Any], ...] = (done, over)
        try:
            await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
            if over.done():
                model.check_open()
            return await done
        except ClosedError:
            raise EngineClosedError("the engine was closed") from None
        finally:
            for each in either:
                each.cancel()

    def _watched(self, model: Model, steps: Steps[_T]) -> Steps[_T]:
        """The same steps, each of which is ended by the watchdog if it has no end itself."""
        while True:
            try:
                with self._watchdog.tokenising(model.name):
                    next(steps)
            except StopIteration as end:
                result: _T = end.value
                return result
            except EngineError:
                raise
            except BaseException as error:  # Tokenizers fail in their own ways; those in Rust may panic.
                _log.exception("model [%s]: the texts of a call cannot be tokenised", model.name)
                raise failure(error) from None
            yield
