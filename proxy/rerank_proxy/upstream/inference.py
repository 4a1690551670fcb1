"""Upstream's own `_inference` API, where it has one."""

import json
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

from rerank_proxy.concurrency.tasks import BackgroundTasks
from rerank_proxy.upstream.abilities import UpstreamApi
from rerank_proxy.upstream.protocol import Reply, Upstream, UpstreamRefusedError, reading
from rerank_proxy.xcontent.splicing import elements, members, text

_NO_CATALOGUE: Final = frozenset({400, 404, 405})
"""Where a version has no catalogue, its path names an endpoint that is not there."""


class UpstreamInference(UpstreamApi):
    """What upstream says about inference endpoints."""

    def __init__(self, background: BackgroundTasks, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__("/_inference/_all", background, clock)

    async def endpoints(self, upstream: Upstream, target: str) -> list[tuple[str, bytes]]:
        """The endpoints of upstream's answer to `GET {target}`, as they were written, with their ids.

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
        """Whether upstream has an endpoint of this id."""
        if not await self.exists(upstream):
            return False
        reply = await upstream.request("GET", f"/_inference/{quote(inference_id, safe='')}", b"")
        return reply.status == 200 and bool(_endpoints(reply))

    async def services(self, upstream: Upstream, target: str) -> list[dict[str, Any]]:
        """Upstream's catalogue of services; none where its version has no such catalogue.

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


def _endpoints(reply: Reply) -> list[tuple[str, bytes]]:
    with reading("[_inference]"):
        found = elements(members(reply.body)["endpoints"])
        return [(text(members(each)["inference_id"]), each) for each in found]


def _known(row: Any) -> dict[str, Any]:
    """What is read of a service."""
    name, task_types = row["service"], row["task_types"]
    if not (isinstance(name, str) and isinstance(task_types, list)):
        raise TypeError("no service")
    return {"service": name, "task_types": task_types}
