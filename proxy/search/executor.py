"""Runs a reranked search: inner search, scores, answer."""

import asyncio
import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from proxy.errors import ElasticsearchError, error
from proxy.inference.endpoints import Endpoints, InferenceFailedError
from proxy.observe.outcome import Applied, Outcome, Skipped
from proxy.search import bodies, reply
from proxy.search.failures import rank_phase_failure
from proxy.search.paths import fits_one_search, one_search_suffices
from proxy.search.ranking import RankDoc, keep_order, rank
from proxy.search.rawjson import members
from proxy.search.request import SearchRequest
from proxy.search.retrievers import TextSimilarityReranker
from proxy.search.upstream import Reply, Upstream, UpstreamRefusedError
from proxy.search.window import Window, read_window

logger = logging.getLogger(__name__)

KEEP_ALIVE: Final = "5m"
"""``search.default_keep_alive``, which native gives its own point in time."""

_STYLE_PARAMS: Final = frozenset({"error_trace", "human", "pretty"})
_INNER_PARAMS: Final = _STYLE_PARAMS | {"allow_partial_search_results"}
"""With partial results refused, a window with a lost shard in it must not pass either."""
_TARGET_PARAMS: Final = frozenset(
    {
        "allow_no_indices", "allow_partial_search_results", "expand_wildcards", "ignore_throttled",
        "ignore_unavailable", "max_concurrent_shard_requests", "preference", "routing",
    }
)  # fmt: skip
_PAGE_PARAMS: Final = frozenset({"from", "size"})
_OF_INDICES: Final = frozenset(
    {
        "allow_no_indices", "ccs_minimize_roundtrips", "expand_wildcards", "ignore_throttled",
        "ignore_unavailable",
    }
)  # fmt: skip
_NOT_BESIDE_PIT: Final = _OF_INDICES | _PAGE_PARAMS | {"index", "preference", "routing"}


@dataclass(slots=True)
class Timings:
    """Seconds of one search spent waiting for others."""

    upstream_s: float = 0.0
    rerank_s: float = 0.0


@dataclass(slots=True)
class SearchAnswer:
    """What the client is told: the body, upstream's headers, and what happened."""

    body: bytes
    headers: Sequence[tuple[str, str]]
    outcome: Outcome
    timings: Timings


@dataclass(slots=True)
class _Run:
    """One search under way."""

    request: SearchRequest
    upstream: Upstream
    started: float = field(default_factory=time.perf_counter)
    timings: Timings = field(default_factory=Timings)
    warnings: dict[str, None] = field(default_factory=dict)

    @property
    def took_ms(self) -> int:
        return round((time.perf_counter() - self.started) * 1000)

    async def send(self, method: str, target: str, body: bytes) -> Reply:
        """One request upstream; anything but success ends the search with upstream's own answer."""
        began = time.perf_counter()
        try:
            answer = await self.upstream.request(method, target, body)
        finally:
            self.timings.upstream_s += time.perf_counter() - began
        if answer.status != 200:
            raise UpstreamRefusedError(answer)
        self.warnings.update(dict.fromkeys(v for n, v in answer.headers if n.lower() == "warning"))
        return answer

    def answer(self, body: bytes, last: Reply, outcome: Outcome) -> SearchAnswer:
        headers = [(name, value) for name, value in last.headers if name.lower() != "warning"]
        headers += [("Warning", value) for value in self.warnings]
        return SearchAnswer(body, headers, outcome, self.timings)


