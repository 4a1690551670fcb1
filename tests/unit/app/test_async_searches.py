"""Searches that outlive their request: found by their owner alone, bounded, and gone in time."""

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.app.async_searches import AsyncSearch, AsyncSearches
from rerank_proxy.errors import Cause, ElasticsearchError
from rerank_proxy.search.answer.async_response import AsyncResult, completed
from rerank_proxy.settings import AsyncSearchSettings
from tests.support.raw_http import TIMEOUT_S

MINUTE = 60_000
ME, YOU = b"my digest", b"your digest"
Run = Callable[[], Coroutine[Any, Any, AsyncResult]]


class Clock:
    now = 1_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


class Start:
    """Makes stores that are closed after the test."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self.stores: list[AsyncSearches] = []

    def __call__(self, **settings: Any) -> AsyncSearches:
        self.stores.append(AsyncSearches(AsyncSearchSettings.model_validate(settings), self._clock))
        return self.stores[-1]


@pytest.fixture
async def start(clock: Clock) -> AsyncIterator[Start]:
    make = Start(clock)
    yield make
    for store in make.stores:
        await store.close()


def giving(size: int = 10) -> Run:
    async def run() -> AsyncResult:
        return completed(b"x" * size, [])

    return run


class Held:
    """A search that ends when it is told to."""

    def __init__(self, size: int = 10) -> None:
        self.may_end = asyncio.Event()
        self.cancelled = asyncio.Event()
        self._size = size

    async def __call__(self) -> AsyncResult:
        try:
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return completed(b"x" * self._size, [])


async def kept(store: AsyncSearches, run: Run, owner: bytes = ME, keep_alive: int = MINUTE) -> AsyncSearch:
    """A search that has had time to end if it can."""
    search = store.start(owner, run, keep_alive)
    await store.wait(search, 1)
    store.keep(search)
    return search


def status_of(store: AsyncSearches, search: AsyncSearch, owner: bytes = ME) -> int:
    """200, or that of the refusal."""
    try:
        found = store.find(search.id, owner)
    except ElasticsearchError as failure:
        return failure.status
    return 200 if found is search else 500


async def test_a_result_is_there_when_the_search_has_ended(start: Start, clock: Clock) -> None:
    store, run = start(), Held()
    search = await kept(store, run)
    clock.now += 7
    running = store.progress(search)
    assert (running.id, running.result, running.took) == (search.id, None, 7)
    assert (running.start_time, running.expiration_time) == (1_000_000, 1_000_000 + MINUTE)
    run.may_end.set()
    await store.wait(search, 20_000)
    assert store.progress(search).result == completed(b"x" * 10, [])


async def test_a_clock_that_is_put_back_gives_no_negative_time(start: Start, clock: Clock) -> None:
    store = start()
    search = await kept(store, Held())
    clock.now -= MINUTE
    assert store.progress(search).took == 0


async def test_waiting_ends_with_its_time_and_leaves_the_search_alone(start: Start) -> None:
    store, run = start(), Held()
    search = await kept(store, run)
    for timeout in (1, 0, -1):
        await store.wait(search, timeout)
    assert search.result is None
    assert not run.cancelled.is_set()


async def test_who_stops_waiting_does_not_end_the_search(start: Start) -> None:
    store, run = start(), Held()
    search = await kept(store, run)
    waiting = asyncio.create_task(store.wait(search, 20_000))
    await asyncio.sleep(0)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)
    run.may_end.set()
    await store.wait(search, 20_000)
    assert search.result is not None


class TestOwner:
    async def test_other_callers_are_told_that_there_is_none(self, start: Start) -> None:
        store = start()
        search = await kept(store, giving())
        assert status_of(store, search, ME) == 200
        assert status_of(store, search, YOU) == 404
        with pytest.raises(ElasticsearchError) as raised:
            store.find(search.id, YOU)
        assert raised.value.cause == Cause("resource_not_found_exception", search.id)

    async def test_what_is_not_kept_cannot_be_found(self, start: Start) -> None:
        store = start()
        search = store.start(ME, giving(), MINUTE)
        assert store.progress(search).id is None
        assert status_of(store, search) == 404
        store.keep(search)
        assert status_of(store, search) == 200

    async def test_ids_are_never_the_same(self, start: Start) -> None:
        store = start()
        assert len({(await kept(store, giving())).id for _ in range(100)}) == 100


class TestKeepAlive:
    async def test_a_search_is_gone_when_its_time_is_over(self, start: Start, clock: Clock) -> None:
        store = start()
        search = await kept(store, giving())
        clock.now += MINUTE - 1
        assert status_of(store, search) == 200
        clock.now += 1
        assert status_of(store, search) == 404
        clock.now -= MINUTE  # it is forgotten, not only hidden
        assert status_of(store, search) == 404

    async def test_its_time_can_be_made_longer_and_shorter(self, start: Start, clock: Clock) -> None:
        store = start()
        search = await kept(store, giving())
        clock.now += MINUTE - 1
        store.extend(search, MINUTE)
        clock.now += MINUTE - 1
        assert status_of(store, search) == 200
        store.extend(search, 1000)
        clock.now += 1000
        assert status_of(store, search) == 404

    async def test_no_time_is_longer_than_the_longest(self, start: Start, clock: Clock) -> None:
        store = start(max_keep_alive_s=2.5)
        search = await kept(store, giving(), keep_alive=2**60)
        assert search.expires == clock.now + 2500
        clock.now += 1000
        store.extend(search, 2**60)
        assert search.expires == clock.now + 2500

    async def test_one_that_expires_before_it_is_kept(self, start: Start) -> None:
        store, run = start(), Held()
        ended, running = store.start(ME, giving(), 20), store.start(ME, run, 50)
        await store.wait(ended, 20_000)
        await asyncio.wait_for(run.cancelled.wait(), TIMEOUT_S)
        store.keep(ended)
        assert store.progress(ended).id is None
        assert ended.result == completed(b"x" * 10, [])
        with pytest.raises(ElasticsearchError) as raised:
            store.keep(running)
        assert raised.value.status == 404

    @pytest.mark.parametrize("how", ["from the start", "by a shorter time"])
    async def test_one_that_runs_is_ended_even_if_no_client_asks(self, start: Start, how: str) -> None:
        store, run = start(), Held()
        search = store.start(ME, run, 50 if how == "from the start" else MINUTE)
        store.keep(search)
        await asyncio.sleep(0)  # it begins
        if how != "from the start":
            store.extend(search, 50)
        await asyncio.wait_for(run.cancelled.wait(), TIMEOUT_S)
        assert status_of(store, search) == 404

    async def test_a_longer_time_holds_off_the_end(self, start: Start) -> None:
        store = start()
        other, run = Held(), Held()
        search = await kept(store, run)
        store.extend(search, 1)
        store.extend(search, MINUTE)
        store.keep(store.start(ME, other, 20))
        await asyncio.wait_for(other.cancelled.wait(), TIMEOUT_S)
        assert not run.cancelled.is_set()


class TestRemove:
    async def test_one_that_runs_is_cancelled(self, start: Start) -> None:
        store, run = start(), Held()
        search = await kept(store, run)
        waiting = asyncio.create_task(store.wait(search, 20_000))
        await asyncio.sleep(0)
        store.remove(search)
        await asyncio.wait_for(waiting, TIMEOUT_S)
        assert run.cancelled.is_set()
        assert status_of(store, search) == 404
        store.remove(search)  # a second time does no harm

    async def test_at_the_end_all_are_waited_for(self, start: Start) -> None:
        store = start()
        ended: list[str] = []

        async def run() -> AsyncResult:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0)
                ended.append("a search")
            raise AssertionError

        searches = [await kept(store, run) for _ in range(3)]
        store.remove(searches[0])
        await store.close()
        assert len(ended) == 3
        assert [status_of(store, search) for search in searches] == [404, 404, 404]


class TestBounds:
    async def test_the_oldest_that_has_ended_makes_room(self, start: Start) -> None:
        store = start(max_searches=3)
        running = await kept(store, Held())
        first, second = Held(), Held()
        searches = [await kept(store, run) for run in (first, second)]
        for run, search in zip((second, first), reversed(searches), strict=True):
            run.may_end.set()
            await store.wait(search, 20_000)
        new = await kept(store, Held())
        assert status_of(store, searches[1]) == 404  # the second was the first to end
        assert [status_of(store, search) for search in (running, searches[0], new)] == [200, 200, 200]

    async def test_when_all_are_running_a_new_one_is_refused(self, start: Start) -> None:
        store = start(max_searches=2)
        first, second = [await kept(store, Held()) for _ in range(2)]
        with pytest.raises(ElasticsearchError) as raised:
            store.start(ME, giving(), MINUTE)
        assert raised.value.status == 429
        assert raised.value.cause.type == "es_rejected_execution_exception"
        assert "[async_search.max_searches: 2]" in raised.value.cause.reason
        assert [status_of(store, search) for search in (first, second)] == [200, 200]
        store.remove(first)
        assert status_of(store, await kept(store, giving())) == 200

    async def test_who_begins_many_pushes_out_no_results_of_others(self, start: Start) -> None:
        store = start(max_searches=4)
        yours = await kept(store, giving(), YOU)
        mine = [await kept(store, giving(), ME) for _ in range(9)]
        assert status_of(store, yours, YOU) == 200
        assert [status_of(store, search) for search in mine[-3:]] == [200] * 3
        running = [await kept(store, Held(), ME) for _ in range(3)]
        with pytest.raises(ElasticsearchError):
            store.start(ME, giving(), MINUTE)
        assert status_of(store, yours, YOU) == 200
        assert [status_of(store, search) for search in running] == [200] * 3

    async def test_who_has_them_all_keeps_no_one_from_searching(self, start: Start) -> None:
        store = start(max_searches=4)
        for _ in range(4):
            await kept(store, Held(), ME)
        for _ in range(2):
            await kept(store, Held(), YOU)
        for owner in (ME, YOU, b"a third one"):
            with pytest.raises(ElasticsearchError):
                store.start(owner, giving(), MINUTE)

    async def test_who_has_the_most_bytes_gives_way(self, start: Start) -> None:
        store = start(max_bytes=100)
        yours = await kept(store, giving(30), YOU)
        mine, new = await kept(store, giving(60), ME), await kept(store, giving(40), ME)
        assert [status_of(store, mine), status_of(store, new)] == [404, 200]
        assert status_of(store, yours, YOU) == 200

    async def test_the_oldest_results_are_dropped_when_bytes_run_out(self, start: Start) -> None:
        store = start(max_bytes=100)
        old, middle = await kept(store, giving(40)), await kept(store, giving(60))
        assert [status_of(store, search) for search in (old, middle)] == [200, 200]
        new = await kept(store, giving(1))
        assert [status_of(store, search) for search in (old, middle, new)] == [404, 200, 200]

    async def test_what_is_deleted_counts_no_longer(self, start: Start) -> None:
        store = start(max_bytes=100)
        old, deleted = await kept(store, giving(40)), await kept(store, giving(60))
        store.remove(deleted)
        new = await kept(store, giving(60))
        assert [status_of(store, search) for search in (old, new)] == [200, 200]

    async def test_what_is_not_kept_does_not_count(self, start: Start) -> None:
        store = start(max_bytes=100)
        old = await kept(store, giving(40))
        passing = store.start(ME, giving(1000), MINUTE)
        await store.wait(passing, 20_000)
        assert passing.result == completed(b"x" * 1000, [])
        store.remove(passing)
        assert status_of(store, old) == 200

    @pytest.mark.parametrize("keep", ["before it ends", "after it has ended"])
    async def test_a_result_of_more_bytes_than_all_may_have_becomes_a_failure(
        self, start: Start, keep: str
    ) -> None:
        store, run = start(max_bytes=1000), Held(1001)
        old = await kept(store, giving(40))
        if keep == "after it has ended":
            run.may_end.set()
        search = await kept(store, run)
        run.may_end.set()
        await store.wait(search, 20_000)
        assert search.result is not None
        assert search.result.status == 400
        assert search.result.error is not None
        assert b"larger than [1000] bytes" in search.result.error
        assert [status_of(store, each) for each in (old, search)] == [200, 200]

    @given(st.data())
    async def test_never_more_than_the_bounds(self, data: st.DataObject) -> None:
        """Whatever is begun, ended, kept and deleted, in whatever order."""
        store = AsyncSearches(AsyncSearchSettings(max_searches=4, max_bytes=100))
        searches: list[tuple[AsyncSearch, Held]] = []
        for _ in range(data.draw(st.integers(1, 25))):
            match data.draw(st.sampled_from(["start", "keep", "end", "remove"])):
                case "start":
                    run = Held(data.draw(st.integers(0, 100)))
                    try:
                        searches.append((store.start(ME, run, MINUTE), run))
                    except ElasticsearchError:
                        continue
                case what if searches:
                    search, run = data.draw(st.sampled_from(searches))
                    if what == "keep":
                        with suppress(ElasticsearchError):  # removed while it ran
                            store.keep(search)
                    elif what == "end":
                        run.may_end.set()
                        await store.wait(search, 20_000)
                    else:
                        store.remove(search)
            found = [search for search, _ in searches if status_of(store, search) == 200]
            assert len(found) <= 4
            assert sum(search.result.size for search in found if search.result is not None) <= 100
        await store.close()
