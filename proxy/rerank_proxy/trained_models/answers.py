"""The answers of the APIs for trained models: objects in Elasticsearch's order of keys."""

from collections.abc import Sequence
from typing import Any, Final

from rerank_proxy.trained_models.catalogue import Catalogue
from rerank_proxy.trained_models.deployment import Deployment
from rerank_proxy.trained_models.deployments import NODE, Deployments
from rerank_proxy.trained_models.model_config import TrainedModelConfig
from rerank_proxy.xcontent.byte_size import parse_byte_size
from rerank_proxy.xcontent.instants import iso_instant

ACKNOWLEDGED: Final = {"acknowledged": True}
STOPPED: Final = {"stopped": True}

_OVERHEAD_BYTES: Final = 240 * 1024 * 1024
"""``StartTrainedModelDeploymentAction.MEMORY_OVERHEAD``."""


def config_document(
    config: TrainedModelConfig, catalogue: Catalogue, *, exclude_generated: bool, definition_status: bool
) -> dict[str, Any]:
    """Return one of `trained_model_configs`."""
    shown = config.document(exclude_generated=exclude_generated)
    if definition_status:
        shown["fully_defined"] = catalogue.is_complete(config.model_id)
    return shown


def assignment(
    deployment: Deployment, config: TrainedModelConfig, deployments: Deployments
) -> dict[str, Any]:
    """Return the answer to a start or an update (``TrainedModelAssignment``)."""
    state, reason = deployments.state(deployment)
    adaptive = deployment.adaptive_allocations
    route = {
        "current_allocations": deployment.number_of_allocations if state == "started" else 0,
        "target_allocations": deployment.number_of_allocations,
        "routing_state": state,
    }
    if reason is not None:
        route["reason"] = reason
    return {
        "assignment": {
            "task_parameters": {
                "model_id": deployment.model_id,
                "deployment_id": deployment.deployment_id,
                "model_bytes": config.size,
                "threads_per_allocation": deployment.threads_per_allocation,
                "number_of_allocations": deployment.number_of_allocations,
                "queue_capacity": deployment.queue_capacity,
                "cache_size": deployment.cache_size,
                "priority": deployment.priority,
                "per_deployment_memory_bytes": config.memory_bytes("per_deployment_memory_bytes"),
                "per_allocation_memory_bytes": config.memory_bytes("per_allocation_memory_bytes"),
            },
            "routing_table": {NODE: route},
            "assignment_state": state,
            "start_time": iso_instant(deployment.start_time),
            "max_assigned_allocations": deployment.number_of_allocations,
            "adaptive_allocations": None if adaptive is None else adaptive.document(),
        }
    }


def stats_documents(
    config: TrainedModelConfig, deployments: Deployments, now: int
) -> Sequence[dict[str, Any]]:
    """Return the entries of a model in `trained_model_stats`: one for each deployment, or one if it has none.

    Args:
        now: Milliseconds since the epoch.
    """
    started = deployments.of_model(config.model_id)
    if not started:
        return [_model_stats(config)]
    return [
        {
            **_model_stats(config),
            "inference_stats": _inference_stats(each, deployments, now),
            "deployment_stats": _deployment_stats(each, deployments),
        }
        for each in started
    ]


def _model_stats(config: TrainedModelConfig) -> dict[str, Any]:
    return {
        "model_id": config.model_id,
        "model_size_stats": {
            "model_size_bytes": config.size,
            "required_native_memory_bytes": _required_memory(config),
        },
        "pipeline_count": 0,
    }


def _required_memory(config: TrainedModelConfig) -> int:
    """Estimate the memory of one allocation
    (``StartTrainedModelDeploymentAction#estimateMemoryUsageBytes``).
    """
    of_program = _OVERHEAD_BYTES + 2 * config.size
    per_deployment = config.memory_bytes("per_deployment_memory_bytes")
    per_allocation = config.memory_bytes("per_allocation_memory_bytes")
    return max(of_program, _OVERHEAD_BYTES + config.size + per_deployment + per_allocation)


def _inference_stats(deployment: Deployment, deployments: Deployments, now: int) -> dict[str, Any]:
    usage = deployments.usage(deployment.deployment_id)
    return {
        "failure_count": usage.failures,
        "inference_count": usage.inferences,
        "cache_miss_count": 0,
        "missing_all_fields_count": 0,
        "timestamp": now,
    }


def _deployment_stats(deployment: Deployment, deployments: Deployments) -> dict[str, Any]:
    state, reason = deployments.state(deployment)
    usage = deployments.usage(deployment.deployment_id)
    current = deployment.number_of_allocations if state == "started" else 0
    shown: dict[str, Any] = {
        "deployment_id": deployment.deployment_id,
        "model_id": deployment.model_id,
        "threads_per_allocation": deployment.threads_per_allocation,
        "number_of_allocations": deployment.number_of_allocations,
    }
    if deployment.adaptive_allocations is not None:
        shown["adaptive_allocations"] = deployment.adaptive_allocations.document()
    shown |= {"queue_capacity": deployment.queue_capacity, "state": state}
    if reason is not None:
        shown["reason"] = reason
    shown |= {
        "allocation_status": {
            "allocation_count": current,
            "target_allocation_count": deployment.number_of_allocations,
            "state": "fully_allocated" if current else "starting",
        },
        "cache_size": str(parse_byte_size(deployment.cache_size, "cache_size")),
        "priority": deployment.priority,
        "start_time": deployment.start_time,
    }
    if usage.inferences:
        shown["inference_count"] = usage.inferences
    shown |= {"peak_throughput_per_minute": 0, "nodes": [_node_stats(deployment, state, reason, deployments)]}
    return shown


def _node_stats(
    deployment: Deployment, state: str, reason: str | None, deployments: Deployments
) -> dict[str, Any]:
    routing = {"routing_state": state}
    if reason is not None:
        routing["reason"] = reason
    shown: dict[str, Any] = {"routing_state": routing}
    if state == "started":
        usage = deployments.usage(deployment.deployment_id)
        shown |= {"inference_count": usage.inferences, "inference_cache_hit_count": usage.cached}
        if usage.last_access is not None:
            shown["last_access"] = usage.last_access
        shown |= {
            "number_of_pending_requests": 0,
            "start_time": deployment.start_time,
            "threads_per_allocation": deployment.threads_per_allocation,
            "number_of_allocations": deployment.number_of_allocations,
        }
    return {**shown, "peak_throughput_per_minute": 0, "throughput_last_minute": 0}
