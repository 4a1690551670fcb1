"""`_async_search` with a reranker: ``RestSubmitAsyncSearchAction`` and its companions.

Elasticsearch could not run such a search, so it is run and kept here. Other searches stay with Elasticsearch.
"""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, Final

from rerank_proxy.app.apis.context import RequestContext
from rerank_proxy.app.apis.rest import check_params
from rerank_proxy.app.apis.search import SearchReader, native_refusal
from rerank_proxy.app.async_searches import AsyncSearch, AsyncSearches
from rerank_proxy.app.metrics import RequestCounter
from rerank_proxy.concurrency.offload import offload
from rerank_proxy.errors import ElasticsearchError, internal_error, validation_error
from rerank_proxy.observe import stages
from rerank_proxy.search.answer.async_response import (
    AsyncResult,
    SearchProgress,
    completed,
    failed,
    print_acknowledged,
    print_search,
    print_status,
    refused,
)
from rerank_proxy.search.executor import Executor
from rerank_proxy.search.language.request import InvalidSearchError, SearchRequest
from rerank_proxy.search.parse_faults import find_parse_fault
from rerank_proxy.search.targets import RESPONSE_FORMAT
from rerank_proxy.search.timings import Timings
from rerank_proxy.upstream.callers import authenticate
from rerank_proxy.upstream.headers import of_own_answer
from rerank_proxy.upstream.protocol import Reply, Upstream, UpstreamRefusedError
from rerank_proxy.xcontent.params import Params
from rerank_proxy.xcontent.time_value import time_param

logger = logging.getLogger(__name__)

_MIN_KEEP_ALIVE_MS: Final = 1000
_DEFAULT_KEEP_ALIVE_MS: Final = 5 * 24 * 3600 * 1000
_DEFAULT_WAIT_MS: Final = 1000
_NOT_OF_THE_SEARCH: Final = ("wait_for_completion_timeout", "keep_alive", "keep_on_completion", "pretty")
"""Parameters that no inner search gets. Its answer is kept compact: each request says how to print it."""
_OF_GET: Final = ("wait_for_completion_timeout", "keep_alive", "return_intermediate_results", "typed_keys")
_OF_STATUS: Final = ("keep_alive",)


class SubmitAsyncSearch:
    """`POST /{index}/_async_search`."""

    def __init__(
        self,
        searches: AsyncSearches,
        executor: Executor,
        metrics: RequestCounter,
        reader: SearchReader,
    ) -> None:
        self._searches = searches
        self._executor = executor
        self._metrics = metrics
        self._reader = reader

    async def answer(self, context: RequestContext) -> Reply | None:
        """Begin a search, and wait for it as long as the request says."""
        if not context.has_json_body:
            return None
        params = context.params
        kept = tuple(pair for pair in params.pairs if pair[0] not in _NOT_OF_THE_SEARCH)
        try:
            with stages.stage("parse", "parse"):
                request = await offload(
                    len(context.body), self._reader.read, context.index, Params(kept), context.body
                )
        except InvalidSearchError as refused_here:
            fault = find_parse_fault(context.body, context.upstream(), params.only(RESPONSE_FORMAT))
            raise await native_refusal(refused_here, fault) from refused_here
        if request is None:
            return None
        context.refuse_smile()
        wait_ms, keep_alive_ms = _times_of_submit(params)
        layout = _layout(params)
        keep_on_completion = params.flag("keep_on_completion")
        upstream = context.upstream()
        await authenticate(upstream)
        search = self._searches.start(upstream.caller, self._run(request, upstream), keep_alive_ms)
        await self._wait(search, wait_ms)
        if search.result is None or keep_on_completion:
            self._searches.keep(search)
        else:
            self._searches.remove(search)
        progress = self._searches.progress(search)
        return _reply(context, progress, print_search(progress, **layout, total_as_int=request.total_as_int))

    async def _wait(self, search: AsyncSearch, wait_ms: int) -> None:
        """Wait for a search, and end it if the client leaves before that (``RestCancellableNodeClient``)."""
        try:
            await self._searches.wait(search, wait_ms)
        except asyncio.CancelledError:
            self._searches.remove(search)
            raise

    def _run(
        self, request: SearchRequest, upstream: Upstream
    ) -> Callable[[], Coroutine[Any, Any, AsyncResult]]:
        async def run() -> AsyncResult:
            timings = Timings.of_what_goes_on()
            try:
                with stages.outliving("asynchronous search"):
                    answer = await self._executor.run(request, upstream)
            except UpstreamRefusedError as refusal:
                result = refused(refusal.reply)
            except ElasticsearchError as failure:
                result = failed(failure)
            except Exception:
                # A defect ends one search, and its client is told.
                logger.exception("an asynchronous search failed with an internal error")
                result = failed(internal_error())
            else:
                timings.end()
                self._metrics.answered(answer)
                warnings = [(name, value) for name, value in answer.headers if name.lower() == "warning"]
                return completed(answer.body, [*warnings, *answer.told()])
            self._metrics.refused(result.status)
            return result

        return run


