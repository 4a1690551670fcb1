"""What the parts of the proxy in this process hold: after any fault it must be what it was before."""

import asyncio
import gc
import logging
import math
import os
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from rerank_proxy.edge.connection import ClientConnection
from rerank_proxy.edge.exchange import Exchange
from rerank_proxy.edge.inspection import BufferedRequest
from rerank_proxy.edge.shared import Shared
from rerank_proxy.search.run import Run
from rerank_proxy.upstream.call import UpstreamCall
from rerank_proxy.upstream.connection import UpstreamConnection
from rerank_proxy.upstream.pool import Attempt, Pool
from testbed import Server
from tests.support.waiting import until_true

T = TypeVar("T")

_OF_A_REQUEST: Final = (
    Attempt, BufferedRequest, ClientConnection, Exchange, Run, UpstreamCall, UpstreamConnection,
)  # fmt: skip


@dataclass(frozen=True)
class Held:
    """What is held now.

    Attributes:
        tasks: Tasks of the event loop.
        files: Open files of the process, sockets included.
        busy: Connections of all pools with a request under way.
        buffered: Bytes of bodies that all edges hold.
    """

    tasks: int
    files: int
    busy: int
    buffered: int


class LeftBehind:
    """Compares what is held with what was held when this began.

    Make it when the edges and pools are there that are looked at. Idle connections are closed before anything
    is counted, so no request may be under way.

    Args:
        server: The Elasticsearch whose search contexts count, those of points in time included; None: none.
    """

    _before: Held
    _objects_before: Counter[str]
    _contexts_before: int

    def __init__(self, server: Server | None = None) -> None:
        self._server = server
        self._pools = list(_live(Pool))
        self._edges = list(_live(Shared))

    async def begin(self) -> "LeftBehind":
        """Take what is held now, when no request is under way, for what may be held.

        Objects that live now are set aside for good: the suite has so many that each look for new ones would
        take a second.
        """
        gc.freeze()
        self._close_idle()
        await asyncio.sleep(0)  # the loop's next turn closes their sockets
        self._before = self._held()
        self._objects_before = _objects()
        self._contexts_before = self._contexts()
        return self

    async def idle(self) -> None:
        """Wait until no request is under way; kept connections stay."""
        await _until_equal(lambda: sum(pool.busy for pool in self._pools), 0)

    async def settled(self) -> None:
        """Wait until this process holds what it held before; fails the test if that does not come about."""
        await _until_equal(self._held, self._before, self._close_idle)

    async def assert_nothing(self) -> None:
        """Wait until all is as before, here and in Elasticsearch; fails the test likewise."""
        await self.settled()
        await _until_equal(self._contexts, self._contexts_before)
        await _until_equal(_objects, self._objects_before)

    def _held(self) -> Held:
        return Held(
            tasks=len(asyncio.all_tasks()),
            files=len(os.listdir("/proc/self/fd")),
            busy=sum(pool.busy for pool in self._pools),
            buffered=sum(edge.buffered for edge in self._edges),
        )

    def _contexts(self) -> int:
        return 0 if self._server is None else open_contexts(self._server)

    def _close_idle(self) -> None:
        for pool in self._pools:
            pool.close_unused(math.inf)


def open_contexts(server: Server) -> int:
    """Return how many search contexts are open in an Elasticsearch, those of points in time included."""
    stats = server.call("GET", "/_nodes/stats/indices/search").json()
    return sum(node["indices"]["search"]["open_contexts"] for node in stats["nodes"].values())


@contextmanager
def records_without_objects() -> Iterator[None]:
    """Let what is logged be text at once: pytest keeps all records, with the frames of the errors in them."""

    def make(*arguments: Any, **more: Any) -> logging.LogRecord:
        record = factory(*arguments, **more)
        record.msg, record.args = record.getMessage(), None
        return record

    factory = logging.getLogRecordFactory()
    logging.setLogRecordFactory(make)
    try:
        yield
    finally:
        logging.setLogRecordFactory(factory)


async def _until_equal(
    look: Callable[[], T], expected: T, before_each: Callable[[], None] = lambda: None
) -> None:
    def is_equal() -> bool:
        before_each()
        return look() == expected

    try:
        await until_true(is_equal)
    except AssertionError:
        raise AssertionError(f"held: {look()}, not {expected}") from None


def _objects() -> Counter[str]:
    """Return how many objects live that belong to one request or connection, by their class."""
    gc.collect()
    return Counter(type(each).__name__ for each in _live(*_OF_A_REQUEST))


def _live(*kinds: type[T]) -> Iterator[T]:
    for each in gc.get_objects():
        if issubclass(type(each), kinds):
            yield each
