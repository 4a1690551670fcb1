"""What all client connections of one edge share."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rerank_proxy.edge.cors import Origins
from rerank_proxy.observe.metrics import EdgeMetrics
from rerank_proxy.settings import EdgeSettings
from rerank_proxy.upstream.pool import Pool

if TYPE_CHECKING:
    from rerank_proxy.edge.connection import ClientConnection


_THREADS = 2
"""For bodies that take long to look into. More would only take turns, and slow down the event loop."""


def _new_threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="look")


@dataclass(slots=True)
class EdgeState:
    """
    Attributes:
        client_left: Called after a client's connection is closed.
        app: Connections to the application that reranks.
        origins: What upstream says to the origins of requests.
        draining: The edge is stopping: answers close their connection.
        trained_models: Whether clients may upload models, so that the application answers for those.
        buffered: Bytes of search bodies held now, over all connections; of compressed ones that go to the
            application, the decoded bytes.
        threads: Where compressed bodies are looked into.
    """

    loop: asyncio.AbstractEventLoop
    settings: EdgeSettings
    upstream: Pool
    app: Pool
    metrics: EdgeMetrics
    client_left: Callable[[], None]
    trained_models: bool = False
    draining: bool = False
    buffered: int = 0
    threads: ThreadPoolExecutor = field(default_factory=_new_threads)
    clients: "set[ClientConnection]" = field(default_factory=set)
    origins: Origins = field(init=False)

    def __post_init__(self) -> None:
        self.origins = Origins(self.loop, self.upstream)

    def reserve(self, size: int) -> bool:
        """Count `size` more bytes as held; False, and nothing counted, when that would be too many."""
        if self.buffered + size > self.settings.max_buffered:
            return False
        self.buffered += size
        return True

    def free(self, size: int) -> None:
        self.buffered -= size
