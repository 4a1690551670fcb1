"""`elasticsearch`: models of this machine (``ElasticsearchInternalService``)."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Final

from rerank_proxy.engine import MAX_INSTRUCTION
from rerank_proxy.errors import Cause
from rerank_proxy.inference.configuration import EndpointConfig
from rerank_proxy.inference.failures import InferenceFailedError, status_error
from rerank_proxy.inference.local_models import ELASTIC_RERANK, adaptive_faults
from rerank_proxy.inference.service import Service
from rerank_proxy.inference.service_settings import SERVICE_SETTINGS, Setting, SettingKind
from rerank_proxy.services.local_ranker import (
    ADAPTIVE,
    DEPLOYMENT_ID,
    INSTRUCTION,
    MAX,
    MAX_CHUNKS,
    MIN,
    MODEL_ID,
    NUM_ALLOCATIONS,
    NUM_THREADS,
    STRATEGY,
    LocalRanker,
)


def _adaptive_problem(value: Mapping[str, Any]) -> str | None:
    """Return what is wrong with a value (``ServiceUtils#removeAsAdaptiveAllocationsSettings``,
    ``AdaptiveAllocationsSettings#validate``).
    """
    unknown = [name for name in value if name not in ("enabled", MIN, MAX)]
    if unknown:
        return f"[{ADAPTIVE}] does not allow the setting [{unknown[0]}]"
    if not isinstance(value.get("enabled", False), bool):
        return f"[{ADAPTIVE}] [enabled] must be true or false"
    return next(adaptive_faults(value.get(MIN), value.get(MAX)), None)


def _instruction_problem(value: str) -> str | None:
    """Return what is wrong with an instruction, which Elasticsearch does not have."""
    if len(value) <= MAX_INSTRUCTION:
        return None
    return f"[{INSTRUCTION}] must have at most {MAX_INSTRUCTION} characters"


_CHUNKING: Final[Sequence[Setting]] = (
    Setting(
        name=STRATEGY,
        check=lambda value: (
            None
            if value in ("chunk", "truncate")
            else f"Invalid value [{value}]; expected one of [chunk, truncate]"
        ),
        label="Long Document Strategy",
        description="What becomes of documents that are longer than the model's window: truncate or chunk.",
    ),
    Setting(
        name=MAX_CHUNKS,
        kind=SettingKind.POSITIVE_INT,
        label="Max Chunks Per Doc",
        description="How many chunks of a document are scored.",
    ),
)
"""Settings that only endpoints of Elastic Rerank have."""


class ElasticsearchService(Service):
    """Endpoints over models that the engine loads.

    `num_threads` and allocations bound the CPU threads of a model; with `min_number_of_allocations` 0 it is
    unloaded when idle, and loaded again by the next call.
    """

    name = "elasticsearch"
    label = "Elasticsearch"
    service_settings: ClassVar[Sequence[Setting]] = (
        Setting(
            name=NUM_ALLOCATIONS,
            kind=SettingKind.POSITIVE_INT,
            updatable=True,
            label="Number Allocations",
            description="How many calls the model is to serve at once.",
        ),
        Setting(
            name=NUM_THREADS,
            kind=SettingKind.POSITIVE_INT,
            required=True,
            label="Number Threads",
            description="How many threads one call may use.",
        ),
        Setting(name=MODEL_ID, label="Model ID", description="The name of the model to use."),
        Setting(
            name=ADAPTIVE,
            kind=SettingKind.MAP,
            updatable=True,
            check=_adaptive_problem,
            label="Adaptive Allocations",
            description="Between which numbers of allocations the model may scale.",
        ),
    )
    task_settings: ClassVar[Sequence[Setting]] = (
        Setting(
            name="return_documents",
            kind=SettingKind.BOOLEAN,
            default=True,
            label="Return Documents",
            description="Returns the document instead of only the index.",
        ),
        Setting(
            name=INSTRUCTION,
            check=_instruction_problem,
            label="Instruction",
            description="What the model is told to do, for one whose format has a place for that.",
        ),
    )
    top_n_setting = None

    def open(self, config: EndpointConfig) -> "LocalRanker":
        return LocalRanker(self.context, config)

    def settings_for(self, service_settings: Mapping[str, Any]) -> Sequence[Setting]:
        extra = _CHUNKING if service_settings.get(MODEL_ID) == ELASTIC_RERANK else ()
        return (*self.service_settings, *extra)

    def parse(
        self, inference_id: str, service_settings: Mapping[str, Any], task_settings: Mapping[str, Any]
    ) -> EndpointConfig:
        """Read a configuration; refuse one whose model (400) or deployment (404) does not exist."""
        deployment_id = service_settings.get(DEPLOYMENT_ID)
        if deployment_id is not None:
            return self._attached(inference_id, service_settings, task_settings, str(deployment_id))
        config = super().parse(inference_id, service_settings, task_settings)
        self._check_model(config)
        return config

    def update(
        self,
        config: EndpointConfig,
        service_settings: Mapping[str, Any],
        task_settings: Mapping[str, Any],
    ) -> EndpointConfig:
        """Change settings. A fixed number of allocations replaces adaptive ones, and the other way round."""
        shown = dict(config.service_settings)
        for name, other in ((NUM_ALLOCATIONS, ADAPTIVE), (ADAPTIVE, NUM_ALLOCATIONS)):
            if service_settings.get(name) is not None and service_settings.get(other) is None:
                shown.pop(other, None)
        return super().update(replace(config, service_settings=shown), service_settings, task_settings)

    def check_settings(self, config: EndpointConfig, faults: list[str]) -> EndpointConfig:
        values = dict(config.service_settings)
        if not faults and NUM_ALLOCATIONS not in values and ADAPTIVE not in values:
            faults.append(
                f"[{SERVICE_SETTINGS}] does not contain one of the required settings "
                f"[{NUM_ALLOCATIONS}, {ADAPTIVE}]"
            )
        if MAX_CHUNKS in values and values.get(STRATEGY) != "chunk":
            faults.append(f"The [{MAX_CHUNKS}] setting requires [{STRATEGY}] to be set to [chunk]")
        if ADAPTIVE in values:
            values[ADAPTIVE] = {"enabled": False, **values[ADAPTIVE]}
        return replace(config, service_settings=values)

    def _check_model(self, config: EndpointConfig) -> None:
        model_id = config.service_settings.get(MODEL_ID)
        if model_id is None:
            raise _illegal_argument("Error parsing service settings, model_id must be provided")
        if self.context.models.find(model_id) is None:
            raise _illegal_argument(
                "Error parsing request config, model id does not match any models available on this "
                f"platform. Was [{model_id}]. You may need to load it into the cluster using eland."
            )

    def _attached(
        self,
        inference_id: str,
        service_settings: Mapping[str, Any],
        task_settings: Mapping[str, Any],
        deployment_id: str,
    ) -> EndpointConfig:
        """Read a configuration that uses an existing deployment, with its threads and allocations."""
        deployment = self.context.models.deployment(deployment_id)
        if deployment is None:
            raise status_error(404, f"Cannot find deployment [{deployment_id}]")
        model_id = service_settings.get(MODEL_ID, deployment.model_id)
        if model_id != deployment.model_id:
            raise status_error(
                400,
                f"Deployment [{deployment_id}] uses model [{deployment.model_id}] which does not match the "
                f"model [{model_id}] in the request.",
            )
        values = {
            **service_settings,
            NUM_ALLOCATIONS: deployment.number_of_allocations,
            NUM_THREADS: deployment.threads_per_allocation,
            MODEL_ID: model_id,
        }
        del values[DEPLOYMENT_ID]
        config = super().parse(inference_id, values, task_settings)
        shown = {**config.service_settings, DEPLOYMENT_ID: deployment_id}
        return replace(config, service_settings=shown)


def settings_of_model(model: str) -> dict[str, Any]:
    """Return the service settings of a preconfigured endpoint with this model
    (``ElasticRerankerServiceSettings#defaultEndpointSettings``).
    """
    return {
        NUM_THREADS: 1,
        MODEL_ID: model,
        ADAPTIVE: {"enabled": True, MIN: 0, MAX: 32},
    }


def _illegal_argument(reason: str) -> InferenceFailedError:
    return InferenceFailedError(400, Cause("illegal_argument_exception", reason))
