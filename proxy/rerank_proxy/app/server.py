"""The application: requests that the edge gives it, from the bytes to the API that answers them."""

import logging
import re
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Final, NamedTuple

from rerank_proxy.app.apis.context import RequestContext
from rerank_proxy.app.apis.routes import Route, search_routes
from rerank_proxy.app.apis.search import OtherSearchApi, SearchReader
from rerank_proxy.app.async_searches import AsyncSearches
from rerank_proxy.app.formats.bodies import to_json
from rerank_proxy.app.recent import Recent
from rerank_proxy.app.recordings import Recordings
from rerank_proxy.app.response_format import FORMAT_PARAMS, ResponseFormat
from rerank_proxy.app.responses import Responder, passed_on
from rerank_proxy.app.slow_log import SlowLog
from rerank_proxy.app.suggestions import Suggestions
from rerank_proxy.app.traced import name_span, traced
from rerank_proxy.concurrency.offload import INLINE_BYTES, answer_size, offload
from rerank_proxy.errors import ElasticsearchError, internal_error
from rerank_proxy.http import codings, handover
from rerank_proxy.http.inflate import decoded_limit
from rerank_proxy.http.media_types import Format, format_of
from rerank_proxy.http.messages import Request, Response
from rerank_proxy.http.negotiation import Negotiated, negotiate
from rerank_proxy.observe import recording, request_id, stages
from rerank_proxy.observe.stages import Activity
from rerank_proxy.observe.trace_context import trace_id
from rerank_proxy.search.executor import Executor
from rerank_proxy.search.language.detection import types_to_ask_for
from rerank_proxy.search.timings import Timings
from rerank_proxy.settings import AsyncSearchSettings, EdgeSettings, Settings
from rerank_proxy.upstream import callers
from rerank_proxy.upstream.abilities import EVALUATED, RetrieverSupport
from rerank_proxy.upstream.client import ElasticsearchClient
from rerank_proxy.upstream.headers import for_upstream
from rerank_proxy.upstream.protocol import Upstream, UpstreamRefusedError
from rerank_proxy.xcontent.params import Params, parse_params
from rerank_proxy.xcontent.target import RequestTarget

if TYPE_CHECKING:
    from rerank_proxy.tracing.tracer import Tracer

logger = logging.getLogger(__name__)

_MAX_TARGET: Final = 16 * 1024
"""Characters of a request's target. Elasticsearch takes 4 KiB unless its settings say otherwise."""
_SOURCE_PARAMS: Final = frozenset({"source", "source_content_type"})


