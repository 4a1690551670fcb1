"""Score the texts of calls: take remembered outputs, share what other calls have under way, run the rest."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Final, TypeVar

from rerank_proxy.concurrency.steps import Steps, run_at_once
from rerank_proxy.concurrency.tasks import side_by_side
from rerank_proxy.engine.batching.cache import OutputCache
from rerank_proxy.engine.batching.jobs import Lane, ScoringRequest
from rerank_proxy.engine.batching.runner import Runner
from rerank_proxy.engine.batching.scheduler import Scheduler
from rerank_proxy.engine.cache_scope import Namespaces
from rerank_proxy.engine.divided_texts import DividedTexts
from rerank_proxy.engine.encoding.inputs import Inputs
from rerank_proxy.engine.encoding.scorers import Scorer, instructed
from rerank_proxy.engine.encoding.seen import seen
from rerank_proxy.engine.encoding.tokenizing import TokenizingThreads
from rerank_proxy.engine.errors import (
    DeadlineUnreachableError,
    EngineClosedError,
    EngineError,
    QueueFullError,
)
from rerank_proxy.engine.guesses import CallSize, Guesses
from rerank_proxy.engine.loading.loaded_model import LoadedModel
from rerank_proxy.engine.metrics import EngineMetrics
from rerank_proxy.engine.model import Model
from rerank_proxy.engine.rows import Output, Row, tokens_of
from rerank_proxy.engine.run_times import run_times
from rerank_proxy.engine.shared_cache.shared_cache import Patience, SharedCache
from rerank_proxy.engine.text_memory import TextMemory
from rerank_proxy.observe import stages
from rerank_proxy.observe.recording import Seen
from rerank_proxy.settings import EngineSettings

_P = TypeVar("_P")
_T = TypeVar("_T")

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
        remembered: Whether each was remembered; empty where none was.
        cut: Whether each text was cut to the model's limit, or its query was; empty where that is not known.
    """

    values: Sequence[float]
    remembered: Sequence[bool] = ()
    cut: Sequence[bool] = ()

    @property
    def cached(self) -> int:
        """The number of texts whose score was remembered."""
        return sum(self.remembered)

    @property
    def truncated(self) -> int:
        """The number of texts that were cut."""
        return sum(self.cut)