class Executor:
    """Runs searches for all callers.

    Args:
        timeout_s: Seconds for the scores of one search.
    """

    def __init__(self, endpoints: Endpoints, timeout_s: float) -> None:
        self._endpoints = endpoints
        self._timeout_s = timeout_s
        self._closing: set[asyncio.Task[None]] = set()

    async def run(self, request: SearchRequest, upstream: Upstream) -> SearchAnswer:
        """Answer one search.

        Raises:
            UpstreamRefusedError: An inner search failed; its answer is the client's.
            ElasticsearchError: Scoring failed, in native's shape.
        """
        if request.retriever.rank_window_size == 0:
            reason = "Validation Failed: 1: [rank] requires [size] greater than [0];"
            raise error(400, "action_request_validation_exception", reason)
        run = _Run(request, upstream)
        if fits_one_search(request):
            answer = await self._one_search(run)
            if answer is not None:
                return answer
        return await self._point_in_time(run)

    async def drain(self) -> None:
        """Wait for the points in time that are still being closed."""
        await asyncio.gather(*self._closing)

    async def _one_search(self, run: _Run) -> SearchAnswer | None:
        """None when it turns out that only a point in time gives native's answer."""
        request = run.request
        query = request.params.without(_PAGE_PARAMS)
        found = await run.send(
            "POST", _target(request.index, "_search", query), bodies.single_search(request)
        )
        with _as_search_answer():
            window = read_window(found.body, request.retriever.field)
        ranked, outcome = await self._rank(run, window)
        if not one_search_suffices(request, ranked):
            return None
        body = reply.from_window(request, window, ranked, run.took_ms)
        return run.answer(body, found, outcome)

    async def _point_in_time(self, run: _Run) -> SearchAnswer:
        if "pit" in run.request.others:
            return await self._search_pit(run, run.request.others["pit"], own_pit=False)
        opening = asyncio.create_task(self._open(run))
        try:
            # Shielded: a client that leaves now must not leave a point in time behind that nobody knows.
            pit = await asyncio.shield(opening)
            return await self._search_pit(run, pit, own_pit=True)
        finally:
            self._close_in_background(run.upstream, opening)

    async def _search_pit(self, run: _Run, pit: bytes, *, own_pit: bool) -> SearchAnswer:
        request = run.request
        # Beside the client's own point in time its options for indices are an error, which upstream words.
        options = request.params.only(_INNER_PARAMS if own_pit else _INNER_PARAMS | _OF_INDICES)
        inner = bodies.inner_search(request.retriever, pit)
        found = await run.send("POST", _target(None, "_search", options), inner)
        with _as_search_answer():
            window = read_window(found.body, request.retriever.field)
        ranked, outcome = await self._rank(run, window)
        final = bodies.final_search(request, pit, ranked, window.docs)
        query = request.params.without(_NOT_BESIDE_PIT)
        last = await run.send("POST", _target(None, "_search", query), final)
        with _as_search_answer():
            body = reply.from_final(last.body, run.took_ms, own_pit=own_pit)
        return run.answer(body, last, outcome)

    async def _open(self, run: _Run) -> bytes:
        """Open a point in time over the request's indices; its `pit` member as JSON."""
        options = run.request.params.only(_TARGET_PARAMS | _STYLE_PARAMS)
        query = f"keep_alive={KEEP_ALIVE}" + (f"&{options}" if options else "")
        opened = await run.send("POST", _target(run.request.index or "_all", "_pit", query), b"")
        with _as_search_answer():
            pit_id = members(opened.body)["id"]
        return b'{"id":' + pit_id + b',"keep_alive":"' + KEEP_ALIVE.encode() + b'"}'

    def _close_in_background(self, upstream: Upstream, opening: asyncio.Task[bytes]) -> None:
        """The client need not wait for it; also when the client has gone."""
        task = asyncio.create_task(_close(upstream, opening))
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def _rank(self, run: _Run, window: Window) -> tuple[list[RankDoc], Outcome]:
        retriever = run.request.retriever
        began = time.perf_counter()
        try:
            return await self._score(retriever, window.docs)
        except InferenceFailedError as failure:
            if retriever.allow_rerank_failures:
                outcome = Skipped(retriever.inference_id, failure.cause.type)
                return keep_order(window.docs, retriever.min_score), outcome
            raise rank_phase_failure(failure, retriever.child) from failure
        finally:
            run.timings.rerank_s += time.perf_counter() - began

    async def _score(
        self, retriever: TextSimilarityReranker, window: Sequence[RankDoc]
    ) -> tuple[list[RankDoc], Outcome]:
        began = time.perf_counter()
        endpoint = self._endpoints.get(retriever.inference_id)
        docs = [doc for doc in window if doc.text is not None]
        deadline = asyncio.get_running_loop().time() + self._timeout_s
        texts = [doc.text for doc in docs if doc.text is not None]
        scores: Sequence[float] = []
        cached = truncated = 0
        if texts:
            reranked = await endpoint.rerank(retriever.inference_text, texts, deadline)
            scores, cached, truncated = reranked.scores, reranked.cached, reranked.truncated
        ms = (time.perf_counter() - began) * 1000
        outcome = Applied(
            retriever.inference_id, endpoint.model, len(window), len(docs), cached, truncated, ms
        )
        return rank(docs, scores, retriever.min_score), outcome


@contextmanager
def _as_search_answer() -> Iterator[None]:
    """Upstream's answer is no search's: the fault is there, not in the client's request."""
    try:
        yield
    except (ElasticsearchError, KeyError, TypeError, ValueError) as failure:
        reason = "upstream answered an inner search with 200, but not as Elasticsearch does"
        raise error(502, "status_exception", reason) from failure


async def _close(upstream: Upstream, opening: asyncio.Task[bytes]) -> None:
    try:
        pit = await opening
    except Exception:  # whatever it is, the client was told, and nothing is open
        return
    try:
        await upstream.request("DELETE", "/_pit", b'{"id":' + members(pit)["id"] + b"}")
    except Exception as failure:  # whatever it is, the answer is out, and the point in time expires
        logger.warning("a point in time could not be closed and will expire in %s: %s", KEEP_ALIVE, failure)


def _target(index: str | None, api: str, query: str) -> str:
    """`index` is percent-encoded already."""
    path = f"/{api}" if index is None else f"/{index}/{api}"
    return f"{path}?{query}" if query else path
