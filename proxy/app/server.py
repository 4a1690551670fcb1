"""The application's HTTP side: requests that the edge found to mention a reranker, and their answers."""

import asyncio
import logging
import re
import time
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from aiohttp import web

from proxy.app import content
from proxy.app.headers import for_upstream
from proxy.app.metrics import SearchMetrics
from proxy.app.upstream import UpstreamClient
from proxy.errors import ElasticsearchError, error
from proxy.observe.outcome import HEADER
from proxy.search.executor import Executor, SearchAnswer
from proxy.search.grammar import names_reranker, unsupported
from proxy.search.params import Params, parse_params
from proxy.search.rawjson import Printer
from proxy.search.request import SearchRequest, parse_search
from proxy.search.retrievers import TEXT_SIMILARITY_RERANKER
from proxy.search.source import STRING, parse
from proxy.search.upstream import Reply, UpstreamRefusedError

logger = logging.getLogger(__name__)

PASS_HEADER: Final = "x-rerank-proxy"
_SEARCH: Final = re.compile(r"/(?:([^/]+)/)?_search/?")
_VENDOR_JSON: Final = re.compile(
    r"\s*application/vnd\.elasticsearch\+json\s*;\s*compatible-with\s*=\s*(\d+)\s*", re.IGNORECASE
)
_SOURCE_PARAMS: Final = frozenset({"source", "source_content_type"})
_COMPRESS_OFF_LOOP: Final = 64 * 1024


@dataclass(frozen=True, slots=True)
class Body:
    """A decoded request body and where it came from."""

    data: bytes
    content_type: str | None
    params: Params
    """The query string, less what carried the body."""


class App:
    """Handles one request at a time for any number of callers.

    Args:
        max_body: Bytes of the largest decoded body.
    """

    def __init__(
        self, executor: Executor, upstream: UpstreamClient, metrics: SearchMetrics, max_body: int
    ) -> None:
        self._executor = executor
        self._upstream = upstream
        self._metrics = metrics
        self._max_body = max_body

    def application(self) -> web.Application:
        app = web.Application(client_max_size=0)
        app.router.add_route("*", "/{path:.*}", self.handle)
        app.on_response_prepare.append(_drop_added_headers)
        return app

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Answer a search, or tell the edge to send it upstream as it is."""
        began = time.perf_counter()
        try:
            answer = await self._answer(request)
        except UpstreamRefusedError as refused:
            self._metrics.refused(refused.reply.status)
            return await _relay(request, refused.reply)
        except ElasticsearchError as failure:
            self._metrics.refused(failure.status)
            return await _error_response(request, failure)
        except Exception:
            # A defect of ours must not reach the client as a closed connection or a bare text.
            logger.exception("a search failed in the proxy itself")
            self._metrics.refused(500)
            defect = error(500, "illegal_state_exception", "rerank-proxy failed; its log has the details")
            return await _error_response(request, defect)
        if answer is None:
            self._metrics.passed_on()
            return web.Response(status=421, headers={PASS_HEADER: "pass"})
        self._metrics.answered(answer, time.perf_counter() - began)
        headers = [*answer.headers, (HEADER, answer.outcome.header())]
        return await _respond(request, 200, headers, answer.body)

    async def _answer(self, request: web.Request) -> SearchAnswer | None:
        path, _, query = request.raw_path.partition("?")
        body = await self._read(request, parse_params(query))
        search = _parse(path, body, request.headers.get("Accept"))
        if search is None:
            return None
        headers = for_upstream(request.raw_headers)
        if body.content_type is not None:
            headers.popall("Content-Type", None)
            headers["Content-Type"] = body.content_type
        return await self._executor.run(search, self._upstream.for_caller(headers))

    async def _read(self, request: web.Request, params: Params) -> Body:
        data = await request.read()
        if not data and "source" in params:
            kept = tuple(pair for pair in params.pairs if pair[0] not in _SOURCE_PARAMS)
            return Body(params["source"].encode(), params.get("source_content_type"), Params(kept))
        coding = request.headers.get("Content-Encoding")
        if coding and len(data) > _COMPRESS_OFF_LOOP:
            data = await asyncio.to_thread(content.decode, data, coding, self._max_body)
        else:
            data = content.decode(data, coding, self._max_body)
        return Body(data, request.headers.get("Content-Type"), params)


def _parse(path: str, body: Body, accept: str | None) -> SearchRequest | None:
    if content.is_other_format(body.content_type):
        raise unsupported(f"[{TEXT_SIMILARITY_RERANKER}] in a body of type [{body.content_type}]")
    match = _SEARCH.fullmatch(path)
    if match is None:
        _refuse_other_api(path, body.data)
        return None
    if not body.data or not content.is_json(body.content_type):
        return None  # a search by URL alone, or one that Elasticsearch answers 406, in its own words
    search = parse_search(match[1], body.params, body.data)
    if search is not None and content.is_other_format(accept):
        raise unsupported(f"[{TEXT_SIMILARITY_RERANKER}] with an answer of type [{accept}]")
    return search


def _refuse_other_api(path: str, body: bytes) -> None:
    """Every other search API may carry a retriever too; refuse it here rather than let upstream say that it
    does not know the retriever. A body that merely mentions the word goes on.
    """
    api = path.rstrip("/").rpartition("/_")[2]
    documents = body.splitlines() if api.startswith("msearch") else [body]
    if any(_names_reranker(document) for document in documents):
        raise unsupported(f"[{TEXT_SIMILARITY_RERANKER}] in [_{api}]")


def _names_reranker(document: bytes) -> bool:
    try:
        root = parse(document)
    except ElasticsearchError:
        return False
    template = root.members.get("source")
    if template is not None and template.kind == STRING:
        return TEXT_SIMILARITY_RERANKER in template.scalar()  # what it becomes is known when it is rendered
    return names_reranker(root)


async def _drop_added_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Elasticsearch sends neither, and a client must not be able to tell."""
    response.headers.popall("Date", None)
    response.headers.popall("Server", None)


async def _relay(request: web.Request, reply: Reply) -> web.Response:
    return await _respond(request, reply.status, reply.headers, reply.body)


async def _error_response(request: web.Request, failure: ElasticsearchError) -> web.Response:
    headers = [("X-elastic-product", "Elasticsearch"), ("content-type", _error_media_type(request))]
    opaque_id = request.headers.get("X-Opaque-Id")
    if opaque_id is not None:
        headers.insert(0, ("X-Opaque-Id", opaque_id))
    printer = Printer(parse_params(request.raw_path.partition("?")[2]).get("pretty") in ("", "true"))
    body = printer.value(failure.body()) + printer.end()
    return await _respond(request, failure.status, headers, body)


async def _respond(
    request: web.Request, status: int, headers: Iterable[tuple[str, str]], body: bytes
) -> web.Response:
    accepted = request.headers.get("Accept-Encoding")
    if accepted and len(body) > _COMPRESS_OFF_LOOP:
        coded, coding = await asyncio.to_thread(content.encode, body, accepted)
    else:
        coded, coding = content.encode(body, accepted)
    response = web.Response(status=status, body=coded)
    response.headers.popall("Content-Type", None)
    for name, value in headers:
        response.headers.add(name, value)
    if coding is not None:
        response.headers["content-encoding"] = coding
    return response


def _error_media_type(request: web.Request) -> str:
    """The type that Elasticsearch would answer with: JSON, in the vendor's spelling when asked for."""
    accept = request.headers.get("Accept", "")
    match = _VENDOR_JSON.fullmatch(accept)
    if match is None:
        return "application/json"
    return f"application/vnd.elasticsearch+json;compatible-with={match[1]}"
