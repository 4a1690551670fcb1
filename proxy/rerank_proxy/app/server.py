"""The application's HTTP side: requests that the edge found to mention a retriever, and their answers."""

import logging
import re
import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Final, NamedTuple

from rerank_proxy.app.apis.context import ApiAnswer, ParseSearch, RequestContext
from rerank_proxy.app.apis.others import OtherApi
from rerank_proxy.app.apis.routes import Route, search_routes
from rerank_proxy.app.async_searches import AsyncSearches
from rerank_proxy.app.formats.bodies import to_json
from rerank_proxy.app.metrics import RequestCounter, SearchMetrics
from rerank_proxy.app.refusals import of_the_client
from rerank_proxy.app.representation import JSON_STYLE, OF_THE_ANSWER, Style
from rerank_proxy.app.suggestions import Suggestions
from rerank_proxy.concurrency.offload import INLINE_BYTES, offload
from rerank_proxy.errors import ElasticsearchError, error
from rerank_proxy.http import codings
from rerank_proxy.http.inflate import decoded_limit
from rerank_proxy.http.media_types import for_json
from rerank_proxy.http.messages import Request, Response
from rerank_proxy.http.negotiation import is_refusal
from rerank_proxy.observe.outcome import HEADER
from rerank_proxy.search.executor import Executor
from rerank_proxy.search.language.request import parse_search
from rerank_proxy.settings import AsyncSearchSettings, EdgeSettings
from rerank_proxy.upstream.client import UpstreamClient
from rerank_proxy.upstream.headers import for_upstream
from rerank_proxy.upstream.own_headers import own_headers
from rerank_proxy.upstream.protocol import Reply, Upstream, UpstreamRefusedError
from rerank_proxy.upstream.retriever_support import UnknownRetrievers
from rerank_proxy.xcontent.params import Params, parse_params
from rerank_proxy.xcontent.target import Target

logger = logging.getLogger(__name__)

PASS_HEADER: Final = "x-rerank-proxy"
_MAX_TARGET: Final = 16 * 1024
"""Characters of a request's target. Elasticsearch takes 4 KiB unless its settings say otherwise."""
_SOURCE_PARAMS: Final = frozenset({"source", "source_content_type"})