class App:
    """Handles the requests of all callers.

    Args:
        slow_log: Counts searches, and writes lines about slow ones.
        edge: Its limits for decoded bodies.
        support: Which retrievers upstream evaluates; None: all but the reranker.
        other_routes: Those beside searches.
        tracer: Records the spans of requests; None: there are none.
        recordings: Records requests that show a key.
        recent: Hears of each answer.

    Attributes:
        async_searches: Those that are kept.
    """

    def __init__(
        self,
        executor: Executor,
        client: ElasticsearchClient,
        slow_log: SlowLog,
        edge: EdgeSettings,
        reader: SearchReader,
        *,
        async_search: AsyncSearchSettings,
        support: RetrieverSupport | None = None,
        other_routes: Sequence[Route] = (),
        tracer: "Tracer | None" = None,
        recordings: Recordings | None = None,
        recent: Recent | None = None,
    ) -> None:
        self._tracer = tracer
        self._recordings = Recordings() if recordings is None else recordings
        self._recent = Recent() if recent is None else recent
        self._client = client
        self._edge = edge
        self.async_searches = AsyncSearches(async_search)
        self._routes = (*search_routes(executor, slow_log, reader, self.async_searches), *other_routes)
        self._other_route = Route(re.compile(".*"), OtherSearchApi(), slow_log)
        self._support = support
        self._suggestions = Suggestions()
        self._slow_log = slow_log

    def use(self, settings: Settings) -> None:
        """Use other limits, for requests that come from now on."""
        self._edge = settings.edge
        self.async_searches.use(settings.async_search)
        self._slow_log.use(settings.log)

    async def close(self) -> None:
        """End the asynchronous searches."""
        await self.async_searches.close()

    async def handle(self, request: Request) -> Response:
        """Answer a request, or tell the edge to send it upstream as it is."""
        timings = Timings()
        stages.enter(Activity(timings, trace_id=trace_id(request.raw_headers)))
        response = await self._recorded(request)
        self._recent.add(request.target, response, timings.seconds)
        return response

    async def _recorded(self, request: Request) -> Response:
        key = request.headers.get(recording.HEADER) if len(self._recordings) else None
        recorder = None if key is None else self._recordings.begin(key)
        if key is None or recorder is None:
            return await self._traced(request)
        with ExitStack() as undo:
            undo.callback(self._recordings.forget, key)  # of a client that leaves, and will not ask for it
            with stages.recorded_by(recorder):
                response = await self._traced(request)
            undo.pop_all()
        self._recordings.end(key, answered=response.status != handover.PASSED_ON)
        return response

    async def _traced(self, request: Request) -> Response:
        if self._tracer is None:
            return await self._handled(request)
        with traced(self._tracer, request) as traced_request:
            return traced_request.answered(await self._handled(request))

    async def _handled(self, request: Request) -> Response:
        if len(request.target) > _MAX_TARGET:
            return passed_on(self._other_route.counter)
        target = RequestTarget.of(request.target)
        params = parse_params(target.query)
        route, path_params = self._route(target.route)
        name_span(request.method, target.route, path_params)
        negotiated = negotiate(
            params.get("format"),
            request.headers.getall("Accept", []),
            request.headers.getall("Content-Type", []),
            has_body=bool(request.body),
        )
        if negotiated is None or not target.is_readable:
            return passed_on(route.counter)
        format_ = ResponseFormat.of(negotiated, request.headers, params)
        responder = Responder(request, target.path, format_, route.counter)
        try:
            with stages.stage("parse"):
                read = await self._read(
                    request, params.less(FORMAT_PARAMS), negotiated, in_lines=route.in_lines
                )
            context = self._context(request, target, path_params, read, negotiated)
            return await self._answer(route, context, responder)
        except UpstreamRefusedError as refused:
            return await responder.refuse(refused.reply)
        except ElasticsearchError as failure:
            return await responder.fail(failure)
        except Exception:
            # A defect must not reach the client as a closed connection or a bare text.
            logger.exception("a request failed with an internal error")
            return await responder.fail(internal_error())

    async def _answer(self, route: Route, context: RequestContext, responder: Responder) -> Response:
        self._slow_log.begin(context.path, context.body)
        callers.enter(lambda: context.upstream().caller)
        may_be_refused = await self._find_out_about_retrievers(context)
        answer = await route.api.answer(context) or await self._suggestions.completed(context)
        if answer is None:
            return passed_on(route.counter, handover.TRY if may_be_refused else handover.PASS)
        return await responder.answer(answer)

    def _context(
        self,
        request: Request,
        target: RequestTarget,
        path_params: Mapping[str, str],
        read: "_Read",
        negotiated: Negotiated,
    ) -> RequestContext:
        def upstream() -> Upstream:
            headers = for_upstream(request.raw_headers, negotiated.accepted, has_body=bool(request.body))
            if (known := request_id.current.get()) is not None:
                headers.setdefault(request_id.HEADER, known)
            return self._client.for_caller(headers)

        return RequestContext(
            method=request.method,
            path=target.path,
            path_params=path_params,
            params=read.params,
            headers=request.headers,
            body=read.body,
            content_type=read.content_type,
            body_format=read.format,
            answer_format=negotiated.format,
            upstream=upstream,
        )

    async def _find_out_about_retrievers(self, context: RequestContext) -> bool:
        """Find out whether upstream evaluates the retrievers that the body may hold.

        Returns:
            Whether that may have changed once upstream refuses them, and is to be found out then.
        """
        if self._support is None:
            return False
        with stages.stage("parse"):
            names = await offload(answer_size(context.body), types_to_ask_for, context.body, EVALUATED)
        if not names:
            return False
        was_refused = context.headers.get(handover.HEADER) == handover.REFUSED
        with stages.stage("upstream", label="find out about retrievers"):
            if was_refused:
                await self._support.look_again(names, context.upstream())
            else:
                await self._support.find_out(names, context.upstream())
        return not was_refused

    def _route(self, path: str) -> tuple[Route, Mapping[str, str]]:
        for route in self._routes:
            if (match := route.path.fullmatch(path)) is not None:
                return route, {name: value for name, value in match.groupdict().items() if value is not None}
        return self._other_route, {}

    async def _read(
        self, request: Request, params: Params, negotiated: Negotiated, *, in_lines: bool
    ) -> "_Read":
        """Read the body, which may be in the query string."""
        data = request.body
        if not data:
            return _read_source(params, in_lines=in_lines)
        format_ = negotiated.sent.format if negotiated.sent is not None else None
        coding = request.headers.get("Content-Encoding")
        # A coded body of a few bytes may become a long one.
        size = len(data) if coding is None else max(len(data), INLINE_BYTES + 1)
        body = await offload(size, self._decode, data, coding, format_, in_lines=in_lines)
        return _Read(body, request.headers.get("Content-Type"), format_, params)

    def _decode(self, data: bytes, coding: str | None, format_: Format | None, *, in_lines: bool) -> bytes:
        limit = decoded_limit(len(data), self._edge.max_inflation, self._edge.max_body)
        return to_json(codings.decode(data, coding, limit), format_, in_lines=in_lines)


class _Read(NamedTuple):
    """A request's body as JSON, its type as it was sent, and the query string, less what carried the body."""

    body: bytes
    content_type: str | None
    format: Format | None
    params: Params


def _read_source(params: Params, *, in_lines: bool) -> _Read:
    """Read the body that the query string may hold (``RestRequest#contentOrSourceParam``)."""
    if "source" not in params:
        return _Read(b"", None, None, params)
    content_type = params.get("source_content_type")
    format_ = None if content_type is None else format_of(content_type)
    body = to_json(params["source"].encode(), format_, in_lines=in_lines)
    return _Read(body, content_type, format_, params.less(_SOURCE_PARAMS))
