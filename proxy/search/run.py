"""One search under way: what it has sent, waited for and been told."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from proxy.errors import ElasticsearchError, error
from proxy.observe.outcome import Applied, Skipped
from proxy.search.language.request import SearchRequest
from proxy.upstream import Reply, Upstream, UpstreamRefusedError


@dataclass(slots=True)
class Timings:
    """Seconds of one search spent waiting for others; what ran side by side counts several times."""

    upstream_s: float = 0.0
    rerank_s: float = 0.0


@dataclass(slots=True)
class Run:
    """The state of one search.

    Attributes:
        deadline: For upstream and scores together, on the event loop's clock.
        scores_by: For the scores: the request's own `timeout` may be shorter.
        outcomes: One for each reranker, in the order in which they finished.
    """

    request: SearchRequest
    upstream: Upstream
    deadline: float
    scores_by: float
    started: float = field(default_factory=time.perf_counter)
    timings: Timings = field(default_factory=Timings)
    warnings: dict[str, None] = field(default_factory=dict)
    outcomes: list[Applied | Skipped] = field(default_factory=list)

    @property
    def took_ms(self) -> int:
        return round((time.perf_counter() - self.started) * 1000)

    async def send(self, method: str, target: str, body: bytes) -> Reply:
        """One request upstream.

        Raises:
            UpstreamRefusedError: For any answer but success.
            ElasticsearchError: 504, the search has taken too long altogether.
        """
        began = time.perf_counter()
        try:
            async with asyncio.timeout_at(self.deadline):
                answer = await self.upstream.request(method, target, body)
        except TimeoutError:
            reason = "upstream did not answer an inner search in time: [search.deadline_s] has passed"
            raise error(504, "status_exception", reason) from None
        finally:
            self.timings.upstream_s += time.perf_counter() - began
        if answer.status != 200:
            raise UpstreamRefusedError(answer)
        self.warnings.update(dict.fromkeys(v for n, v in answer.headers if n.lower() == "warning"))
        return answer


@contextmanager
def as_search_answer() -> Iterator[None]:
    """Upstream's answer is no search's: the fault is there, not in the client's request."""
    try:
        yield
    except (ElasticsearchError, KeyError, TypeError, ValueError, RecursionError) as failure:
        if isinstance(failure, ElasticsearchError) and failure.status >= 500:
            raise  # not the reader's: of a search that was made meanwhile
        reason = "upstream answered an inner search with 200, but not as Elasticsearch does"
        raise error(502, "status_exception", reason) from failure
