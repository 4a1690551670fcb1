"""Models on this machine, by name: load them when they are wanted, score with them."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from prometheus_client import CollectorRegistry

from proxy.settings import EngineSettings, ModelSettings
from proxy.steps import Steps
from proxy.turns import ClosedError, Turns

from .batch import Row
from .cache import Output, OutputCache
from .cpu import sleep_while_waiting
from .demand import Demand
from .errors import DeadlineExceededError, EngineClosedError, EngineError, QueueFullError, UnknownModelError
from .loader import Loader
from .metrics import EngineMetrics
from .model import Model, ModelStatus
from .runner import Runner
from .scheduler import Lane, Request, Scheduler
from .texts import Call, TextMemory
from .threads import DeviceThreads

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


class Engine:
    """Models on one device. Belongs to the event loop that starts it.

    Args:
        models: By the name under which `rerank` knows them. Those with `preload` are loaded by `start` and
            stay so; all others as endpoints and calls need them.
        registry: Where the metrics go.
        clock: In seconds. Tells how long nobody has called a model.
    """

    def __init__(
        self,
        models: Mapping[str, ModelSettings],
        settings: EngineSettings,
        registry: CollectorRegistry | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._clock = clock
        self._metrics = EngineMetrics(registry)
        self._cache = OutputCache(settings.cache_entries)
        self._scheduler = Scheduler(settings.queue_tokens)
        self._runner = Runner(
            self._scheduler, self._cache, self._metrics, DeviceThreads(settings.threads).use
        )
        self._loader = Loader(settings, self._runner)
        self._texts = TextMemory(settings.queue_bytes)
        self._tokenizing = Turns(_TOKENIZING_THREADS, "engine-tokenize")
        self._models = {name: self._model(name, each, pinned=each.preload) for name, each in models.items()}
        self._idle_timer: asyncio.TimerHandle | None = None
        self._freeing: set[asyncio.Task[None]] = set()
        self._closed = False

    async def start(self) -> None:
        """Begin to load what is to be loaded. Returns at once and never raises for a model: see `status`."""
        sleep_while_waiting()
        self._runner.start()
        for model in self._models.values():
            if model.kept_loaded:
                model.begin()
        self._check_for_idle_models()

    def status(self) -> Mapping[str, ModelStatus]:
        """Every model's state by name."""
        return {name: model.status for name, model in self._models.items()}

    def add(self, name: str, settings: ModelSettings) -> None:
        """Make a model known to a running engine. It is loaded when a call or a demand needs it.

        Raises:
            ValueError: There is a model of that name: `remove` it first.
            EngineClosedError: `close` was called.
        """
        self._check_open()
        if name in self._models:
            raise ValueError(f"there is a model [{name}] already")
        self._models[name] = self._model(name, settings, pinned=False)

    async def remove(self, name: str) -> None:
        """Forget a model, end its calls with `UnknownModelError`, and free its memory.

        Raises:
            UnknownModelError: No such model.
        """
        self._check_open()
        model = self._known(name)
        del self._models[name]
        await model.close(UnknownModelError(f"model [{name}] was removed"))
        if name not in self._models:  # It may have been added again meanwhile.
            self._metrics.forget(name)
        await self._loader.free()

    def demand(self, model: str, holder: str, demand: Demand) -> None:
        """Say what an endpoint wants of a model, in place of what it wanted before.

        With `keep_loaded` the model begins to load now, also where a load has failed. While no holder wants
        it kept, and the settings do not either, it is unloaded after `engine.idle_unload_s` without calls.

        Args:
            holder: Tells one demand from another, for example an inference id.

        Raises:
            UnknownModelError: No such model.
        """
        self._known(model).demand(holder, demand)

    def release(self, model: str, holder: str) -> None:
        """Take back a demand. Neither model nor demand has to be there."""
        if model in self._models:
            self._models[model].release(holder)

    async def wait_ready(self, model: str, deadline: float | None = None) -> None:
        """Load a model unless it is loaded, and wait for it. A load that has failed is tried again.

        Args:
            deadline: On the event loop's clock, in seconds; None for none.

        Raises:
            EngineError: As `rerank`.
        """
        known = self._known(model)
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
                return await self._rerank(known, query, texts)

    def unload_idle(self) -> None:
        """Unload the models that nobody needs. The engine does this by itself from time to time."""
        unloaded = [
            model for model in self._models.values() if model.unload_if_idle(self._settings.idle_unload_s)
        ]
        if unloaded:
            task = asyncio.create_task(self._loader.free())
            self._freeing.add(task)
            task.add_done_callback(self._freeing.discard)

    async def close(self) -> None:
        """End all calls with `EngineClosedError` and free the device."""
        self._closed = True
        if self._idle_timer is not None:
            self._idle_timer.cancel()
        error = EngineClosedError("the engine was closed")
        await asyncio.gather(*(model.close(error) for model in self._models.values()), *self._freeing)
        await self._runner.close()
        self._tokenizing.close()

    def _model(self, name: str, settings: ModelSettings, *, pinned: bool) -> Model:
        return Model(name, settings, self._loader, self._scheduler, self._metrics, self._clock, pinned=pinned)

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
        every_s = self._settings.idle_unload_s / _IDLE_CHECKS
        self._idle_timer = asyncio.get_running_loop().call_later(every_s, self._check_for_idle_models)

    def _check_open(self) -> None:
        if self._closed:
            raise EngineClosedError("the engine was closed")

    async def _rerank(self, model: Model, query: str, texts: Sequence[str]) -> Reranked:
        loaded, lane = await model.ready()
        if not texts:
            return Reranked((), 0, 0)
        scorer = loaded.scorer
        call = await self._in_turns(Call.of(scorer, query, texts, self._settings.text_characters))
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
        ending = _Ending()
        request = self._scheduler.open(lane, ending.end)
        try:
            own = {key: at for key, at in missing.items() if not self._scheduler.join(request, key)}
            encoded = await self._encode(lane, call, list(own.values())) if own else []
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

    async def _encode(self, lane: Lane, call: Call, wanted: Sequence[int]) -> list[Row]:
        started = time.perf_counter()
        rows = await self._in_turns(self._rows(call, wanted))
        self._metrics.tokenize_seconds.labels(lane.model).observe(time.perf_counter() - started)
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

    async def _in_turns(self, steps: Steps[_T]) -> _T:
        try:
            return await self._tokenizing.run(steps)
        except ClosedError:
            raise EngineClosedError("the engine was closed") from None


class _Ending:
    """How a request ended, for the task that waits for it."""

    def __init__(self) -> None:
        self._ended = asyncio.Event()
        self._error: EngineError | None = None

    def end(self, error: EngineError | None) -> None:
        self._error = error
        self._ended.set()

    async def wait(self) -> None:
        await self._ended.wait()
        if self._error is not None:
            raise self._error
