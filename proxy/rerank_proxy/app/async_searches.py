"""Asynchronous searches, which go on without the request that began them, and their results.

They live in this process, bounded in number and bytes: each until its keep-alive has passed, and none longer
than the process. Where there is no room, those of the caller who has the most give way: no caller can push
out the results of another one, or keep it from searching.
"""

import asyncio
import hmac
import time
from collections import Counter
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from rerank_proxy.async_search_id import new_id
from rerank_proxy.concurrency.tasks import BackgroundTasks
from rerank_proxy.errors import ElasticsearchError, error, illegal_argument, rejected
from rerank_proxy.search.answer.async_response import AsyncResult, SearchProgress, unstorable
from rerank_proxy.settings import AsyncSearchSettings


@dataclass(slots=True, eq=False)
class AsyncSearch:
    """One search; `AsyncSearches` alone changes it.

    Attributes:
        owner: A digest of the credentials of the caller who began it.
        started, expires: Milliseconds since the epoch.
        result: None while it runs.
        kept: The client was told of it, or will be.
    """

    id: str
    owner: bytes
    started: int
    expires: int
    task: asyncio.Task[None]
    timer: asyncio.TimerHandle
    result: AsyncResult | None = None
    kept: bool = False


def _epoch_ms() -> int:
    return time.time_ns() // 1_000_000


