"""Points in time opened for searches whose client brings none: how long they stay, and their closing.

Elasticsearch keeps one for its keep-alive after the last request that used it, and looks every minute for
those that are over (``search.keep_alive_interval``). Each search may prolong the keep-alive; none shortens it
(``ReaderContext#tryUpdateKeepAlive``).
"""

import asyncio
import logging
import math
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Final

from rerank_proxy.concurrency.deadline import Deadline
from rerank_proxy.concurrency.tasks import BackgroundTasks
from rerank_proxy.search import targets
from rerank_proxy.search.run import AN_INNER_SEARCH, Run
from rerank_proxy.search.targets import target
from rerank_proxy.upstream.protocol import Upstream, reading
from rerank_proxy.xcontent.splicing import Printer, members, text

logger = logging.getLogger(__name__)

UNUSED_S: Final = 60
"""The keep-alive of one that no search has used yet, in seconds: if the answer to its opening is lost, so is
its id, and nothing can close it.
"""
CLOSE_AGAIN_S: Final = (1.0, 10.0)
"""Seconds to wait before closing is tried again, and again."""
_MAX_WAITING: Final = 1000
_MAX_KEEP_ALIVE_S: Final = 24 * 3600
"""``search.max_keep_alive``, the most that Elasticsearch accepts by default."""


class OwnPointsInTime:
    """Opens and closes points in time.

    Args:
        close_again_s: Seconds to wait before each further try of closing one.
    """

    def __init__(self, close_again_s: Sequence[float] = CLOSE_AGAIN_S) -> None:
        self._close_again_s = close_again_s
        self._closing = BackgroundTasks()
        self._waiting = 0
        self._ending = asyncio.Event()

    @asynccontextmanager
    async def opened(self, run: Run) -> AsyncIterator[bytes]:
        """Open one for a search, and close it behind the block, for which the client does not wait.

        Yields:
            The `pit` member for searches in it, as JSON. They prolong it by what the search may still take.
        """
        opening = asyncio.create_task(_open(run))
        try:
            # Shielded: if the client leaves now, the point in time still has to be closed.
            yield await asyncio.shield(opening)
        finally:
            self._closing.start(self._close(run.upstream, opening))

    async def drain(self) -> None:
        """Wait until all are closed. Those that wait for their next try have it now, as their last."""
        self._ending.set()
        await self._closing.finish()
        self._ending.clear()

    async def _close(self, upstream: Upstream, opening: asyncio.Task[bytes]) -> None:
        """Close a point in time once it is open. Log a failure: it expires anyway."""
        try:
            pit_id = members(await opening)["id"]
        except Exception:  # of any kind: the search has reported it
            return
        failure = await _closed(upstream, pit_id)
        for seconds in self._close_again_s:
            if failure is None or self._ending.is_set() or self._waiting >= _MAX_WAITING:
                break
            await self._wait(seconds)
            failure = await _closed(upstream, pit_id)
        if failure is not None:
            logger.warning("a point in time could not be closed and will expire by itself: %s", failure)

    async def _wait(self, seconds: float) -> None:
        self._waiting += 1
        try:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._ending.wait(), seconds)
        finally:
            self._waiting -= 1


async def _open(run: Run) -> bytes:
    """Open a point in time for the request's indices. Return the `pit` member for searches in it, as JSON."""
    options = run.request.params.only(targets.OPENING)
    unused_s = min(UNUSED_S, _seconds_left(run.deadline))
    query = f"keep_alive={unused_s}s" + (f"&{options}" if options else "")
    opened = await run.send("POST", target(run.request.index or "_all", "_pit", query), b"")
    with reading(AN_INNER_SEARCH):
        pit_id = Printer(pretty=False).value(text(members(opened.body)["id"]))
    return b'{"id":%b,"keep_alive":"%ds"}' % (pit_id, _seconds_left(run.deadline))


def _seconds_left(deadline: Deadline) -> int:
    """Return the whole seconds until then, rounded up: so long, a search may need its point in time."""
    left = math.ceil(deadline.at - asyncio.get_running_loop().time())
    return min(max(left, 1), _MAX_KEEP_ALIVE_S)


async def _closed(upstream: Upstream, pit_id: bytes) -> object:
    """Try to close a point in time. Return what went wrong; None if it is closed, or can never be."""
    try:
        reply = await upstream.request("DELETE", "/_pit", b'{"id":' + pit_id + b"}")
    except Exception as failure:  # of any kind: the answer to the search does not depend on it
        return failure
    return None if reply.status < 429 else f"upstream answered [DELETE /_pit] with status [{reply.status}]"
