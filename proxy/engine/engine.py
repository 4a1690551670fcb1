"""Models on this machine, by name: load them in the background, score with them."""

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Final, TypeVar

from prometheus_client import CollectorRegistry

from proxy.settings import EngineSettings, ModelSettings

from .batch import Row
from .cache import Output, OutputCache
from .cpu import sleep_while_waiting
from .errors import DeadlineExceededError, EngineClosedError, EngineError, QueueFullError, UnknownModelError
from .metrics import EngineMetrics
from .model import Model, ModelStatus
from .runner import Runner
from .scheduler import Lane, Request, Scheduler
from .scoring import Scorer

_TOKENIZING_THREADS: Final = 2
"""The tokenizer itself spreads a call over the cores; a second call need not wait for a huge first one."""

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
    """All models of the settings on one device. Belongs to the event loop that starts it.

    Args:
        models: By the name under which `rerank` knows them.
        registry: Where the metrics go.
    """

    def __init__(
        self,
        models: Mapping[str, ModelSettings],
        settings: EngineSettings,
        registry: CollectorRegistry | None = None,
    ) -> None:
        self._settings = settings
        self._metrics = EngineMetrics(registry)
        self._cache = OutputCache(settings.cache_entries)
        self._scheduler = Scheduler(settings.queue_tokens)
        self._runner = Runner(self._scheduler, self._cache, self._metrics, self._set_threads)
        self._tokenizing = ThreadPoolExecutor(_TOKENIZING_THREADS, "engine-tokenize")
        self._models = {name: Model(name, each) for name, each in models.items()}
        self._loads: list[asyncio.Task[None]] = []
        self._closed = False

    async def start(self) -> None:
        """Begin to load every model. Returns at once and never raises for a model: see `status`."""
        sleep_while_waiting()
        self._runner.start()
        self._loads = [
            asyncio.create_task(model.load(self._settings, self._runner, self._scheduler, self._metrics))
            for model in self._models.values()
        ]

    def status(self) -> Mapping[str, ModelStatus]:
        """Every configured model's state by name."""
        return {name: model.status for name, model in self._models.items()}

    async def rerank(
        self, model: str, query: str, texts: Sequence[str], deadline: float | None = None
    ) -> Reranked:
        """Score every text against the query. Waits for a model that still loads.

        Args:
            model: A name of the settings.
            deadline: On the event loop's clock, in seconds; None for none.

        Raises:
            UnknownModelError: No such model.
            ModelFailedError: It could not be loaded.
            DeadlineExceededError: Not done in time.
            QueueFullError: Too much waits already.
            InferenceError: The model broke, or a score is not a finite number.
            EngineClosedError: `close` was called.
        """
        known = self._models.get(model)
        if known is None:
            names = ", ".join(sorted(self._models)) or "none"
            raise UnknownModelError(f"no model [{model}] is configured; known: {names}")
        try:
            async with asyncio.timeout_at(deadline) as timeout:
                return await self._rerank(known, query, texts)
        except TimeoutError:
            if not timeout.expired():
                raise
            doing = "still loading" if known.status.state == "loading" else "not done with the texts"
            raise DeadlineExceededError(f"model [{model}] was {doing} at the deadline") from None

    async def close(self) -> None:
        """End all calls with `EngineClosedError` and free the device."""
        self._closed = True
        for load in self._loads:
            load.cancel()
        await asyncio.gather(*self._loads, return_exceptions=True)
        for model in self._models.values():
            model.close()
        await self._runner.close()
        self._tokenizing.shutdown()

    async def _rerank(self, model: Model, query: str, texts: Sequence[str]) -> Reranked:
        loaded, lane = await model.ready()
        if not texts:
            return Reranked((), 0, 0)
        scorer = loaded.scorer
        call = await self._in_thread(lambda: _Call.of(scorer, query, texts))
        outputs = self._remembered(lane, call)
        cached = sum(key in outputs for key in call.text_keys)
        missing = {key: at for at, key in enumerate(call.keys) if key not in outputs}
        if missing:
            outputs |= await self._run(lane, call, missing)
        ordered = [outputs[key] for key in call.keys]
        query_cut = any(output.truncated for output in ordered[: scorer.texts_at])
        truncated = sum(query_cut or output.truncated for output in ordered[scorer.texts_at :])
        return Reranked(scorer.scores(ordered), cached, truncated)

    def _remembered(self, lane: Lane, call: "_Call") -> dict[bytes, Output]:
        found = {key: self._cache.get(key) for key in call.keys}
        outputs = {key: output for key, output in found.items() if output is not None}
        hits = sum(key in outputs for key in call.text_keys)
        self._metrics.cache_hits.labels(lane.model).inc(hits)
        self._metrics.cache_misses.labels(lane.model).inc(len(call.text_keys) - hits)
        return outputs

    async def _run(self, lane: Lane, call: "_Call", missing: Mapping[bytes, int]) -> dict[bytes, Output]:
        """Outputs of the inputs whose key and position are given, each run once whoever else wants it."""
        ending = _Ending()
        try:
            request = self._scheduler.open(lane, ending.end)
        except QueueFullError:
            self._metrics.rejected.labels(lane.model).inc()
            raise
        try:
            own = {key: at for key, at in missing.items() if not self._scheduler.join(request, key)}
            encoded = await self._encode(lane, call, list(own.values())) if own else []
            rows = dict(zip(own, encoded, strict=True))
            # Another call may have had them run while this one was tokenising.
            outputs = {key: output for key in rows if (output := self._cache.get(key)) is not None}
            self._submit(request, {key: row for key, row in rows.items() if key not in outputs})
            await ending.wait()
        finally:
            self._scheduler.cancel(request)
        return outputs | {key: job.output for key, job in request.jobs.items() if job.output is not None}

    def _submit(self, request: Request, rows: Mapping[bytes, Row]) -> None:
        if self._closed:
            raise EngineClosedError("the engine was closed")
        try:
            self._scheduler.submit(request, rows)
        except QueueFullError:
            self._metrics.rejected.labels(request.lane.model).inc()
            raise
        self._runner.wake()

    async def _encode(self, lane: Lane, call: "_Call", wanted: Sequence[int]) -> list[Row]:
        started = time.perf_counter()
        rows = await self._in_thread(lambda: call.scorer.encode(call.query, call.texts, wanted))
        self._metrics.tokenize_seconds.labels(lane.model).observe(time.perf_counter() - started)
        return rows

    async def _in_thread(self, work: Callable[[], _T]) -> _T:
        if self._closed:
            raise EngineClosedError("the engine was closed")
        return await asyncio.get_running_loop().run_in_executor(self._tokenizing, work)

    def _set_threads(self) -> None:
        # On the device's thread, before its first batch: torch is imported by then, or takes its time here.
        from .device import use_threads

        use_threads(self._settings.threads)


@dataclass(frozen=True, slots=True)
class _Call:
    """What one call wants to know."""

    scorer: Scorer
    query: str
    texts: list[str]
    keys: list[bytes]
    """One per input of the scorer."""

    @classmethod
    def of(cls, scorer: Scorer, query: str, texts: Sequence[str]) -> "_Call":
        query, clean = _encodable(query), [_encodable(text) for text in texts]
        return cls(scorer, query, clean, scorer.keys(query, clean))

    @property
    def text_keys(self) -> list[bytes]:
        return self.keys[self.scorer.texts_at :]


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


def _encodable(text: str) -> str:
    """Halves of surrogate pairs, which JSON can carry but no tokenizer takes, become U+FFFD."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
