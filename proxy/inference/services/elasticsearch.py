"""`elasticsearch`: models of this machine (``ElasticsearchInternalService``)."""

from collections.abc import Sequence
from typing import Any, ClassVar

from proxy.engine import (
    DeadlineExceededError,
    Engine,
    EngineError,
    ModelFailedError,
    QueueFullError,
    Reranked,
)
from proxy.errors import Cause
from proxy.inference.configuration import EndpointConfig
from proxy.inference.failures import InferenceFailedError, status_error
from proxy.inference.ranking import RankedDoc, Ranking, RerankInput, sort_by_score
from proxy.inference.service import Service
from proxy.inference.settings_table import Kind, Setting


class ElasticsearchService(Service):
    name = "elasticsearch"
    label = "Elasticsearch"
    service_settings: ClassVar[Sequence[Setting]] = (
        Setting(name="num_threads", kind=Kind.POSITIVE_INT, required=True, label="Number Threads"),
        Setting(name="model_id", required=True, label="Model ID"),
        Setting(name="num_allocations", kind=Kind.POSITIVE_INT, updatable=True, label="Number Allocations"),
        Setting(name="adaptive_allocations", kind=Kind.MAP, updatable=True, label="Adaptive Allocations"),
    )
    task_settings: ClassVar[Sequence[Setting]] = (
        Setting(
            name="return_documents",
            kind=Kind.BOOLEAN,
            default=True,
            label="Return Documents",
            description="Returns the document instead of only the index.",
        ),
    )
    top_n_setting = None

    def open(self, config: EndpointConfig) -> "LocalRanker":
        return LocalRanker(
            self.context.engine,
            config.inference_id,
            config.service_settings["model_id"],
            self.context.timeout_s,
        )


def settings_of_model(model: str) -> dict[str, Any]:
    """What a request would say for an endpoint with one of the settings' models
    (``ElasticRerankerServiceSettings#defaultEndpointSettings``).
    """
    return {
        "num_threads": 1,
        "model_id": model,
        "adaptive_allocations": {
            "enabled": True,
            "min_number_of_allocations": 0,
            "max_number_of_allocations": 32,
        },
    }


class LocalRanker:
    """A model of the engine, with its failures in Elasticsearch's words."""

    def __init__(self, engine: Engine, inference_id: str, model: str, timeout_s: float) -> None:
        self._engine = engine
        self._inference_id = inference_id
        self._timeout_s = timeout_s
        self.model = model

    async def rank(self, request: RerankInput, deadline: float) -> Ranking:
        """Raw logits, sorted here; equal scores keep the order of their inputs."""
        reranked = await self._scores(request.query, request.texts, deadline)
        returns = request.return_documents
        if returns is None:
            returns = request.task_settings.get("return_documents", True)
        docs = [
            RankedDoc(index, score, text if returns else None)
            for index, (score, text) in enumerate(zip(reranked.scores, request.texts, strict=True))
        ]
        return Ranking(sort_by_score(docs, request.top_n), reranked.cached, reranked.truncated)

    async def check(self, deadline: float) -> None:
        """Wait for the model."""
        await self._scores("", (), deadline)

    async def close(self) -> None:
        """The model stays: others may use it."""

    async def _scores(self, query: str, texts: Sequence[str], deadline: float) -> Reranked:
        try:
            return await self._engine.rerank(self.model, query, texts, deadline)
        except DeadlineExceededError as failure:
            reason = f"Request timed out after [{self._timeout_s:g}s] for inference id [{self._inference_id}]"
            inner = Cause("timeout_exception", str(failure))  # whether the model still loads, say
            raise status_error(429, reason, inner) from None
        except QueueFullError as failure:
            cause = Cause("es_rejected_execution_exception", str(failure))
            raise InferenceFailedError(429, cause) from None
        except ModelFailedError as failure:
            raise status_error(
                500,
                f"Model [{self.model}] of inference endpoint [{self._inference_id}] could not be loaded: "
                f"{failure}",
            ) from None
        except EngineError as failure:
            raise status_error(500, f"Inference with model [{self.model}] failed: {failure}") from failure