class KeptAsyncSearch:
    """`GET` and `DELETE /_async_search/{id}`."""

    def __init__(self, searches: AsyncSearches) -> None:
        self._searches = searches

    async def answer(self, context: RequestContext) -> Reply:
        """Answer with the search, once it has ended or the request's time is over; or delete it."""
        is_delete = context.method == "DELETE"
        check_params(context, () if is_delete else _OF_GET)
        layout = _layout(context.params)
        wait_ms = _millis(context.params, "wait_for_completion_timeout", 0)
        search = await _find(context, self._searches)
        if is_delete:
            self._searches.remove(search)
            return Reply(200, of_own_answer(context.headers), print_acknowledged(pretty=layout["pretty"]))
        await self._searches.wait(search, wait_ms)
        self._searches.find(search.id, search.owner)  # it may have expired or been deleted meanwhile
        progress = self._searches.progress(search)
        return _reply(context, progress, print_search(progress, **layout))


class AsyncSearchStatus:
    """`GET /_async_search/status/{id}`."""

    def __init__(self, searches: AsyncSearches) -> None:
        self._searches = searches

    async def answer(self, context: RequestContext) -> Reply:
        check_params(context, _OF_STATUS)
        layout = _layout(context.params)
        search = await _find(context, self._searches)
        body = print_status(self._searches.progress(search), **layout)
        return Reply(200, of_own_answer(context.headers), body)


async def _find(context: RequestContext, searches: AsyncSearches) -> AsyncSearch:
    """Return the caller's search; extend its time if the request says so."""
    keep_alive_ms = _millis(context.params, "keep_alive", 0)
    upstream = context.upstream()
    await authenticate(upstream)
    search = searches.find(context.path_params["id"], upstream.caller)
    if keep_alive_ms > 0:
        searches.extend(search, keep_alive_ms)
    return search


def _reply(context: RequestContext, progress: SearchProgress, body: bytes) -> Reply:
    status = 200 if progress.result is None else progress.result.status
    headers = of_own_answer(context.headers, status)
    if progress.id is not None:
        headers.append(("X-Elasticsearch-Async-Id", progress.id))
    headers.append(("X-Elasticsearch-Async-Is-Running", "?1" if progress.result is None else "?0"))
    if progress.result is None:
        return Reply(status, headers, body)
    return Reply(status, [*headers, *progress.result.headers], body)


def _layout(params: Params) -> dict[str, bool]:
    """Return how the answer is to be printed."""
    return {"pretty": params.flag("pretty"), "human": params.flag("human")}


def _times_of_submit(params: Params) -> tuple[int, int]:
    """Return how long to wait and how long to keep the search, in milliseconds.

    Raises:
        ElasticsearchError: 400, as ``SubmitAsyncSearchRequest#validate`` words it.
    """
    wait_ms = _millis(params, "wait_for_completion_timeout", _DEFAULT_WAIT_MS)
    keep_alive = time_param(params, "keep_alive")
    messages = []
    if keep_alive is not None and keep_alive.millis < _MIN_KEEP_ALIVE_MS:
        messages.append(f"[keep_alive] must be greater or equals than 1 second, got:{keep_alive}")
    if params.get("pre_filter_shard_size", "1") != "1":
        messages.append("[pre_filter_shard_size] cannot be changed for async search queries")
    if messages:
        raise validation_error(messages)
    return wait_ms, _DEFAULT_KEEP_ALIVE_MS if keep_alive is None else keep_alive.millis


def _millis(params: Params, name: str, default: int) -> int:
    value = time_param(params, name)
    return default if value is None else value.millis
