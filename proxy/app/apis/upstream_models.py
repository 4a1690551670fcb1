"""Upstream's own trained models, where it has any."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from proxy.search.rawjson import elements, members, text
from proxy.upstream import Reply, Upstream, UpstreamRefusedError

PATH: Final = "/_ml/trained_models"

_RECHECK_S: Final = 60.0
"""Seconds that an answer is believed: upstream may be upgraded, or get a plugin."""


@dataclass(frozen=True, slots=True)
class Page:
    """Items of a list as they were written, by model id, and how many there are on all pages."""

    count: int
    items: list[tuple[str, bytes]]


class UpstreamModels:
    """What upstream says about trained models. Asked with the caller's own headers.

    Args:
        clock: Seconds, never going back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._exists = False
        self._checked = float("-inf")

    async def exists(self, upstream: Upstream) -> bool:
        """Whether upstream has the APIs for trained models at all. A refusal says that it has."""
        if self._clock() - self._checked > _RECHECK_S:
            reply = await upstream.request("GET", f"{PATH}?size=1", b"")
            if reply.status >= 500:
                return True
            self._exists, self._checked = not _is_no_handler(reply), self._clock()
        return self._exists

    async def has(self, upstream: Upstream, model_id: str) -> bool:
        """Whether upstream has a model of this id."""
        if not await self.exists(upstream):
            return False
        reply = await upstream.request("GET", f"{PATH}/{quote(model_id, safe='')}", b"")
        return reply.status == 200

    async def page(self, upstream: Upstream, target: str, name: str) -> Page | None:
        """The list called `name` of upstream's answer to `GET {target}`; None: upstream has no such API.

        Raises:
            UpstreamRefusedError: There is no such model, or the caller may not read them.
        """
        if not await self.exists(upstream):
            return None
        reply = await upstream.request("GET", target, b"")
        if reply.status != 200:
            raise UpstreamRefusedError(reply)
        answer = members(reply.body)
        found = elements(answer.get(name, b"[]"))
        return Page(
            int(answer.get("count", b"%d" % len(found))),
            [(text(members(each)["model_id"]), each) for each in found],
        )


def _is_no_handler(reply: Reply) -> bool:
    return reply.status in (400, 405) and (
        b"no handler found for uri" in reply.body or b"Incorrect HTTP method for uri" in reply.body
    )
