"""What all client connections of one edge share."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from rerank_proxy.edge.cors import Origins
from rerank_proxy.edge.ports import OpenConnection
from rerank_proxy.observe.access_log import AccessLog
from rerank_proxy.observe.edge_metrics import EdgeMetrics
from rerank_proxy.settings import EdgeSettings
from rerank_proxy.upstream.pool import Pool

_THREADS = 2
"""For bodies that take long to inspect. More would only take turns, and slow down the event loop."""


def _new_threads() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(_THREADS, thread_name_prefix="inspect")


@dataclass(slots=True)
class Shared:
    """The pools, limits, counters and threads of one edge.

    Attributes:
        client_left: Called after a client's connection is closed.
        app: Connections to the application that reranks.
        origins: What upstream answers to the origins of requests (CORS).
        access: Writes lines about requests; None, there are none.
        draining: The edge is stopping: answers close their connection.
        trained_models: Clients may upload models, so that the application answers the APIs for those.
        buffered: Bytes of search bodies held now, over all connections; of compressed ones that go to the
            application, the decoded bytes.
        threads: Where compressed bodies are inspected.
    """

    loop: asyncio.AbstractEventLoop
    settings: EdgeSettings
    upstream: Pool
    app: Pool
    metrics: EdgeMetrics
    client_left: Callable[[], None]
    access: AccessLog | None = None
    trained_models: bool = False
    draining: bool = False
    buffered: int = 0
    threads: ThreadPoolExecutor = field(default_factory=_new_threads)
    clients: set[OpenConnection] = field(default_factory=set)
    origins: Origins = field(init=False)

    def __post_init__(self) -> None:
        self.origins = Origins(self.loop, self.upstream)

    def room(self) -> int:
        """Return how many bytes the body of one more search may have."""
        settings = self.settings
        return min(settings.max_body, settings.max_buffered - self.buffered)

    def reserve(self, size: int) -> bool:
        """Count `size` more bytes as held and return True, or return False if the limit allows no more."""
        if self.buffered + size > self.settings.max_buffered:
            return False
        self.buffered += size
        return True

    def free(self, size: int) -> None:
        """Count `size` bytes as held no more."""
        self.buffered -= size