class AsyncSearches:
    """All searches of this process.

    Args:
        clock: Milliseconds since the epoch.
    """

    def __init__(self, settings: AsyncSearchSettings, clock: Callable[[], int] = _epoch_ms) -> None:
        self.use(settings)
        self._clock = clock
        self._searches: dict[str, AsyncSearch] = {}
        self._finished: dict[str, AsyncSearch] = {}  # and kept, the oldest first
        self._bytes = 0
        self._tasks = BackgroundTasks()

    def use(self, settings: AsyncSearchSettings) -> None:
        """Use other limits, for what is started, finished or extended from now on."""
        self._max_searches = settings.max_searches
        self._max_bytes = settings.max_bytes
        self._max_keep_alive = int(settings.max_keep_alive_s * 1000)

    @property
    def running(self) -> int:
        """How many have no result yet."""
        return sum(search.result is None for search in self._searches.values())

    @property
    def finished(self) -> int:
        """How many are kept with their result."""
        return len(self._finished)

    @property
    def size_bytes(self) -> int:
        """The bytes of the results that are kept."""
        return self._bytes

    def start(
        self, owner: bytes, run: Callable[[], Coroutine[Any, Any, AsyncResult]], keep_alive_ms: int
    ) -> AsyncSearch:
        """Begin a search. Nothing can find it yet: `keep` it or `remove` it.

        Args:
            run: Makes the result, also out of every failure.

        Raises:
            ElasticsearchError: 429, as many searches as may be are running.
        """
        self._make_room(owner)
        search_id, now = new_id(), self._clock()
        task = self._tasks.start(self._run(search_id, run))
        expires = now + self._limited(keep_alive_ms)
        timer = self._timer(search_id, expires - now)
        search = self._searches[search_id] = AsyncSearch(search_id, owner, now, expires, task, timer)
        return search

    def keep(self, search: AsyncSearch) -> None:
        """Let the search be found by its id from now on. One that has expired meanwhile is not kept.

        Raises:
            ElasticsearchError: 404, it expired before it had a result.
        """
        is_here = search.id in self._searches
        if not is_here and search.result is None:
            raise not_found(search.id)
        if is_here and not search.kept:
            search.kept = True
            if search.result is not None:
                self._finish(search)

    def find(self, search_id: str, owner: bytes) -> AsyncSearch:
        """Return the search with that id.

        Raises:
            ElasticsearchError: 404, there is no such search, it has expired, or it is another caller's.
        """
        search = self._searches.get(search_id)
        if search is None or not search.kept or not hmac.compare_digest(search.owner, owner):
            raise not_found(search_id)
        if search.expires <= self._clock():
            self.remove(search)
            raise not_found(search_id)
        return search

    def extend(self, search: AsyncSearch, keep_alive_ms: int) -> None:
        """Let the search expire that long after now, be that later or sooner than before."""
        keep_alive_ms = self._limited(keep_alive_ms)
        search.expires = self._clock() + keep_alive_ms
        search.timer.cancel()
        search.timer = self._timer(search.id, keep_alive_ms)

    def progress(self, search: AsyncSearch) -> SearchProgress:
        """Return the state of the search, with its id if it is kept."""
        search_id = search.id if search.kept else None
        took = max(0, self._clock() - search.started)  # the clock may have been put back
        return SearchProgress(search_id, search.started, search.expires, took, search.result)

    async def wait(self, search: AsyncSearch, timeout_ms: int) -> None:
        """Wait until the search has ended or been removed, but no longer than that."""
        await asyncio.wait([search.task], timeout=max(0, timeout_ms) / 1000)

    def remove(self, search: AsyncSearch) -> None:
        """Forget the search, and cancel it if it runs."""
        if self._searches.pop(search.id, None) is None:
            return
        search.timer.cancel()
        search.task.cancel()
        if self._finished.pop(search.id, None) is not None and search.result is not None:
            self._bytes -= search.result.size

    async def close(self) -> None:
        """Cancel all searches that run, and wait until they have ended."""
        for search in list(self._searches.values()):
            self.remove(search)
        await self._tasks.finish()

    async def _run(self, search_id: str, run: Callable[[], Coroutine[Any, Any, AsyncResult]]) -> None:
        result = await run()
        search = self._searches.get(search_id)
        if search is not None:
            search.result = result
            if search.kept:
                self._finish(search)

    def _finish(self, search: AsyncSearch) -> None:
        """Count the result of a kept search from now on."""
        assert search.result is not None
        if search.result.size > self._max_bytes:
            search.result = unstorable(_too_large(self._max_bytes))
        self._bytes += search.result.size
        self._finished[search.id] = search
        while self._bytes > self._max_bytes:
            sizes = Counter[bytes]()
            for each in self._finished.values():
                sizes[each.owner] += each.result.size if each.result is not None else 0
            self.remove(self._oldest_of_most(sizes))

    def _make_room(self, owner: bytes) -> None:
        if len(self._searches) < self._max_searches:
            return
        held = Counter(each.owner for each in self._searches.values())
        if self._finished:
            oldest = self._oldest_of_most(held)
            if oldest.owner == owner or held[oldest.owner] > held[owner]:
                self.remove(oldest)
                return
        # Of what one caller has, no more than its part counts against others.
        part = self._max_searches // 2
        of_others = sum(min(number, part) for each, number in held.items() if each != owner)
        if held[owner] >= part or of_others + held[owner] >= self._max_searches:
            reason = f"all of [async_search.max_searches: {self._max_searches}] are running; try again later"
            raise rejected(reason)

    def _oldest_of_most(self, amounts: Counter[bytes]) -> AsyncSearch:
        """Return the oldest finished search of the caller, of those with any, who has the most."""
        most = max(amounts[search.owner] for search in self._finished.values())
        return next(search for search in self._finished.values() if amounts[search.owner] == most)

    def _limited(self, keep_alive_ms: int) -> int:
        return min(keep_alive_ms, self._max_keep_alive)

    def _timer(self, search_id: str, delay_ms: int) -> asyncio.TimerHandle:
        return asyncio.get_running_loop().call_later(delay_ms / 1000, self._expire, search_id)

    def _expire(self, search_id: str) -> None:
        self.remove(self._searches[search_id])


def not_found(search_id: str) -> ElasticsearchError:
    """Return a ``ResourceNotFoundException``, whose reason is just the id."""
    return error(404, "resource_not_found_exception", search_id)


def _too_large(limit: int) -> ElasticsearchError:
    """Return the failure of a search whose result cannot be kept, as ``AsyncTaskIndexService`` words it."""
    reason = (
        f"Can't store an async search response larger than [{limit}] bytes. This limit can be set by "
        "changing the [async_search.max_bytes] setting."
    )
    return illegal_argument(reason)
