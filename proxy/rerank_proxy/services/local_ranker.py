"""Scores texts with a model of the engine, whose failures are told in Elasticsearch's words."""

import asyncio
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any, Final

from rerank_proxy.chunks import LANE
from rerank_proxy.chunks.chunkers import Chunks, Span, chunk
from rerank_proxy.chunks.settings import SentenceBoundaryChunkingSettings
from rerank_proxy.chunks.words import Words, WordStatus
from rerank_proxy.concurrency.deadline import Deadline
from rerank_proxy.concurrency.offload import docs_size, offload
from rerank_proxy.concurrency.steps import Steps
from rerank_proxy.engine import (
    DeadlineExceededError,
    DeadlineUnreachableError,
    EngineClosedError,
    EngineError,
    InputTooLargeError,
    ModelFailedError,
    NoInstructionError,
    QueueFullError,
    Reservation,
    Scores,
    UnknownModelError,
)
from rerank_proxy.errors import Cause, validation_error
from rerank_proxy.files.names import without_directories
from rerank_proxy.inference.configuration import EndpointConfig
from rerank_proxy.inference.failures import (
    InferenceFailedError,
    TimedOutError,
    because,
    status_error,
    timed_out,
)
from rerank_proxy.inference.local_models import NUMBER_AND_ADAPTIVE, threads_faults
from rerank_proxy.inference.ranking import RankedDoc, RerankRequest, of_documents, rank_texts
from rerank_proxy.inference.service import Ranker, ServiceContext
from rerank_proxy.observe import stages

NUM_ALLOCATIONS: Final = "num_allocations"
NUM_THREADS: Final = "num_threads"
MODEL_ID: Final = "model_id"
ADAPTIVE: Final = "adaptive_allocations"
DEPLOYMENT_ID: Final = "deployment_id"
INSTRUCTION: Final = "instruction"
STRATEGY: Final = "long_document_strategy"
MAX_CHUNKS: Final = "max_chunks_per_doc"
MIN: Final = "min_number_of_allocations"
MAX: Final = "max_number_of_allocations"

_TOKEN_LIMIT: Final = 512
_SPECIAL_TOKENS: Final = 3
_WORDS_PER_TOKEN: Final = 0.75
_holders = count()


def reservation_of(service_settings: Mapping[str, Any]) -> Reservation:
    """Return what an endpoint's settings ask of the engine: one allocation where they give no minimum."""
    threads = service_settings[NUM_THREADS]
    adaptive = service_settings.get(ADAPTIVE) or {}
    if adaptive.get("enabled"):
        most = adaptive.get(MAX)
        return Reservation(None if most is None else threads * most, keep_loaded=adaptive.get(MIN) != 0)
    return Reservation(threads * service_settings.get(NUM_ALLOCATIONS, 1))


