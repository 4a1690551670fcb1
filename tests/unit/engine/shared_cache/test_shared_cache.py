"""Whatever the store does, a call goes on: it waits briefly, and does without."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any

import numpy as np
import pytest
from prometheus_client import CollectorRegistry

from rerank_proxy.engine.metrics import EngineMetrics
from rerank_proxy.engine.rows import Output
from rerank_proxy.engine.shared_cache.metrics import SharedCacheMetrics
from rerank_proxy.engine.shared_cache.redis_store import RedisStore
from rerank_proxy.engine.shared_cache.shared_cache import (
    LATE_IN_A_ROW,
    MOST_LOOKUPS,
    QUEUE_BYTES,
    Patience,
    SharedCache,
)
from rerank_proxy.engine.shared_cache.store import RefusedError, Store
from rerank_proxy.settings.sections.shared_cache import SharedCacheSettings
from tests.support.raw_http import TIMEOUT_S
from tests.support.valkey import CLOSES, HANGS, Answer, misbehaving, valkey
from tests.support.waiting import until_true

INFO = {"fingerprint": "f", "precision": "fp32", "device": "cpu"}
AT_ONCE = 1e-9


def output(number: float) -> Output:
    return Output(np.array([number], np.float32), False)


class Shared:
    """A shared cache, its first level and its metrics."""

    def __init__(self, open_store: Callable[[], Store], timeout_s: float, retry_s: float) -> None:
        self.registry = CollectorRegistry()
        self.first_level: dict[bytes, Output] = {}
        settings = SharedCacheSettings(url="redis://store", timeout_s=timeout_s)
        self.cache = SharedCache(
            open_store,
            settings,
            self.first_level.__setitem__,
            EngineMetrics(self.registry),
            SharedCacheMetrics(self.registry),
            retry_s,
        )

    def count(self, name: str, **labels: str) -> float:
        return self.registry.get_sample_value(f"rerank_proxy_engine_shared_cache_{name}", labels) or 0.0

    async def lookup(self, *keys: bytes, patience: Patience | None = None) -> dict[bytes, float]:
        found = await self.cache.lookup("m", INFO, keys, patience or Patience())
        return {key: float(output.values[0]) for key, output in found.items()}


@asynccontextmanager
async def shared(
    open_store: Callable[[], Store], timeout_s: float = TIMEOUT_S, retry_s: float = TIMEOUT_S
) -> AsyncIterator[Shared]:
    started = Shared(open_store, timeout_s, retry_s)
    started.cache.start()
    try:
        yield started
    finally:
        await started.cache.close()


def redis(port: int) -> Callable[[], Store]:
    return lambda: RedisStore(SharedCacheSettings(url=f"redis://127.0.0.1:{port}"))


async def used(shared: Shared) -> None:
    await until_true(lambda: shared.cache.used)


class Doubled:
    """A store in memory that does as the test says."""

    def __init__(self) -> None:
        self.values: dict[bytes, bytes] = {}
        self.asked = 0
        self.answers = asyncio.Event()
        self.answers.set()
        self.fault: Exception | None = None

    async def connect(self) -> None:
        pass

    async def get_many(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        self.asked += 1
        await self.answers.wait()
        return [self.values.get(key) for key in keys]

    async def put_many(self, values: Mapping[bytes, bytes], ttl_s: int) -> None:
        await self.answers.wait()
        if self.fault is not None:
            raise self.fault
        self.values |= values

    async def close(self) -> None:
        pass


async def test_what_one_remembers_another_finds() -> None:
    with valkey() as port:
        async with shared(redis(port)) as one, shared(redis(port)) as other:
            await used(one)
            await used(other)
            one.cache.remember(INFO, {b"a": output(1.5), b"b": output(2.5)})
            await one.cache.written()
            assert await other.lookup(b"a", b"c", b"b") == {b"a": 1.5, b"b": 2.5}
            assert set(other.first_level) == {b"a", b"b"}
            assert await other.cache.lookup("m", {**INFO, "precision": "int8"}, [b"a"], Patience()) == {}
            assert (one.count("written_total"), one.count("dropped_total")) == (2, 0)
            assert other.count("hits_total", model="m") == 2
            assert other.count("misses_total", model="m") == 2


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: CLOSES,
        lambda _: b"*1\r\n$100\r\nthe beginning" + CLOSES,
        lambda _: b"*1\r\n$nonsense\r\n",
        lambda _: b"HTTP/1.1 400 Bad Request\r\n\r\n",
        lambda _: b"-LOADING it is loading\r\n",
        lambda _: b"*3\r\n$-1\r\n$-1\r\n$-1\r\n",
    ],
)
async def test_after_a_fault_it_is_left_out_until_it_works(
    answer: Answer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "rerank_proxy")
    async with misbehaving(answer) as server, shared(redis(server.port), retry_s=AT_ONCE) as started:
        await used(started)
        assert await started.lookup(b"a") == {}
        assert started.count("errors_total", reason="failed") == 1
        await used(started)
        assert started.count("used") == 1
        server.answer = lambda _: b"*1\r\n$-1\r\n"
        assert await started.lookup(b"a") == {}
        assert started.count("errors_total", reason="failed") == 1
    said = [record.getMessage().partition("] ")[2].partition(":")[0] for record in caplog.records]
    assert said == ["is used", "is left out", "is used"]


async def test_a_server_that_is_not_there_costs_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with valkey() as port:
        pass
    async with shared(redis(port), retry_s=AT_ONCE) as started:
        await until_true(lambda: started.count("errors_total", reason="failed") >= 3)
        assert await started.lookup(b"a") == {}
        started.cache.remember(INFO, {b"a": output(1)})
        assert started.count("dropped_total") == 1
    assert len(caplog.records) == 1, "it is told once"


async def test_it_comes_back_with_its_server() -> None:
    with valkey() as port:
        async with shared(redis(port), retry_s=AT_ONCE) as started:
            await used(started)
    with valkey("--port", str(port)):
        async with shared(redis(port), retry_s=AT_ONCE) as started:
            await used(started)


async def test_a_call_waits_once_for_a_server_that_hangs() -> None:
    async with misbehaving(lambda _: HANGS) as server, shared(redis(server.port), AT_ONCE) as started:
        await used(started)
        patience = Patience()
        for _ in range(5):
            assert await started.lookup(b"a", patience=patience) == {}
        assert started.count("errors_total", reason="late") == 1
        for _ in range(2 * LATE_IN_A_ROW):
            assert await started.lookup(b"a") == {}
        assert started.count("errors_total", reason="late") == LATE_IN_A_ROW
        assert not started.cache.used


async def test_a_late_answer_fills_the_first_level() -> None:
    store = Doubled()
    async with shared(lambda: store, AT_ONCE) as started:
        await used(started)
        started.cache.remember(INFO, {b"a": output(1.5)})
        await started.cache.written()
        store.answers.clear()
        assert await started.lookup(b"a") == {}
        store.answers.set()
        await until_true(lambda: b"a" in started.first_level)
        assert started.cache.used


async def test_late_answers_count_only_in_a_row() -> None:
    store = Doubled()
    async with shared(lambda: store) as started:
        await used(started)
        for _ in range(2 * LATE_IN_A_ROW):
            started.cache._came_late()
            await started.lookup(b"a")
        assert started.cache.used


async def test_lookups_side_by_side_are_bounded() -> None:
    store = Doubled()
    async with shared(lambda: store) as started:
        await used(started)
        store.answers.clear()
        calls = [asyncio.create_task(started.lookup(b"a")) for _ in range(MOST_LOOKUPS)]
        await until_true(lambda: store.asked == MOST_LOOKUPS)
        assert await started.lookup(b"a") == {}
        assert started.count("errors_total", reason="busy") == 1
        store.answers.set()
        await asyncio.gather(*calls)


async def test_a_wrong_value_is_a_missing_one() -> None:
    store = Doubled()
    async with shared(lambda: store) as started:
        await used(started)
        started.cache.remember(INFO, {b"a": output(1), b"b": output(2), b"c": output(3)})
        await started.cache.written()
        first, second, _ = store.values
        store.values[first], store.values[second] = b"\x00", store.values[first]
        assert await started.lookup(b"a", b"b", b"c") == {b"c": 3}
        assert started.count("errors_total", reason="invalid") == 2


async def test_what_waits_to_be_written_is_bounded() -> None:
    store = Doubled()
    large = Output(np.zeros(QUEUE_BYTES // 4 // 4, np.float32), False)
    async with shared(lambda: store) as started:
        await used(started)
        store.answers.clear()
        for number in range(10):
            started.cache.remember(INFO, {str(number).encode(): large})
        dropped = started.count("dropped_total")
        assert dropped >= 5
        store.answers.set()
        await started.cache.written()
        assert started.count("written_total") == len(store.values) == 10 - dropped


async def test_a_store_that_takes_nothing_is_read_on(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "rerank_proxy")
    store = Doubled()
    async with shared(lambda: store, retry_s=AT_ONCE) as started:
        await used(started)
        started.cache.remember(INFO, {b"a": output(1)})
        await started.cache.written()
        store.fault = RefusedError("it is\nfull")
        for _ in range(3):
            started.cache.remember(INFO, {b"b": output(2)})
            await started.cache.written()
        assert await started.lookup(b"a", b"b") == {b"a": 1}
        assert started.count("dropped_total") == 3
        store.fault = None
        started.cache.remember(INFO, {b"b": output(2)})
        await started.cache.written()
        assert await started.lookup(b"b") == {b"b": 2}
    said = [record.getMessage().partition("] ")[2] for record in caplog.records]
    assert said == ["is used", "takes no outputs: RefusedError: it is full", "takes outputs again"]


async def test_a_call_that_is_given_up_leaves_its_lookup_in_good_order() -> None:
    store = Doubled()
    async with shared(lambda: store) as started:
        await used(started)
        store.answers.clear()
        call = asyncio.create_task(started.lookup(b"a"))
        await until_true(lambda: store.asked == 1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        store.answers.set()
        assert await started.lookup(b"a") == {}
        assert started.cache.used


async def test_closing_ends_what_hangs() -> None:
    async with misbehaving(lambda _: HANGS) as server, shared(redis(server.port)) as started:
        await used(started)
        call = asyncio.create_task(started.lookup(b"a"))
        await asyncio.wait_for(server.asked.wait(), TIMEOUT_S)
        await started.cache.close()
        assert await call == {}


def failing(error: Exception) -> Any:
    raise error


async def test_a_store_that_cannot_be_opened() -> None:
    async with shared(lambda: failing(OSError("no file of authorities")), retry_s=AT_ONCE) as started:
        await until_true(lambda: started.count("errors_total", reason="failed") >= 2)
        assert await started.lookup(b"a") == {}
