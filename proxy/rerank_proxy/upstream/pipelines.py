"""What in upstream's cluster refers to an inference endpoint, and so stands against its deletion."""

import json
from collections.abc import Iterable, Mapping
from typing import Any

from rerank_proxy.upstream.protocol import Upstream, reading


async def referring_pipelines(upstream: Upstream, inference_id: str) -> list[str]:
    """The pipelines with an `inference` processor that names the endpoint
    (``InferenceProcessorInfoExtractor``). Those that the caller may not read are not seen.
    """
    reply = await upstream.request("GET", "/_ingest/pipeline", b"")
    if reply.status != 200:
        return []
    with reading("[_ingest/pipeline]"):
        pipelines: Mapping[str, Any] = json.loads(reply.body)
        return sorted(name for name, pipeline in pipelines.items() if _refers(pipeline, inference_id))


def _refers(value: Any, inference_id: str) -> bool:
    if isinstance(value, list):
        return any(_refers(item, inference_id) for item in value)
    if not isinstance(value, dict):
        return False
    processor = value.get("inference")
    if isinstance(processor, dict) and processor.get("model_id") == inference_id:
        return True
    return any(_refers(item, inference_id) for item in value.values())


def references(inference_id: str, pipelines: Iterable[str]) -> str:
    """What is said against the deletion; empty when no pipeline refers to the endpoint."""
    names = ", ".join(pipelines)
    if not names:
        return ""
    return (
        f"Inference endpoint {inference_id} is referenced by pipelines: [{names}]. Ensure that no pipelines "
        "are using this inference endpoint, or use force to ignore this warning and delete the inference "
        "endpoint."
    )
