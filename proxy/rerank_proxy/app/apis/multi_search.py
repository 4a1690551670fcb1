"""Runs the searches of one request that go on at the same time, and puts their answers together."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import dataclass, replace
from itertools import chain
from typing import Final

from rerank_proxy.app.apis.context import EndedSearch, MultiAnswer
from rerank_proxy.errors import ElasticsearchError, error
from rerank_proxy.http.negotiation import is_refusal
from rerank_proxy.observe.outcome import Several
from rerank_proxy.search.executor import Executor
from rerank_proxy.search.language.request import SearchRequest
from rerank_proxy.search.msearch import lines
from rerank_proxy.search.msearch.coalescing import Participant, RoundFailedError, Rounds
from rerank_proxy.search.msearch.lines import Item
from rerank_proxy.search.run import InnerBytes
from rerank_proxy.upstream.protocol import Reply, UpstreamRefusedError
from rerank_proxy.xcontent.params import Params
from rerank_proxy.xcontent.splicing import Printer

AT_ONCE: Final = 128
"""Searches of one request that go on at the same time: to begin them all is one step of the event loop."""

ReadPlan = Item | SearchRequest | ElasticsearchError
"""An item that has been read: it is upstream's, ours, or has failed already."""

Plan = ReadPlan | Reply
"""An item on its way: as it was read, or refused by upstream."""


@dataclass(frozen=True, slots=True)
class _Done:
    """An item's part of the answer, with what happened to it if it is ours."""

    body: bytes
    search: EndedSearch | None = None
    warnings: Sequence[str] = ()


def max_concurrent(params: Params) -> int | None:
    """How many searches may run at once; None: the default.

    Raises:
        ElasticsearchError: 400, as ``RestMultiSearchAction`` refuses the parameter.
    """
    limit = params.integer("max_concurrent_searches")
    if limit is not None and limit < 1:
        raise error(400, "illegal_argument_exception", "maxConcurrentSearchRequests must be positive")
    return limit


class Batch:
    """The items of one request.

    Args:
        limit: How many of our searches go on at once; None: all of them.
    """

    def __init__(self, executor: Executor, rounds: Rounds, params: Params, limit: int | None) -> None:
        self._executor = executor
        self._rounds = rounds
        self._printer = Printer(params.get("pretty") in ("", "true"))
        self._turn: AbstractAsyncContextManager[object] = asyncio.Semaphore(limit) if limit else nullcontext()

    async def run(self, plans: Sequence[Plan]) -> MultiAnswer:
        """Answer all items.

        Raises:
            UpstreamRefusedError, ElasticsearchError: The whole request fails.
        """
        began = time.perf_counter()
        tasks: list[asyncio.Task[_Done]] = []
        inner = InnerBytes(sum(len(plan.body) for plan in plans if isinstance(plan, SearchRequest)))
        try:
            for start in range(0, len(plans), AT_ONCE):
                async with asyncio.TaskGroup() as group:
                    some = plans[start : start + AT_ONCE]
                    tasks += [group.create_task(self._start(plan, inner)) for plan in some]
        except ExceptionGroup as failed:
            first = failed.exceptions[0]
            raise (first.cause if isinstance(first, RoundFailedError) else first) from failed
        finally:
            await self._rounds.close()
        done = [task.result() for task in tasks]
        took_ms = round((time.perf_counter() - began) * 1000)
        body = lines.put_together([each.body for each in done], took_ms, self._printer)
        searches = {at: each.search for at, each in enumerate(done) if each.search is not None}
        outcomes = {at: each.outcome for at, each in searches.items() if each.outcome is not None}
        return MultiAnswer(body, self._headers(done), Several(outcomes), [*searches.values()])

    async def _start(self, plan: Plan, inner: InnerBytes) -> _Done:
        if isinstance(plan, ElasticsearchError):
            return self._failed(plan)
        if isinstance(plan, Reply):
            return self._answered(plan)
        if isinstance(plan, Item):
            return await self._takes_part(lambda participant: self._pass_on(plan, participant))
        async with self._turn:
            return await self._takes_part(lambda participant: self._search(plan, participant, inner))

    async def _takes_part(self, run: Callable[[Participant], Awaitable[_Done]]) -> _Done:
        participant = self._rounds.join()
        try:
            return await run(participant)
        finally:
            self._rounds.leave(participant)

    async def _pass_on(self, item: Item, participant: Participant) -> _Done:
        return self._answered(await participant.search(item))

    async def _search(self, search: SearchRequest, participant: Participant, inner: InnerBytes) -> _Done:
        began = time.perf_counter()
        try:
            answer = await self._executor.run(search, participant, inner)
        except UpstreamRefusedError as refused:
            return replace(self._answered(refused.reply), search=EndedSearch(refused.reply.status))
        except ElasticsearchError as failure:
            return self._failed(failure)
        seconds = time.perf_counter() - began
        warnings = [value for name, value in answer.headers if name.lower() == "warning"]
        ended = EndedSearch(200, seconds, answer.outcome, answer.timings)
        return _Done(lines.answered_item(answer.body), ended, warnings)

    def _failed(self, failure: ElasticsearchError) -> _Done:
        return _Done(lines.failed_item(failure, self._printer), EndedSearch(failure.status))

    def _answered(self, reply: Reply) -> _Done:
        if reply.status == 200:
            return _Done(lines.answered_item(reply.body))
        item = lines.refused_item(reply.body)
        # The last two are about who asks, and for which answer, not what for.
        if item is None or reply.status == 401 or is_refusal(reply.status, reply.body):
            raise UpstreamRefusedError(reply)
        return _Done(item)

    def _headers(self, done: Sequence[_Done]) -> list[tuple[str, str]]:
        """Those of the last round; none when there was no round."""
        if self._rounds.last is None:
            return []
        kept = [(name, value) for name, value in self._rounds.last.headers if name.lower() != "warning"]
        warnings = dict.fromkeys(chain(self._rounds.warnings, *(each.warnings for each in done)))
        return kept + [("Warning", value) for value in warnings]
