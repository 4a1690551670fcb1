"""Upstream's own `_inference` API, where it has one."""

import json
import time
from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

from proxy.app.formats.negotiation import is_refusal
from proxy.search.rawjson import elements, members, text
from proxy.upstream import Reply, Upstream, UpstreamRefusedError

_RECHECK_S: Final = 60.0
"""Seconds that an answer is believed: upstream may be upgraded, or get a plugin."""

_NO_SUCH_API: Final = frozenset({400, 404, 405})


class UpstreamInference:
    """What upstream says about inference endpoints. Asked with the caller's own headers.

    Args:
        clock: Seconds, never going back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._exists = False
        self._checked = float("-inf")

    async def exists(self, upstream: Upstream) -> bool:
        """Whether upstream answers `_inference` at all.

        Where it refuses to say (this caller may not look, it is in trouble), it is left to answer for itself.
        """
        if self._clock() - self._checked > _RECHECK_S:
            reply = await upstream.request("GET", "/_inference/_all", b"")
            if reply.status != 200 and not _is_no_handler(reply):
                return True
            self._exists, self._checked = reply.status == 200, self._clock()
        return self._exists

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
        found = elements(members(reply.body).get("endpoints", b"[]"))
        return [(text(members(each)["inference_id"]), each) for each in found]

    async def has(self, upstream: Upstream, inference_id: str) -> bool:
        """Whether upstream has an endpoint of this id."""
        if not await self.exists(upstream):
            return False
        reply = await upstream.request("GET", f"/_inference/{quote(inference_id, safe='')}", b"")
        return reply.status == 200

    async def services(self, upstream: Upstream, target: str) -> list[dict[str, Any]]:
        """Upstream's catalogue of services; none where its version has no such catalogue.

        Raises:
            UpstreamRefusedError: It did not answer with success.
        """
        if not await self.exists(upstream):
            return []
        reply = await upstream.request("GET", target, b"")
        if reply.status in _NO_SUCH_API:
            return []
        if reply.status != 200:
            raise UpstreamRefusedError(reply)
        services: list[dict[str, Any]] = json.loads(reply.body)
        return services


def _is_no_handler(reply: Reply) -> bool:
    return reply.status in _NO_SUCH_API and not is_refusal(reply.status, reply.body)
