"""Score the texts of calls: take remembered outputs, share what other calls have under way, run the rest."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final, TypeVar

from rerank_proxy.concurrency.steps import Steps, run_at_once
from rerank_proxy.concurrency.tasks import side_by_side
from rerank_proxy.engine.batching.cache import OutputCache
from rerank_proxy.engine.batching.jobs import Lane, ScoringRequest
from rerank_proxy.engine.batching.runner import Runner
from rerank_proxy.engine.batching.scheduler import Scheduler
from rerank_proxy.engine.encoding.inputs import Inputs
from rerank_proxy.engine.encoding.tokenizing import TokenizingThreads
from rerank_proxy.engine.errors import EngineClosedError, EngineError, QueueFullError
from rerank_proxy.engine.metrics import EngineMetrics
from rerank_proxy.engine.model import Model
from rerank_proxy.engine.rows import Output, Row
from rerank_proxy.engine.text_memory import TextMemory
from rerank_proxy.settings import EngineSettings

_T = TypeVar("_T")

TEXTS_OF_A_PORTION: Final = 2048
"""The event loop spends some 20 ms on so many texts; the window of a search has fewer."""

_FEW_TEXTS: Final = 256
_FEW_CHARACTERS: Final = 100_000
"""Their keys take the event loop half a millisecond at most, and usually a tenth of that."""

_PORTIONS_UNDER_WAY: Final = 2
"""While one is scored the next is tokenised."""


@dataclass(frozen=True, slots=True)
class Scores:
    """Raw relevance scores of texts.

    Attributes:
        values: One per text, in input order; each is exactly a float32.
        cached: Texts whose score was remembered.
        truncated: Texts that were cut to the model's limit, or whose query was, as far as that is known.
    """

    values: Sequence[float]
    cached: int = 0
    truncated: int = 0


class Scoring:
    """Scores texts with any model, over one cache, one queue, and the threads that tokenise."""

    def __init__(
        self,
        settings: EngineSettings,
        cache: OutputCache,
        scheduler: Scheduler,
        runner: Runner,
        tokenizing: TokenizingThreads,
        metrics: EngineMetrics,
    ) -> None:
        self._text_characters = settings.text_characters
        self._memory = TextMemory(settings.queue_bytes)
        self._cache = cache
        self._scheduler = scheduler
        self._runner = runner
        self._tokenizing = tokenizing
        self._metrics = metrics

    async def scores(self, model: Model, query: str, texts: Sequence[str]) -> Scores:
        """Score every text against the query. Very many texts are scored in portions.

        Raises:
            EngineError: As `Engine.scores`, but for the deadline.
        """
        with self._rejections_counted(model.name), self._memory.holding(query, texts):
            if len(texts) <= TEXTS_OF_A_PORTION:
                return await self._score(model, query, texts)
            return _joined(await _in_portions(texts, lambda part: self._score(model, query, part)))

    async def _score(self, model: Model, query: str, texts: Sequence[str]) -> Scores:
        loaded, lane = await model.ready()
        if not texts:
            return Scores((), 0, 0)
        scorer = loaded.scorer
        inputs = await self._prepared(model, Inputs.of(scorer, query, texts, self._text_characters), texts)
        outputs = self._remembered(lane, inputs)
        cached = sum(key in outputs for key in inputs.text_keys)
        missing = {key: at for at, key in enumerate(inputs.keys) if key not in outputs}
        if missing:
            outputs |= await self._run(model, lane, inputs, missing)
        ordered = [outputs[key] for key in inputs.keys]
        query_cut = any(output.truncated for output in ordered[: scorer.texts_at])
        truncated = sum(query_cut or output.truncated for output in ordered[scorer.texts_at :])
        return Scores(scorer.scores(ordered), cached, max(truncated, inputs.cut))

    async def _prepared(self, model: Model, steps: Steps[Inputs], texts: Sequence[str]) -> Inputs:
        """Prepare inputs, few ones at once: if they are remembered, their scores need no other thread."""
        if len(texts) <= _FEW_TEXTS and sum(map(len, texts)) <= _FEW_CHARACTERS:
            await asyncio.sleep(0)  # Calls one after the other must not keep the event loop to themselves.
            return run_at_once(steps)
        return await self._tokenised(model, steps)

    def _remembered(self, lane: Lane, inputs: Inputs) -> dict[bytes, Output]:
        found = {key: self._cache.get(key) for key in inputs.keys}
        outputs = {key: output for key, output in found.items() if output is not None}
        hits = sum(key in outputs for key in inputs.text_keys)
        self._metrics.cache_hits.labels(lane.model).inc(hits)
        self._metrics.cache_misses.labels(lane.model).inc(len(inputs.text_keys) - hits)
        return outputs

    async def _run(
        self, model: Model, lane: Lane, inputs: Inputs, missing: Mapping[bytes, int]
    ) -> dict[bytes, Output]:
        """Return the outputs of the inputs at the given positions, by key. Each runs once for all calls."""
        ending = _Ending()
        request = self._scheduler.open(lane, ending.end)
        try:
            own = {key: at for key, at in missing.items() if not self._scheduler.join(request, key)}
            encoded = await self._encode(model, inputs, list(own.values())) if own else []
            rows = dict(zip(own, encoded, strict=True))
            # Another call may have had them run while this one was tokenising.
            outputs = {key: output for key in rows if (output := self._cache.get(key)) is not None}
            model.check_open()  # Closing ends what was submitted, not what was being tokenised.
            self._submit(request, {key: row for key, row in rows.items() if key not in outputs})
            await ending.wait()
        finally:
            self._scheduler.cancel(request)
        return outputs | {key: job.output for key, job in request.jobs.items() if job.output is not None}

    def _submit(self, request: ScoringRequest, rows: Mapping[bytes, Row]) -> None:
        self._scheduler.submit(request, rows)
        self._runner.wake()

    async def _encode(self, model: Model, inputs: Inputs, positions: Sequence[int]) -> list[Row]:
        started = time.perf_counter()
        rows = await self._tokenised(model, self._rows(inputs, positions))
        self._metrics.tokenize_seconds.labels(model.name).observe(time.perf_counter() - started)
        return rows

    def _rows(self, inputs: Inputs, positions: Sequence[int]) -> Steps[list[Row]]:
        """Return the rows of the inputs at these positions. Stop where the queue could never take them."""
        rows: list[Row] = []
        tokens = 0
        for piece in inputs.scorer.encode(inputs.query, inputs.texts, positions):
            rows += piece
            tokens += sum(map(len, piece))
            self._scheduler.check_size(tokens)
            yield
        return rows

    async def _tokenised(self, model: Model, steps: Steps[_T]) -> _T:
        try:
            return await self._tokenizing.run(model.name, steps)
        except EngineClosedError:
            model.check_open()  # whose error says more
            raise

    @contextmanager
    def _rejections_counted(self, model: str) -> Iterator[None]:
        try:
            yield
        except QueueFullError:
            self._metrics.rejected.labels(model).inc()
            raise


class _Ending:
    """How a request ended, for the call that waits for it."""

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


async def _in_portions(texts: Sequence[str], score: Callable[[Sequence[str]], Awaitable[_T]]) -> list[_T]:
    """Score the texts portion by portion, so that no step on the event loop is a long one."""
    turn = asyncio.Semaphore(_PORTIONS_UNDER_WAY)

    async def scored(portion: Sequence[str]) -> _T:
        async with turn:
            return await score(portion)

    starts = range(0, len(texts), TEXTS_OF_A_PORTION)
    return await side_by_side(scored(texts[start : start + TEXTS_OF_A_PORTION]) for start in starts)


def _joined(parts: Sequence[Scores]) -> Scores:
    """Return the scores of all parts, one after the other."""
    values = [value for part in parts for value in part.values]
    return Scores(values, sum(part.cached for part in parts), sum(part.truncated for part in parts))
