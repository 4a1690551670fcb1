"""One search under way: what it has sent, waited for and been told."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from rerank_proxy.concurrency.deadline import Deadline
from rerank_proxy.errors import error
from rerank_proxy.observe.outcome import Applied, Skipped
from rerank_proxy.search.language.request import SearchRequest
from rerank_proxy.upstream.protocol import Reply, TooLateError, Upstream, UpstreamRefusedError

InnerSearch = Callable[[bytes], Coroutine[Any, Any, Reply]]
"""Sends the body of an inner search."""
AN_INNER_SEARCH: Final = "an inner search"
"""What was asked, for `rerank_proxy.upstream.protocol.reading`."""
_ALWAYS_BYTES: Final = 32 * 1024 * 1024
_TIMES: Final = 2


class InnerBytes:
    """Bounds what the inner searches of one client's request are made of.

    A filter is repeated in the search of each retriever below it, so a thousand small retrievers could make
    a thousand copies of a large one.

    Args:
        requested: Bytes of the request's body. Twice as many, and 32 MiB, are free.
    """

    def __init__(self, requested: int) -> None:
        self._most: Final = _ALWAYS_BYTES + _TIMES * requested
        self._free = self._most

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Count the clauses of all inner searches of one tree until that is answered.

        Raises:
            ElasticsearchError: 400, there is no room for it.
        """
        if size > self._free:
            reason = (
                f"the inner searches of this request come to more than [{self._most}] bytes: a [filter] goes "
                "along with the search of each retriever below it; use a shorter one or fewer retrievers"
            )
            raise error(400, "illegal_argument_exception", reason)
        self._free -= size
        try:
            yield
        finally:
            self._free += size


class Stopwatch:
    """Runs while at least one of its blocks is entered: what goes on side by side counts once.

    Attributes:
        seconds: That it has run, up to its last stop.

    Args:
        clock: In seconds.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self.seconds = 0.0
        self._clock = clock
        self._entered = 0
        self._since = 0.0

    def __enter__(self) -> None:
        if self._entered == 0:
            self._since = self._clock()
        self._entered += 1

    def __exit__(self, *exception: object) -> None:
        self._entered -= 1
        if self._entered == 0:
            self.seconds += self._clock() - self._since


class Timings:
    """What one search waited for.

    Attributes:
        upstream: Inner searches.
        scores: The scores of its rerankers.
        others: Either of both, or both at once.
    """

    def __init__(self, clock: Callable[[], float] = time.perf_counter) -> None:
        self.upstream = Stopwatch(clock)
        self.scores = Stopwatch(clock)
        self.others = Stopwatch(clock)

    @contextmanager
    def searching(self) -> Iterator[None]:
        """Around an inner search."""
        with self.upstream, self.others:
            yield

    @contextmanager
    def scoring(self) -> Iterator[None]:
        """Around the rank phase of a reranker."""
        with self.scores, self.others:
            yield


@dataclass(slots=True)
class Run:
    """The state of one search.

    Attributes:
        deadline: For upstream and scores together.
        scores_by: For the scores: it may be sooner.
        inner: Shared by the searches of one client's request.
        windows: The words that the models of endpoints read, by the endpoints that were asked for.
        outcomes: One for each reranker, in the order in which they finished.
    """

    request: SearchRequest
    upstream: Upstream
    inner: InnerBytes
    deadline: Deadline
    scores_by: Deadline
    started: float = field(default_factory=time.perf_counter)
    timings: Timings = field(default_factory=Timings)
    warnings: dict[str, None] = field(default_factory=dict)
    windows: dict[str, int] = field(default_factory=dict)
    outcomes: list[Applied | Skipped] = field(default_factory=list)

    @property
    def took_ms(self) -> int:
        return round((time.perf_counter() - self.started) * 1000)

    async def send(self, method: str, target: str, body: bytes) -> Reply:
        """One request upstream that finds documents, or is needed for that.

        Raises:
            UpstreamRefusedError: For any answer but success.
            ElasticsearchError: 504, the search has taken too long altogether.
        """
        with self.timings.searching():
            return await self.ask(method, target, body)

    async def ask(self, method: str, target: str, body: bytes, by: Deadline | None = None) -> Reply:
        """One request upstream for something else; raises as `send`.

        Args:
            by: A sooner deadline than the search's own.
        """
        deadline = by or self.deadline
        try:
            async with asyncio.timeout_at(deadline.at):
                answer = await self.upstream.request(method, target, body)
        except TimeoutError:
            raise TooLateError(method, target, deadline) from None
        if answer.status != 200:
            raise UpstreamRefusedError(answer)
        self.warnings.update(dict.fromkeys(v for n, v in answer.headers if n.lower() == "warning"))
        return answer