@dataclass(frozen=True, slots=True)
class _Call:
    """What all portions of one call have in common."""

    model: Model
    loaded: LoadedModel
    lane: Lane
    scorer: Scorer
    query: str
    deadline: float | None
    namespace: bytes
    caller: bytes
    size: CallSize = field(default_factory=CallSize)
    patience: Patience = field(default_factory=Patience)


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
        namespaces: Namespaces,
        caller: Callable[[], bytes],
        shared: SharedCache | None = None,
    ) -> None:
        self._text_characters = settings.text_characters
        self._memory = TextMemory(settings.queue_bytes, scheduler.wait_s, settings.queue_share)
        self._cache = cache
        self._guesses = Guesses(cache, scheduler)
        self._scheduler = scheduler
        self._runner = runner
        self._tokenizing = tokenizing
        self._metrics = metrics
        self._namespaces = namespaces
        self._caller = caller if settings.queue_share < 1 else lambda: b""
        self._shared = shared

    async def scores(
        self,
        model: Model,
        query: str,
        texts: Sequence[str],
        instruction: str | None = None,
        deadline: float | None = None,
    ) -> Scores:
        """Score every text against the query. Very many texts are scored in portions.

        Args:
            deadline: A call that cannot be done by then is refused. Ending one that is late is the caller's.

        Raises:
            EngineError: As `Engine.scores`, but for the deadline that has passed.
        """
        recorder = stages.recorder()
        if recorder is not None:
            recorder.read_by(partial(self.seen, model, query, instruction))
        caller = self._caller()
        with self._rejections_counted(model.name), self._memory.holding(query, texts, caller):
            async with model.ready() as (loaded, lane):
                scorer = loaded.scorer if instruction is None else instructed(loaded.scorer, instruction)
                namespace = self._namespaces.of_call()
                call = _Call(model, loaded, lane, scorer, query, deadline, namespace, caller)
                if len(texts) <= loaded.portion_texts:
                    return await self._score(call, texts)
                portions = [*_portions(texts, loaded.portion_texts)]
                parts = zip(portions, await self._guess(call, portions), strict=True)
                return _joined(await _in_turn(parts, lambda part: self._score(call, *part)))

    async def seen(
        self, model: Model, query: str, instruction: str | None, texts: Sequence[str]
    ) -> Sequence[Seen]:
        """Return what a model reads of each text.

        Raises:
            EngineError: The model cannot be used, or the texts cannot be tokenised.
        """
        with self._memory.holding(query, texts, self._caller()):
            async with model.ready() as (loaded, _):
                scorer = loaded.scorer if instruction is None else instructed(loaded.scorer, instruction)
                return await self._tokenised(model, seen(scorer, query, texts, self._text_characters))

    async def _guess(self, call: _Call, portions: Sequence[Sequence[str]]) -> list[Sequence[bytes]]:
        """Guess how many tokens a call of several portions has, and refuse it if these are too many.

        Return the keys of each portion's inputs; none where there was no reason to compute them.
        """
        keys: list[Sequence[bytes]] = [()] * len(portions)
        if call.deadline is None or not call.lane.pace.known:
            return keys
        keys = await self._guess_missing(call, portions, keys)
        try:
            self._check_time(call)
        except DeadlineUnreachableError:
            if self._shared is None:
                raise
            await self._guess_missing(call, portions, keys, self._shared)
            self._check_time(call)
        return keys

    def _check_time(self, call: _Call) -> None:
        self._scheduler.check_time(call.lane, call.size.guessed, call.deadline, call.caller)

    async def _guess_missing(
        self,
        call: _Call,
        portions: Sequence[Sequence[str]],
        known_keys: Sequence[Sequence[bytes]],
        shared: SharedCache | None = None,
    ) -> list[Sequence[bytes]]:
        """Guess the tokens of what is not remembered, or not shared either. Return each portion's keys."""
        call.size.guessed = 0.0
        keys: list[Sequence[bytes]] = []
        for portion, known in zip(portions, known_keys, strict=True):
            inputs = await self._inputs(call, portion, known)
            if shared is not None:
                here = {key for key in inputs.keys if self._cache.get(key) is not None}
                await self._found(shared, call, inputs, here)
            call.size.guessed += self._guesses.guess_missing(call.loaded, call.lane, inputs)
            keys.append(inputs.keys)
        return keys

    async def _inputs(self, call: _Call, texts: Sequence[str], known_keys: Sequence[bytes] = ()) -> Inputs:
        """Prepare inputs, few ones at once: if they are remembered, their scores need no other thread."""
        steps = Inputs.of(call.scorer, call.query, texts, self._text_characters, known_keys, call.namespace)
        if len(texts) <= _FEW_TEXTS and sum(map(len, texts)) <= _FEW_CHARACTERS:
            await asyncio.sleep(0)  # Calls one after the other must not keep the event loop to themselves.
            return run_at_once(steps)
        with stages.stage("tokenise"):
            return await self._tokenised(call.model, steps)

    async def _score(self, call: _Call, texts: Sequence[str], known_keys: Sequence[bytes] = ()) -> Scores:
        if not texts:
            return Scores(())
        scorer, lane = call.scorer, call.lane
        inputs = await self._inputs(call, texts, known_keys)
        outputs = self._remembered(lane, inputs)
        if self._shared is not None and len(outputs) < len(inputs.keys):
            outputs |= await self._found(self._shared, call, inputs, outputs)
        remembered = [key in outputs for key in inputs.text_keys]
        if (recorder := stages.recorder()) is not None:
            recorder.looked_up(texts, remembered)
        missing = {key: at for at, key in enumerate(inputs.keys) if key not in outputs}
        if missing:
            guessed = self._guesses.guess_missing(call.loaded, call.lane, inputs)
            self._scheduler.check_time(lane, guessed, call.deadline, call.caller)
            run = await self._run(call, inputs, missing, guessed)
            if self._shared is not None:
                self._shared.remember(call.loaded.info, run)
            outputs |= run
        ordered = [outputs[key] for key in inputs.keys]
        query_cut = any(output.truncated for output in ordered[: scorer.texts_at])
        of_texts = zip(inputs.cut, ordered[scorer.texts_at :], strict=True)
        cut = [query_cut or before or output.truncated for before, output in of_texts]
        return Scores(await self._scored(call.model, scorer, ordered), remembered, cut)

    async def _scored(self, model: Model, scorer: Scorer, outputs: Sequence[Output]) -> list[float]:
        scores = scorer.scores(outputs)
        if isinstance(scores, list):
            return scores
        with stages.stage("score", "compare"):
            return await self._tokenised(model, scores)

    def _remembered(self, lane: Lane, inputs: Inputs) -> dict[bytes, Output]:
        found = {key: self._cache.get(key) for key in inputs.keys}
        outputs = {key: output for key, output in found.items() if output is not None}
        hits = sum(key in outputs for key in inputs.text_keys)
        self._metrics.cache.hits.labels(lane.model).inc(hits)
        self._metrics.cache.misses.labels(lane.model).inc(len(inputs.text_keys) - hits)
        return outputs

    async def _found(
        self, shared: SharedCache, call: _Call, inputs: Inputs, outputs: Collection[bytes]
    ) -> dict[bytes, Output]:
        """Return the outputs that replicas share, of those inputs that are neither here nor under way."""
        unknown = [key for key in dict.fromkeys(inputs.keys) if key not in outputs]
        asked = [key for key in unknown if not self._scheduler.has(call.lane, key)]
        with stages.stage("score", "shared cache"):
            return await shared.lookup(call.model.name, call.loaded.info, asked, call.patience)

    async def _run(
        self, call: _Call, inputs: Inputs, missing: Mapping[bytes, int], guessed: float
    ) -> dict[bytes, Output]:
        """Return the outputs of the inputs at the given positions, by key. Each runs once for all calls."""
        ending = _Ending()
        submitted: float | None = None
        request = self._scheduler.open(call.lane, ending.end, call.deadline, call.caller)
        try:
            own = {key: at for key, at in missing.items() if not self._scheduler.join(request, key)}
            encoded = await self._encode(call.model, inputs, list(own.values())) if own else []
            rows = dict(zip(own, encoded, strict=True))
            later_tokens = call.size.later_tokens(guessed, tokens_of(encoded))
            # Another call may have had them run while this one was tokenising.
            outputs = {key: output for key in rows if (output := self._cache.get(key)) is not None}
            call.model.check_open()  # Closing ends what was submitted, not what was being tokenised.
            rows = {key: row for key, row in rows.items() if key not in outputs}
            divided = DividedTexts(rows, self._cache)
            self._scheduler.submit(request, divided.rows, later_tokens)
            submitted = stages.clock()
            self._runner.wake()
            await ending.wait()
        finally:
            self._scheduler.cancel(request)
            if submitted is not None and request.jobs:
                self._tell_run(call, request, submitted)
        done = {key: job.output for key, job in request.jobs.items() if job.output is not None}
        return outputs | divided.joined(done)

    def _tell_run(self, call: _Call, request: ScoringRequest, submitted: float) -> None:
        times = run_times(submitted, stages.clock(), request.ran)
        self._metrics.calls.queue_seconds.labels(call.model.name).observe(times.waited_s, stages.exemplar())
        times.tell({"rerank_proxy.model": call.model.name, "rerank_proxy.pairs": len(request.jobs)})

    async def _encode(self, model: Model, inputs: Inputs, positions: Sequence[int]) -> list[Row]:
        started = stages.clock()
        with stages.stage("tokenise", "tokenise") as block:
            rows = await self._tokenised(model, self._rows(inputs, positions))
            if block.span is not None:
                block.span.set({"rerank_proxy.model": model.name, "rerank_proxy.texts": len(positions)})
        self._metrics.calls.tokenize_seconds.labels(model.name).observe(stages.clock() - started)
        return rows

    def _rows(self, inputs: Inputs, positions: Sequence[int]) -> Steps[list[Row]]:
        """Return the rows of the inputs at these positions. Stop where the queue could never take them."""
        rows: list[Row] = []
        tokens = 0
        for piece in inputs.scorer.encode(inputs.query, inputs.texts, positions):
            rows += piece
            tokens += tokens_of(piece)
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
            self._metrics.calls.rejected.labels(model).inc()
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


async def _in_turn(portions: Iterable[_P], score: Callable[[_P], Awaitable[_T]]) -> list[_T]:
    """Score portions of texts, so that no step on the event loop is a long one, and not all outputs wait."""
    turn = asyncio.Semaphore(_PORTIONS_UNDER_WAY)

    async def scored(portion: _P) -> _T:
        async with turn:
            return await score(portion)

    return await side_by_side(map(scored, portions))


def _portions(texts: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (texts[start : start + size] for start in range(0, len(texts), size))


def _joined(parts: Sequence[Scores]) -> Scores:
    """Return the scores of all parts, one after the other."""
    return Scores(
        [value for part in parts for value in part.values],
        [each for part in parts for each in part.remembered],
        [each for part in parts for each in part.cut],
    )
