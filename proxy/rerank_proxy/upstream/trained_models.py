"""Trained models upstream, where it has any."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

from rerank_proxy.concurrency.tasks import BackgroundTasks
from rerank_proxy.upstream.abilities import UpstreamApi
from rerank_proxy.upstream.protocol import Reply, Upstream, UpstreamRefusedError, reading
from rerank_proxy.xcontent.splicing import elements, members, text

PATH: Final = "/_ml/trained_models"
CONFIGS: Final = "trained_model_configs"


@dataclass(frozen=True, slots=True)
class Page:
    """Items of a list as they were written, by model id, and how many there are on all pages."""

    count: int
    items: list[tuple[str, bytes]]


class UpstreamModels(UpstreamApi):
    """Asks upstream about its trained models."""

    def __init__(self, background: BackgroundTasks, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(f"{PATH}?size=1", background, clock)

    async def has(self, upstream: Upstream, model_id: str) -> bool:
        """Return whether upstream has a model of this id."""
        if not await self.exists(upstream):
            return False
        reply = await upstream.request("GET", f"{PATH}/{quote(model_id, safe='')}", b"")
        return reply.status == 200 and bool(_page(reply, CONFIGS).items)

    async def page(self, upstream: Upstream, target: str, name: str) -> Page | None:
        """Return the list called `name` of upstream's answer to `GET {target}`; None if it has no such API.

        Raises:
            UpstreamRefusedError: There is no such model, or the caller may not read them.
        """
        if not await self.exists(upstream):
            return None
        reply = await upstream.request("GET", target, b"")
        if reply.status != 200:
            raise UpstreamRefusedError(reply)
        return _page(reply, name)


def _page(reply: Reply, name: str) -> Page:
    with reading(f"[{PATH}]"):
        answer = members(reply.body)
        found = elements(answer[name])
        return Page(int(answer["count"]), [(text(members(each)["model_id"]), each) for each in found])