class App:
    """Handles one request at a time for any number of callers.

    Args:
        edge: Its limits for decoded bodies.
        parse: Reads a search.
        unknown: Is told of each body before it is read.
        others: Paths beside those of searches.
    """

    def __init__(
        self,
        executor: Executor,
        upstream: UpstreamClient,
        metrics: SearchMetrics,
        edge: EdgeSettings,
        parse: ParseSearch = parse_search,
        *,
        async_search: AsyncSearchSettings,
        unknown: UnknownRetrievers | None = None,
        others: Sequence[Route] = (),
    ) -> None:
        self._upstream = upstream
        self._edge = edge
        self._async_searches = AsyncSearches(async_search)
        self._routes = (*search_routes(executor, metrics, parse, self._async_searches), *others)
        self._other_route = Route(re.compile(".*"), OtherApi(), metrics)
        self._unknown = unknown
        self._suggestions = Suggestions()

    async def close(self) -> None:
        """End the searches that go on apart from their requests."""
        await self._async_searches.close()

    async def handle(self, request: Request) -> Response:
        """Answer a search, or tell the edge to send it upstream as it is."""
        began = time.perf_counter()
        if len(request.target) > _MAX_TARGET:
            return _pass(self._other_route.counter)
        target = Target.of(request.target)
        params = parse_params(target.query)
        route, path_params = self._route(target.route)
        counter = route.counter
        style = Style.of(request, params)
        if style is None or not target.is_readable:
            return _pass(counter)
        own = own_headers(request.headers)
        try:
            body = await self._read(request, params.less(OF_THE_ANSWER), in_lines=route.in_lines)
            context = self._context(request, target.path, path_params, body, style)
            if self._unknown is not None:
                await self._unknown.look(context.body, context.upstream)
            answer = await route.api.answer(context) or await self._suggestions.completed(context)
            if answer is None:
                return _pass(counter)
            response = await _answered(answer, style, own)
            counter.answered(answer, time.perf_counter() - began)  # now that it can be written
            return response
        except UpstreamRefusedError as refused:
            reply = of_the_client(refused.reply, target.path, request.target)
            if is_refusal(reply.status, reply.body):
                return _pass(counter)
            counter.refused(reply.status)
            return await style.response(reply.status, reply.headers, style.laid_out(reply.body))
        except ElasticsearchError as failure:
            return await _failed(counter, style, failure, own)
        except Exception:
            # A defect of ours must not reach the client as a closed connection or a bare text.
            logger.exception("a request failed in the proxy itself")
            defect = error(500, "illegal_state_exception", "rerank-proxy failed; its log has the details")
            return await _failed(counter, style, defect, own)

    def _context(
        self, request: Request, path: str, path_params: Mapping[str, str], read: "_Read", style: Style
    ) -> RequestContext:
        body, content_type, params = read

        def upstream() -> Upstream:
            headers = for_upstream(request.raw_headers)
            if not request.body:  # clients name a type all the same, and that in the URL is for the URL
                headers.popall("Content-Type", None)
            for name in ("Accept", "Content-Type"):
                for value in headers.popall(name, []):
                    headers.add(name, for_json(value))
            return self._upstream.for_caller(headers)

        return RequestContext(
            method=request.method,
            path=path,
            path_params=path_params,
            params=params,
            headers=request.headers,
            body=body,
            content_type=None if content_type is None else for_json(content_type),
            answer_format=style.format,
            upstream=upstream,
        )

    def _route(self, path: str) -> tuple[Route, Mapping[str, str]]:
        for route in self._routes:
            if (match := route.path.fullmatch(path)) is not None:
                return route, {name: value for name, value in match.groupdict().items() if value is not None}
        return self._other_route, {}

    async def _read(self, request: Request, params: Params, *, in_lines: bool) -> "_Read":
        """Read the body, wherever it is."""
        data = request.body
        if not data and "source" in params:
            content_type = params.get("source_content_type")
            body = to_json(params["source"].encode(), content_type, in_lines=in_lines)
            return _Read(body, content_type, params.less(_SOURCE_PARAMS))
        if not data:
            return _Read(data, None, params)
        content_type = request.headers.get("Content-Type")
        coding = request.headers.get("Content-Encoding")
        # A coded body of a few bytes may become a long one.
        size = len(data) if coding is None else max(len(data), INLINE_BYTES + 1)
        decode = partial(self._decode, in_lines=in_lines)
        return _Read(await offload(size, decode, data, coding, content_type), content_type, params)

    def _decode(self, data: bytes, coding: str | None, content_type: str | None, *, in_lines: bool) -> bytes:
        limit = decoded_limit(len(data), self._edge.max_inflation, self._edge.max_body)
        return to_json(codings.decode(data, coding, limit), content_type, in_lines=in_lines)


class _Read(NamedTuple):
    """A request's body as JSON, its type as it was sent, and the query string, less what carried the body."""

    body: bytes
    content_type: str | None
    params: Params


async def _answered(answer: ApiAnswer, style: Style, own: list[tuple[str, str]]) -> Response:
    if isinstance(answer, Reply):
        return await style.response(answer.status, answer.headers, answer.body)
    headers = [*(answer.headers or own), (HEADER, answer.outcome.header())]
    return await style.response(200, headers, answer.body)


def _pass(counter: RequestCounter) -> Response:
    counter.passed_on()
    return Response(421, [(PASS_HEADER, "pass")])


async def _failed(
    counter: RequestCounter, style: Style, failure: ElasticsearchError, headers: list[tuple[str, str]]
) -> Response:
    counter.refused(failure.status)
    try:
        return await style.response(failure.status, headers, style.error(failure))
    except ElasticsearchError:  # there is no writer for the format, which is the failure
        return await JSON_STYLE.response(failure.status, headers, style.error(failure))
