"""Inference endpoints upstream: its own `_inference` API, where it has one, and who refers to them."""

import json
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final
from urllib.parse import quote

from rerank_proxy.concurrency.tasks import BackgroundTasks
from rerank_proxy.upstream.abilities import UpstreamApi
from rerank_proxy.upstream.protocol import Reply, Upstream, UpstreamRefusedError, reading
from rerank_proxy.xcontent.splicing import elements, members, text

_NO_CATALOGUE: Final = frozenset({400, 404, 405})
"""Where a version has no catalogue, its path names an endpoint that is not there."""


class UpstreamInference(UpstreamApi):
    """Asks upstream about its inference endpoints."""

    def __init__(self, background: BackgroundTasks, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__("/_inference/_all", background, clock)

    async def endpoints(self, upstream: Upstream, target: str) -> list[tuple[str, bytes]]:
        """Return the endpoints of upstream's answer to `GET {target}`, as they were written, with their ids.

        Raises:
            UpstreamRefusedError: It did not answer with success.
        """
        if not await self.exists(upstream):
            return []
        reply = await upstream.request("GET", target, b"")
        if reply.status != 200:
            raise UpstreamRefusedError(reply)
        return _endpoints(reply)

    async def has(self, upstream: Upstream, inference_id: str) -> bool:
        """Return whether upstream has an endpoint of this id."""
        if not await self.exists(upstream):
            return False
        reply = await upstream.request("GET", f"/_inference/{quote(inference_id, safe='')}", b"")
        return reply.status == 200 and bool(_endpoints(reply))

    async def services(self, upstream: Upstream, target: str) -> list[dict[str, Any]]:
        """Return upstream's catalogue of services; none where its version has no such catalogue.

        Raises:
            UpstreamRefusedError: It did not answer with success.
        """
        if not await self.exists(upstream):
            return []
        reply = await upstream.request("GET", target, b"")
        if reply.status in _NO_CATALOGUE:
            return []
        if reply.status != 200:
            raise UpstreamRefusedError(reply)
        with reading("[_inference/_services]"):
            return [{**row, **_known(row)} for row in json.loads(reply.body)]


async def referring_pipelines(upstream: Upstream, inference_id: str) -> list[str]:
    """Return the pipelines with an `inference` processor that names the endpoint
    (``InferenceProcessorInfoExtractor``). Those that the caller may not read are not seen.
    """
    reply = await upstream.request("GET", "/_ingest/pipeline", b"")
    if reply.status != 200:
        return []
    with reading("[_ingest/pipeline]"):
        pipelines: Mapping[str, Any] = json.loads(reply.body)
        return sorted(name for name, pipeline in pipelines.items() if _refers(pipeline, inference_id))


def references(inference_id: str, pipelines: Iterable[str]) -> str:
    """Return what is said against the endpoint's deletion; nothing if no pipeline refers to it."""
    names = ", ".join(pipelines)
    if not names:
        return ""
    return (
        f"Inference endpoint {inference_id} is referenced by pipelines: [{names}]. Ensure that no pipelines "
        "are using this inference endpoint, or use force to ignore this warning and delete the inference "
        "endpoint."
    )


def _endpoints(reply: Reply) -> list[tuple[str, bytes]]:
    with reading("[_inference]"):
        found = elements(members(reply.body)["endpoints"])
        return [(text(members(each)["inference_id"]), each) for each in found]


def _known(row: Any) -> dict[str, Any]:
    """Return what is read of a service."""
    name, task_types = row["service"], row["task_types"]
    if not (isinstance(name, str) and isinstance(task_types, list)):
        raise TypeError("no service")
    return {"service": name, "task_types": task_types}


def _refers(value: Any, inference_id: str) -> bool:
    if isinstance(value, list):
        return any(_refers(item, inference_id) for item in value)
    if not isinstance(value, dict):
        return False
    processor = value.get("inference")
    if isinstance(processor, dict) and processor.get("model_id") == inference_id:
        return True
    return any(_refers(item, inference_id) for item in value.values())
