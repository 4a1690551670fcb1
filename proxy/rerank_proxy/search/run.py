"""The state of one search that runs: its deadlines, its requests upstream, and what came of them."""

import asyncio
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Final

from rerank_proxy.concurrency.deadline import Deadline
from rerank_proxy.errors import illegal_argument
from rerank_proxy.observe import stages
from rerank_proxy.observe.outcome import HEADER, Applied, Outcome, Skipped, of_tree
from rerank_proxy.observe.stages import Stage
from rerank_proxy.online import search_ids
from rerank_proxy.search.language.request import SearchRequest
from rerank_proxy.search.recording import RecordedSearch, recorded_search
from rerank_proxy.search.retrievers.compound import CompoundRetriever
from rerank_proxy.search.timings import Timings
from rerank_proxy.search.trial import Trial
from rerank_proxy.upstream.protocol import Reply, TooLateError, Upstream, UpstreamRefusedError

InnerSearch = Callable[[bytes], Coroutine[Any, Any, Reply]]
"""Sends the body of an inner search."""
AN_INNER_SEARCH: Final = "an inner search"
"""The request whose answer cannot be read, for `rerank_proxy.upstream.protocol.reading`."""
_ALWAYS_BYTES: Final = 32 * 1024 * 1024
_TIMES: Final = 2


class InnerBytes:
    """A bound on the bytes of the inner searches of one client's request.

    A filter is repeated in the search of each retriever below it, so a thousand small retrievers could make
    a thousand copies of a large filter.

    Args:
        requested: The size of the request's body. The bound is twice that, plus 32 MiB.
    """

    def __init__(self, requested: int) -> None:
        self._most: Final = _ALWAYS_BYTES + _TIMES * requested
        self._free = self._most

    @contextmanager
    def hold(self, size: int) -> Iterator[None]:
        """Reserve room for the clauses of all inner searches of one tree, for the duration of the block.

        Raises:
            ElasticsearchError: 400, there is not enough room for them.
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
    """The answer for the client: the body, upstream's headers, and what happened.

    Attributes:
        search_id: By what clicks name the search; None where none are counted.
    """

    body: bytes
    headers: Sequence[tuple[str, str]]
    outcome: Outcome
    timings: Timings
    search_id: str | None = None

    def told(self) -> list[tuple[str, str]]:
        """Return the headers that say what happened."""
        told = [(HEADER, self.outcome.header())]
        return told if self.search_id is None else [*told, (search_ids.HEADER, self.search_id)]


@dataclass(slots=True)
class Run:
    """The state of one search.

    Attributes:
        inner: The bound on inner searches that all searches of one client's request share.
        deadline: When the search is given up.
        scores_by: When its scoring is given up, which may be sooner.
        started: When the search began, in seconds on the clock of `time.perf_counter`.
        warnings: The `Warning` headers of upstream's answers, as keys in the order in which they came.
        windows: How many words the models of endpoints read, by the ids of endpoints that were used.
        outcomes: One for each reranker, in the order in which they finished.
        trial: The part that the search takes in a comparison; None where clicks are not counted.
        recorded: The recording of the search; None, there is none.
    """

    request: SearchRequest
    upstream: Upstream
    inner: InnerBytes
    deadline: Deadline
    scores_by: Deadline
    started: float = field(default_factory=time.perf_counter)
    timings: Timings = field(default_factory=Timings.of_task)
    warnings: dict[str, None] = field(default_factory=dict)
    windows: dict[str, int] = field(default_factory=dict)
    outcomes: list[Applied | Skipped] = field(default_factory=list)
    trial: Trial | None = None
    recorded: RecordedSearch | None = field(default_factory=recorded_search)

    @property
    def took_ms(self) -> int:
        """The milliseconds since the search began."""
        return round((time.perf_counter() - self.started) * 1000)

    def answer(self, body: bytes, last: Reply) -> SearchAnswer:
        """Return the answer to the search.

        Args:
            last: The answer of upstream whose headers the client gets, with the warnings of all answers.
        """
        headers = [(name, value) for name, value in last.headers if name.lower() != "warning"]
        headers += [("Warning", value) for value in self.warnings]
        tree = self.request.retriever.walk()
        types = [each.TYPE for each in tree if isinstance(each, CompoundRetriever)]
        outcome = of_tree(types, self.outcomes)
        if self.recorded is not None:
            self.recorded.ended(outcome)
        return SearchAnswer(body, headers, outcome, self.timings)

    def begin_again(self) -> None:
        """Forget what was ranked: the search is evaluated in another way."""
        self.outcomes.clear()
        if self.recorded is not None:
            self.recorded.begin_again()

    async def send(
        self,
        method: str,
        target: str,
        body: bytes,
        by: Deadline | None = None,
        stage: Stage = "upstream",
        label: str | None = None,
    ) -> Reply:
        """Send a request upstream. Return the answer.

        Args:
            by: A deadline that is sooner than the search's.
            stage: What its time counts as.
            label: What a recording calls it; None, that follows from the target.

        Raises:
            UpstreamRefusedError: Upstream answered with another status than 200.
            ElasticsearchError: 504, the deadline is over.
        """
        deadline = by or self.deadline
        try:
            with stages.stage(stage, label=label or target):
                async with asyncio.timeout_at(deadline.at):
                    answer = await self.upstream.request(method, target, body)
        except TimeoutError:
            stages.miss(deadline.name)
            raise TooLateError(method, target, deadline) from None
        if answer.status != 200:
            raise UpstreamRefusedError(answer)
        self.warnings.update(dict.fromkeys(v for n, v in answer.headers if n.lower() == "warning"))
        return answer
