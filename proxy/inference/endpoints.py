"""Endpoint ids of the settings, served by models on this machine."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

import numpy as np

from proxy.engine import (
    DeadlineExceededError,
    Engine,
    EngineError,
    ModelFailedError,
    QueueFullError,
    Reranked,
)
from proxy.errors import Cause, ElasticsearchError
from proxy.settings import EndpointSettings

_FLOAT32_MAX: Final = float(np.finfo(np.float32).max)


class Reranker(Protocol):
    """Anything that scores texts against a query."""

    async def rerank(self, query: str, texts: Sequence[str], deadline: float) -> Reranked:
        """Raw relevance scores, one float per text, in input order.

        Args:
            deadline: On the event loop's clock, in seconds.

        Raises:
            InferenceFailedError: With the status and cause that Elasticsearch would give.
        """


class InferenceFailedError(ElasticsearchError):
    """The rank phase of a search failed: no such endpoint, or its model or service did not answer."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An `inference_id` of task type `rerank`.

    Attributes:
        top_n: The most results it is configured to give.
        window_words: How many words of a text its model reads, roughly.
    """

    inference_id: str
    model: str
    reranker: Reranker
    top_n: int | None = None
    window_words: int = 300

    def check_window(self, size: int) -> None:
        """Raises:
        InferenceFailedError: 400, for a window that it would not answer for as a whole.
        """
        if self.top_n is not None and self.top_n < size:
            reason = (
                f"Inference endpoint [{self.inference_id}] is configured to return the top [{self.top_n}] "
                f"results, but rank_window_size is [{size}]. Reduce rank_window_size to be less than or "
                "equal to the configured top N value."
            )
            raise InferenceFailedError(400, Cause("illegal_argument_exception", reason))

    async def rerank(self, query: str, texts: Sequence[str], deadline: float) -> Reranked:
        """As `Reranker.rerank`, with the answer checked."""
        reranked = await self.reranker.rerank(query, texts, deadline)
        if len(reranked.scores) != len(texts):
            reason = (
                f"Expected ranked doc size to be {len(texts)}, got {len(reranked.scores)}. Is the reranker "
                "service using an unreported top N task setting?"
            )
            raise InferenceFailedError(500, Cause("illegal_state_exception", reason))
        if not all(abs(score) <= _FLOAT32_MAX for score in reranked.scores):
            reason = f"Inference endpoint [{self.inference_id}] returned a score that is not a finite number"
            raise InferenceFailedError(500, Cause("illegal_state_exception", reason))
        return reranked


class Endpoints:
    """The endpoints of this proxy by id."""

    def __init__(self, settings: Mapping[str, EndpointSettings], engine: Engine, timeout_s: float) -> None:
        self._endpoints = {
            inference_id: Endpoint(
                inference_id,
                each.model,
                LocalReranker(engine, inference_id, each.model, timeout_s),
                top_n=each.top_n,
            )
            for inference_id, each in settings.items()
        }

    def get(self, inference_id: str) -> Endpoint | None:
        return self._endpoints.get(inference_id)


def not_found(inference_id: str) -> InferenceFailedError:
    reason = f"Inference endpoint not found [{inference_id}]"
    return InferenceFailedError(404, Cause("resource_not_found_exception", reason))


def wrong_task_type(task_type: str) -> InferenceFailedError:
    """An endpoint of this id does something else."""
    reason = f"Requested task type [rerank] does not match the inference endpoint's task type [{task_type}]"
    return InferenceFailedError(400, Cause("status_exception", reason))


class LocalReranker:
    """A model of the engine, with its failures in Elasticsearch's words."""

    def __init__(self, engine: Engine, inference_id: str, model: str, timeout_s: float) -> None:
        self._engine = engine
        self._inference_id = inference_id
        self._model = model
        self._timeout_s = timeout_s

    async def rerank(self, query: str, texts: Sequence[str], deadline: float) -> Reranked:
        try:
            return await self._engine.rerank(self._model, query, texts, deadline)
        except DeadlineExceededError as failure:
            reason = f"Request timed out after [{self._timeout_s:g}s] for inference id [{self._inference_id}]"
            inner = Cause("timeout_exception", str(failure))  # whether the model still loads, say
            raise InferenceFailedError(429, Cause("status_exception", reason, caused_by=inner)) from None
        except QueueFullError as failure:
            cause = Cause("es_rejected_execution_exception", str(failure))
            raise InferenceFailedError(429, cause) from None
        except ModelFailedError as failure:
            reason = (
                f"Model [{self._model}] of inference endpoint [{self._inference_id}] could not be loaded: "
                f"{failure}"
            )
            raise InferenceFailedError(500, Cause("status_exception", reason)) from None
        except EngineError as failure:
            reason = f"Inference with model [{self._model}] failed: {failure}"
            raise InferenceFailedError(500, Cause("status_exception", reason)) from failure
