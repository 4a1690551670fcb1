"""Ask the store for outputs, and write outputs to it, so that no search fails or stalls for it.

- A call waits for an answer only briefly. One that comes later still fills the first level.
- After faults the store is left out, for ever longer. It is tried again in the background: no call waits for
  a connection that may never be made.
- Outputs are written in the background, and given up where too many of them wait.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Final

from rerank_proxy.concurrency.tasks import BackgroundTasks
from rerank_proxy.concurrency.timers import Timers
from rerank_proxy.engine.metrics import EngineMetrics
from rerank_proxy.engine.rows import Output
from rerank_proxy.engine.shared_cache.breaker import Breaker
from rerank_proxy.engine.shared_cache.codec import decode, encode, key_prefix
from rerank_proxy.engine.shared_cache.metrics import SharedCacheMetrics
from rerank_proxy.engine.shared_cache.software import software
from rerank_proxy.engine.shared_cache.store import RefusedError, Store
from rerank_proxy.engine.shared_cache.write_queue import WriteQueue
from rerank_proxy.settings.sections.shared_cache import SharedCacheSettings

_log = logging.getLogger(__name__)

MOST_LOOKUPS: Final = 16
"""Under way at a time. A further call does without: the store answers too slowly for so many."""

LATE_IN_A_ROW: Final = 3
"""So many late answers are a fault: one alone may be the fault of this process, which was busy."""

QUEUE_BYTES: Final = 16 * 1024 * 1024

_RETRY_S: Final = 1.0
_LONGEST_RETRY_S: Final = 60.0
_ANSWER_S: Final = 2.0
"""Seconds after which a connection without an answer is given up."""

_CLOSE_S: Final = 1.0

_STEP_VALUES: Final = 256
_STEP_BYTES: Final = 256 * 1024
"""Values that are decoded in one step on the event loop: about a millisecond."""

_REASON_CHARACTERS: Final = 200


@dataclass(slots=True)
class Patience:
    """Whether a call still waits for the store.

    Attributes:
        spent: It has waited in vain.
    """

    spent: bool = False


class SharedCache:
    """The second level of the cache. Belongs to the event loop that starts it.

    Args:
        open_store: Returns the store. Called on a thread, once; again after it failed.
        found: Called with every output that was found.
        retry_s: Seconds after a fault until the store is tried again, at first.
        clock: In seconds.
    """

    def __init__(
        self,
        open_store: Callable[[], Store],
        settings: SharedCacheSettings,
        found: Callable[[bytes, Output], None],
        engine_metrics: EngineMetrics,
        metrics: SharedCacheMetrics,
        retry_s: float = _RETRY_S,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._open_store = open_store
        self._settings = settings
        self._found = found
        self._engine_metrics = engine_metrics
        self._metrics = metrics
        self._store: Store | None = None
        self._software = ""
        self._reads = Breaker(clock, retry_s, _LONGEST_RETRY_S)
        self._writes = Breaker(clock, retry_s, _LONGEST_RETRY_S, used=True)
        self._told = False
        self._late = 0
        self._queue = WriteQueue(QUEUE_BYTES)
        self._writing: asyncio.Task[None] | None = None
        self._lookups = BackgroundTasks()
        self._tasks = BackgroundTasks()
        self._timers = Timers()
        self._closed = False

    @property
    def used(self) -> bool:
        """Whether the store worked last."""
        return self._reads.used

    def start(self) -> None:
        """Begin to connect to the store. Does not wait for it."""
        self._tasks.start(self._connect(), "shared-cache-connect")

    async def lookup(
        self, model: str, info: Mapping[str, str], keys: Sequence[bytes], patience: Patience
    ) -> dict[bytes, Output]:
        """Return those outputs that the store has, by key, as far as it answers in time.

        Args:
            model: Its name.
            info: What is loaded, as `LoadedModel.info`.
            patience: Of the call. It does not wait again for a store that was late once.
        """
        prefix = key_prefix(self._settings.prefix, self._software, info)
        if not self._reads.used or prefix is None or not keys or patience.spent:
            return {}
        if len(self._lookups) >= MOST_LOOKUPS:
            self._metrics.errors.labels("busy").inc()
            return {}
        task = self._lookups.start(self._look_up(prefix, keys), "shared-cache-lookup")
        # The task goes on if it is late, or the call is given up: its connection is in good order then.
        done, _ = await asyncio.wait([task], timeout=self._settings.timeout_s)
        outputs = task.result() if done and not task.cancelled() else {}
        if done:
            self._late = 0
        else:
            patience.spent = True
            self._came_late()
        self._engine_metrics.cache.shared_hits.labels(model).inc(len(outputs))
        self._engine_metrics.cache.shared_misses.labels(model).inc(len(keys) - len(outputs))
        return outputs

    def remember(self, info: Mapping[str, str], outputs: Mapping[bytes, Output]) -> None:
        """Have outputs written in the background, as far as there is room for them to wait."""
        prefix = key_prefix(self._settings.prefix, self._software, info)
        if prefix is None or self._closed:
            return
        if not (self._reads.used and self._writes.may_try):
            self._metrics.dropped.inc(len(outputs))
            return
        for key, output in outputs.items():
            if not self._queue.put(prefix + key, output):
                self._metrics.dropped.inc()
        if self._writing is None or self._writing.done():
            self._writing = self._tasks.start(self._write(), "shared-cache-write")

    async def written(self) -> None:
        """Wait until nothing waits to be written."""
        if self._writing is not None:
            await asyncio.wait([self._writing])

    async def close(self) -> None:
        """Close the connections, after a moment for what waits to be written."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_S):
                await self.written()
        self._closed = True
        self._timers.cancel()
        await self._lookups.cancel()
        await self._tasks.cancel()
        self._metrics.dropped.inc(self._queue.clear())
        if self._store is not None:
            try:
                async with asyncio.timeout(_ANSWER_S):
                    await self._store.close()
            except Exception as error:  # A library's own, of whatever kind.
                _log.debug("shared cache [%s] was not closed in good order: %s", self._settings.url, error)

    async def _connect(self) -> None:
        try:
            store = self._store or await self._open()
            async with asyncio.timeout(_ANSWER_S):
                await store.connect()
        except Exception as error:  # A library's own, of whatever kind.
            self._metrics.errors.labels("failed").inc()
            self._leave_out(_reason(error))
            return
        self._late = 0
        self._told = False
        self._metrics.used.set(1)
        if self._reads.succeed():
            _log.info("shared cache [%s] is used", self._settings.url)

    async def _open(self) -> Store:
        """Open the store on a thread: libraries are imported, and files read."""
        self._software = await asyncio.to_thread(software)
        self._store = await asyncio.to_thread(self._open_store)
        return self._store

    async def _look_up(self, prefix: bytes, keys: Sequence[bytes]) -> dict[bytes, Output]:
        assert self._store is not None
        outputs: dict[bytes, Output] = {}
        stored = [prefix + key for key in keys]
        try:
            async with asyncio.timeout(_ANSWER_S):
                values = await self._store.get_many(stored)
        except Exception as error:  # A library's own, of whatever kind.
            self._failed(error)
            return outputs
        for start, end in _steps(values):
            for at in range(start, end):
                value = values[at]
                output = None if value is None else decode(stored[at], value)
                if output is not None:
                    outputs[keys[at]] = output
                    self._found(keys[at], output)
                elif value is not None:
                    self._metrics.errors.labels("invalid").inc()
            if end < len(values):
                await asyncio.sleep(0)
        return outputs

    def _came_late(self) -> None:
        self._metrics.errors.labels("late").inc()
        self._late += 1
        if self._late >= LATE_IN_A_ROW and self._reads.used:
            self._leave_out(f"its answers take longer than {self._settings.timeout_s:g} s")

    def _failed(self, error: Exception) -> None:
        self._metrics.errors.labels("failed").inc()
        if self._reads.used:
            self._leave_out(_reason(error))

    def _leave_out(self, reason: str) -> None:
        """Do without the store for a while, and then try it again."""
        if self._closed:
            return
        self._reads.fail()
        self._metrics.used.set(0)
        self._metrics.dropped.inc(self._queue.clear())
        if not self._told:
            self._told = True
            _log.warning("shared cache [%s] is left out: %s", self._settings.url, reason)
        self._timers.start("connect", self._reads.wait_s, self.start)

    async def _write(self) -> None:
        assert self._store is not None
        while outputs := self._queue.take():
            values = {key: encode(key, output) for key, output in outputs.items()}
            try:
                async with asyncio.timeout(_ANSWER_S):
                    await self._store.put_many(values, self._settings.ttl_s)
            except RefusedError as error:
                self._not_taken(_reason(error), len(outputs))
            except Exception as error:  # A library's own, of whatever kind.
                self._metrics.dropped.inc(len(outputs))
                self._failed(error)
            else:
                self._metrics.written.inc(len(outputs))
                if self._writes.succeed():
                    _log.info("shared cache [%s] takes outputs again", self._settings.url)

    def _not_taken(self, reason: str, count: int) -> None:
        """Write nothing for a while, and read on."""
        self._metrics.errors.labels("refused").inc()
        self._metrics.dropped.inc(count + self._queue.clear())
        if self._writes.fail():
            _log.warning("shared cache [%s] takes no outputs: %s", self._settings.url, reason)


def _steps(values: Sequence[bytes | None]) -> Iterator[tuple[int, int]]:
    """Yield where each step of decoding begins and ends."""
    start = size = 0
    for at, value in enumerate(values):
        size += 0 if value is None else len(value)
        if at + 1 - start >= _STEP_VALUES or size >= _STEP_BYTES:
            yield start, at + 1
            start, size = at + 1, 0
    if start < len(values):
        yield start, len(values)


def _reason(error: Exception) -> str:
    """Return what an error says, in a line for people."""
    if isinstance(error, TimeoutError):
        return f"it does not answer within {_ANSWER_S:g} s"
    text = " ".join(str(error).split())[:_REASON_CHARACTERS]
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