class LocalRanker(Ranker):
    """Scores texts with a model of the engine."""

    def __init__(self, context: ServiceContext, config: EndpointConfig) -> None:
        self._context = context
        self._inference_id = config.inference_id
        self._settings = config.service_settings
        self._instruction: str | None = config.task_settings.get(INSTRUCTION)
        self.model = config.service_settings[MODEL_ID]
        # An endpoint that changes is opened again before it is closed in its former state.
        self._holder = f"{config.inference_id} {next(_holders)}"
        name = context.models.find(self.model)
        if name is not None and DEPLOYMENT_ID not in config.service_settings:
            context.engine.reserve(name, self._holder, reservation_of(config.service_settings))

    async def scores(self, query: str, texts: Sequence[str], deadline: Deadline) -> Scores:
        """Return raw logits."""
        return await self._told(self._instruction, query, texts, deadline)

    async def rank(self, request: RerankRequest, deadline: Deadline) -> Sequence[RankedDoc]:
        instruction = request.task_settings.get(INSTRUCTION)
        scores = await self._told(instruction, request.query, request.texts, deadline)
        return await offload(docs_size(request.texts), rank_texts, request, scores.values)

    async def _told(
        self, instruction: str | None, query: str, texts: Sequence[str], deadline: Deadline
    ) -> Scores:
        if self._settings.get(STRATEGY) != "chunk":
            return await self._scores(instruction, query, texts, deadline)
        spans, chunks = await self._chunks(query, texts, deadline)
        scores = await self._scores(instruction, query, chunks, deadline)
        if (recorder := stages.recorder()) is not None:
            recorder.chunked(spans, scores.values)
        cut = [len(text) > self._context.chunked_characters for text in texts]
        return of_documents(scores, spans, cut)

    async def _scores(
        self, instruction: str | None, query: str, texts: Sequence[str], deadline: Deadline
    ) -> Scores:
        with self._failures_told(deadline):
            return await self._context.engine.scores(
                self._known(), query, texts, deadline.at, instruction=instruction
            )

    async def _chunks(self, query: str, texts: Sequence[str], deadline: Deadline) -> Chunks:
        limit = self._context.chunked_characters
        steps = chunked(query[:limit], [text[:limit] for text in texts], self._settings.get(MAX_CHUNKS))
        try:
            with stages.stage("tokenise", "chunk"):
                async with asyncio.timeout_at(deadline.at):
                    return await LANE.run(steps)
        except TimeoutError:
            raise timed_out(self._inference_id, deadline, "the texts were not cut into chunks") from None

    async def check(self, deadline: Deadline) -> None:
        """Refuse what Elasticsearch would not deploy. The model is started once the endpoint is stored.

        Raises:
            InferenceFailedError: 400, no deployment can have such threads and allocations.
        """
        if DEPLOYMENT_ID in self._settings:
            return
        faults = [*threads_faults(self._settings[NUM_THREADS])]
        if NUM_ALLOCATIONS in self._settings and self._settings.get(ADAPTIVE, {}).get("enabled"):
            faults.insert(0, NUMBER_AND_ADAPTIVE)
        if faults:
            raise InferenceFailedError(400, validation_error(faults).cause)

    async def start(self, deadline: Deadline) -> None:
        """Wait for the model.

        Raises:
            InferenceFailedError: 408, it still loads at the deadline; else as `scores`.
        """
        try:
            with self._failures_told(deadline):
                await self._context.engine.wait_ready(self._known(), deadline.at)
        except TimedOutError as failure:
            reason = (
                f"Timed out waiting for trained model deployment [{self._inference_id}] to start. Use the "
                "trained model stats API to track the state of the deployment and try again once it has "
                "started."
            )
            cause = Cause("model_deployment_timeout_exception", reason, caused_by=failure.cause.caused_by)
            raise InferenceFailedError(408, cause) from None

    async def close(self) -> None:
        name = self._context.models.find(self.model)
        if name is not None:
            self._context.engine.release(name, self._holder)

    def _known(self) -> str:
        name = self._context.models.find(self.model)
        if name is None:
            reason = (
                f"No known trained model with model_id [{self.model}] for inference endpoint "
                f"[{self._inference_id}]: it was removed from the settings, or deleted"
            )
            failure = InferenceFailedError(404, Cause("resource_not_found_exception", reason))
            raise because("model_failed", failure)
        return name

    @contextmanager
    def _failures_told(self, deadline: Deadline) -> Iterator[None]:
        """Turn failures of the engine into those that Elasticsearch would report.

        Raises:
            InferenceFailedError: The engine failed.
        """
        try:
            yield
        except DeadlineExceededError as failure:
            told = without_directories(str(failure))  # whether the model still loads, say
            raise timed_out(self._inference_id, deadline, told) from None
        except QueueFullError as failure:
            cause = Cause("es_rejected_execution_exception", str(failure))
            refused = InferenceFailedError(429, cause, failure.retry_after_s)
            if not isinstance(failure, DeadlineUnreachableError):
                raise because("queue_full", refused) from None
            stages.miss(deadline.name)
            raise because("too_late", refused) from None
        except (InputTooLargeError, NoInstructionError) as failure:
            raise status_error(400, str(failure)) from None
        except ModelFailedError as failure:
            reason = (
                f"Model [{self.model}] of inference endpoint [{self._inference_id}] could not be loaded: "
                f"{without_directories(str(failure))}"
            )
            raise because("model_failed", status_error(500, reason)) from None
        except UnknownModelError as failure:
            cause = Cause("resource_not_found_exception", str(failure))
            raise because("model_failed", InferenceFailedError(404, cause)) from None
        except EngineClosedError as failure:
            reason = f"Inference with model [{self.model}] failed: {failure}"
            raise because("model_failed", status_error(503, reason)) from None
        except EngineError as failure:
            reason = f"Inference with model [{self.model}] failed: {without_directories(str(failure))}"
            raise because("model_failed", status_error(500, reason)) from failure


def chunked(query: str, texts: Sequence[str], most: int | None) -> Steps[Chunks]:
    """Return the chunks of each text that Elastic Rerank reads (``RerankRequestChunker``).

    They are sentences with one sentence of overlap, as many words as fit beside the query, and at least as
    many as fill half of the model's window; at most the first `most` of a text.
    """
    status = WordStatus()
    query_words = yield from Words.read(query, status)
    query_tokens = math.ceil(query_words.count(0, len(query)) / _WORDS_PER_TOKEN)
    tokens = max(_TOKEN_LIMIT - _SPECIAL_TOKENS - query_tokens, _TOKEN_LIMIT // 2)
    settings = SentenceBoundaryChunkingSettings(int(tokens * _WORDS_PER_TOKEN), sentence_overlap=1)
    spans: list[Sequence[Span]] = []
    chunks: list[str] = []
    for text in texts:
        status.forget()
        words = yield from Words.read(text, status)
        spans.append((yield from chunk(words, settings))[:most])
        chunks += [text[start:end] for start, end in spans[-1]]
    return Chunks(spans, chunks)
