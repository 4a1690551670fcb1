"""Runs the searches of one request at the same time, and puts their answers together."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final

from rerank_proxy.app.apis.context import EndedSearch, MultiAnswer
from rerank_proxy.concurrency.tasks import side_by_side
from rerank_proxy.errors import ElasticsearchError, illegal_argument
from rerank_proxy.http.negotiation import is_refusal
from rerank_proxy.observe import stages
from rerank_proxy.observe.outcome import Several
from rerank_proxy.search.executor import Executor
from rerank_proxy.search.language.request import SearchRequest
from rerank_proxy.search.msearch import lines
from rerank_proxy.search.msearch.coalescing import CoalescedRequestError, CoalescedUpstream, Coalescer
from rerank_proxy.search.msearch.lines import Item
from rerank_proxy.search.recording import recorded_search
from rerank_proxy.search.run import InnerBytes
from rerank_proxy.search.timings import Timings
from rerank_proxy.upstream.protocol import Reply, UpstreamRefusedError
from rerank_proxy.xcontent.params import Params
from rerank_proxy.xcontent.splicing import Printer

AT_ONCE: Final = 128
"""Searches of one request that go on at the same time: to begin them all is one step of the event loop."""

ReadItem = Item | SearchRequest | ElasticsearchError
"""An item that has been read: it goes upstream as it is, is searched here, or has failed already."""

RenderedItem = ReadItem | Reply
"""An item that was a template: it has been read, or upstream refused to render it."""


@dataclass(frozen=True, slots=True)
class _Answered:
    """An item's part of the answer, with what happened to it if it was searched here."""

    body: bytes
    search: EndedSearch | None = None
    warnings: Sequence[str] = ()
    search_id: str | None = None


def max_concurrent(params: Params) -> int | None:
    """Return how many searches may run at once; None for the default.

    Raises:
        ElasticsearchError: 400, as ``RestMultiSearchAction`` refuses the parameter.
    """
    limit = params.integer("max_concurrent_searches")
    if limit is not None and limit < 1:
        raise illegal_argument("maxConcurrentSearchRequests must be positive")
    return limit


class MultiSearchRun:
    """Runs the items of one request.

    Args:
        limit: Searches that may go on here at the same time; None for all of them.
    """

    def __init__(self, executor: Executor, coalescer: Coalescer, params: Params, limit: int | None) -> None:
        self._executor = executor
        self._coalescer = coalescer
        self._printer = Printer(params.get("pretty") in ("", "true"))
        self._turn: AbstractAsyncContextManager[object] = asyncio.Semaphore(limit) if limit else nullcontext()

    async def run(self, items: Sequence[RenderedItem]) -> MultiAnswer:
        """Answer all items.

        Raises:
            UpstreamRefusedError, ElasticsearchError: The whole request fails.
        """
        began = time.perf_counter()
        answered: list[_Answered] = []
        inner = InnerBytes(sum(len(item.body) for item in items if isinstance(item, SearchRequest)))
        try:
            for start in range(0, len(items), AT_ONCE):
                some = items[start : start + AT_ONCE]
                numbered = enumerate(some, start)
                answered += await side_by_side(self._answer(at, item, inner) for at, item in numbered)
        except CoalescedRequestError as failed:
            raise failed.cause from failed
        finally:
            await self._coalescer.close()
        took_ms = round((time.perf_counter() - began) * 1000)
        body = lines.put_together([each.body for each in answered], took_ms, self._printer)
        searches = {at: each.search for at, each in enumerate(answered) if each.search is not None}
        outcomes = {at: each.outcome for at, each in searches.items() if each.outcome is not None}
        ids = {at: each.search_id for at, each in enumerate(answered) if each.search_id is not None}
        return MultiAnswer(body, self._headers(answered), Several(outcomes), [*searches.values()], ids)

    async def _answer(self, at: int, item: RenderedItem, inner: InnerBytes) -> _Answered:
        if isinstance(item, ElasticsearchError):
            return self._failed(item)
        if isinstance(item, Reply):
            return self._answered(item)
        if isinstance(item, Item):
            return await self._joined(lambda upstream: self._send_on(item, upstream))
        async with self._turn:
            return await self._joined(lambda upstream: self._search(at, item, upstream, inner))

    async def _joined(self, run: Callable[[CoalescedUpstream], Awaitable[_Answered]]) -> _Answered:
        upstream = self._coalescer.join()
        try:
            return await run(upstream)
        finally:
            self._coalescer.leave(upstream)

    async def _send_on(self, item: Item, upstream: CoalescedUpstream) -> _Answered:
        return self._answered(await upstream.search(item))

    async def _search(
        self, at: int, search: SearchRequest, upstream: CoalescedUpstream, inner: InnerBytes
    ) -> _Answered:
        timings = Timings.of_part()
        recorded_search(at)
        try:
            with stages.stage(None, "search"):
                answer = await self._executor.run(
                    search, upstream, inner, afterwards=self._coalescer.upstream
                )
        except UpstreamRefusedError as refused:
            ended = EndedSearch(refused.reply.status, timings=timings)
            return replace(self._answered(refused.reply), search=ended)
        except ElasticsearchError as failure:
            return self._failed(failure, timings)
        timings.end()
        warnings = [value for name, value in answer.headers if name.lower() == "warning"]
        ended = EndedSearch(200, answer.outcome, answer.timings)
        return _Answered(lines.answered_item(answer.body), ended, warnings, answer.search_id)

    def _failed(self, failure: ElasticsearchError, timings: Timings | None = None) -> _Answered:
        ended = EndedSearch(failure.status, timings=timings)
        return _Answered(lines.failed_item(failure, self._printer), ended)

    def _answered(self, reply: Reply) -> _Answered:
        if reply.status == 200:
            return _Answered(lines.answered_item(reply.body))
        item = lines.refused_item(reply.body)
        # The last two are about the caller, and the answer's format, not about the search.
        if item is None or reply.status == 401 or is_refusal(reply.status, reply.body):
            raise UpstreamRefusedError(reply)
        return _Answered(item)

    def _headers(self, answered: Sequence[_Answered]) -> list[tuple[str, str]]:
        """Return the headers of the last coalesced request's answer; none if there was no such request."""
        last = self._coalescer.last
        if last is None:
            return []
        kept = [(name, value) for name, value in last.headers if name.lower() != "warning"]
        warnings = dict.fromkeys(chain(self._coalescer.warnings, *(each.warnings for each in answered)))
        return kept + [("Warning", value) for value in warnings]
