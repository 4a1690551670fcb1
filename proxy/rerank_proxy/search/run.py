"""One search under way: what it has sent, waited for and been told."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from rerank_proxy.concurrency.deadline import Deadline
from rerank_proxy.errors import illegal_argument
from rerank_proxy.observe.outcome import Applied, Outcome, Skipped, of_tree
from rerank_proxy.search.language.request import SearchRequest
from rerank_proxy.search.retrievers.compound import CompoundRetriever
from rerank_proxy.search.timings import Timings
from rerank_proxy.upstream.protocol import Reply, TooLateError, Upstream, UpstreamRefusedError

InnerSearch = Callable[[bytes], Coroutine[Any, Any, Reply]]
"""Sends the body of an inner search."""
AN_INNER_SEARCH: Final = "an inner search"
"""What was asked, for `rerank_proxy.upstream.protocol.reading`."""
_ALWAYS_BYTES: Final = 32 * 1024 * 1024
_TIMES: Final = 2


class InnerBytes:
    """A bound on what the inner searches of one client's request are made of.

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
        """Reserve the clauses of all inner searches of one tree for the length of the block.

        Raises:
            ElasticsearchError: 400, there is no room for them.
        """
        if size > self._free:
            reason = (
                f"the inner searches of this request come to more than [{self._most}] bytes: a [filter] goes "
                "along with the search of each retriever below it; use a shorter one or fewer retrievers"
            )
            raise illegal_argument(reason)
        self._free -= size
        try:
            yield
        finally:
            self._free += size


@dataclass(slots=True)
class SearchAnswer:
    """What the client is told: the body, upstream's headers, and what happened."""

    body: bytes
    headers: Sequence[tuple[str, str]]
    outcome: Outcome
    timings: Timings


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

    def answer(self, body: bytes, last: Reply) -> SearchAnswer:
        """Return the answer of the search.

        Args:
            last: Upstream's answer whose headers the client gets.
        """
        headers = [(name, value) for name, value in last.headers if name.lower() != "warning"]
        headers += [("Warning", value) for value in self.warnings]
        tree = self.request.retriever.walk()
        types = [each.TYPE for each in tree if isinstance(each, CompoundRetriever)]
        return SearchAnswer(body, headers, of_tree(types, self.outcomes), self.timings)

    async def send(self, method: str, target: str, body: bytes) -> Reply:
        """Send a request upstream that finds documents, or is needed for that. Return its answer.

        Raises:
            UpstreamRefusedError: Upstream answered otherwise than with 200.
            ElasticsearchError: 504, the search has taken too long altogether.
        """
        with self.timings.searching():
            return await self.ask(method, target, body)

    async def ask(self, method: str, target: str, body: bytes, by: Deadline | None = None) -> Reply:
        """Send a request upstream for something else. Return its answer, or raise as `send` does.

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
