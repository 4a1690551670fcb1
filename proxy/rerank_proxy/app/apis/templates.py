"""`_search/template` and `_msearch/template`: upstream renders, then it is a search like any other."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from rerank_proxy.app.apis.context import MultiAnswer, RequestContext
from rerank_proxy.app.apis.msearch import read_item
from rerank_proxy.app.apis.multi_search import MultiSearchRun, RenderedItem, max_concurrent
from rerank_proxy.app.apis.search import SearchReader
from rerank_proxy.concurrency.offload import offload
from rerank_proxy.concurrency.tasks import side_by_side
from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.observe import stages
from rerank_proxy.search import templates
from rerank_proxy.search.executor import Executor
from rerank_proxy.search.language.detection import may_hold_retriever
from rerank_proxy.search.language.request import SearchRequest
from rerank_proxy.search.msearch import lines
from rerank_proxy.search.msearch.coalescing import Coalescer
from rerank_proxy.search.msearch.fault_order import first_fault
from rerank_proxy.search.msearch.lines import VALIDATION, Item, MultiRequest
from rerank_proxy.search.run import SearchAnswer
from rerank_proxy.upstream.protocol import Reply, Upstream, UpstreamRefusedError
from rerank_proxy.xcontent.params import Params

_RENDERED_AT_ONCE: Final = 16
_OF_THE_TEMPLATE: Final = frozenset(
    {
        "parse_exception", "parsing_exception", "x_content_e_o_f_exception", "x_content_parse_exception",
        VALIDATION,
    }
)  # fmt: skip
"""Errors about the template request itself, not about its rendering."""


class SearchTemplateApi:
    """`_search/template`: a search whose body is rendered."""

    def __init__(self, executor: Executor, reader: SearchReader) -> None:
        self._executor = executor
        self._reader = reader

    async def answer(self, context: RequestContext) -> SearchAnswer | None:
        if not context.has_json_body or not templates.may_rerank(context.body):
            return None
        upstream = context.upstream()
        body = templates.rendered_body(await _render(upstream, context.body))
        if body is None or not may_hold_retriever(body):
            return None
        with stages.stage("parse", "parse"):
            search = await offload(len(body) + len(context.body), self._read, context, body)
        if search is None:
            return None
        context.refuse_smile()
        return await self._executor.run(search, upstream)

    def _read(self, context: RequestContext, body: bytes) -> SearchRequest | None:
        body = templates.with_flags(body, context.body, context.params)
        return self._reader.read(context.index, templates.search_params(context.params, body), body)


class MultiSearchTemplateApi:
    """`_msearch/template`: an `_msearch` whose bodies are rendered.

    Unlike there, a rendered body that cannot be read is its own item's failure
    (``TransportMultiSearchTemplateAction``).
    """

    def __init__(self, executor: Executor, reader: SearchReader) -> None:
        self._executor = executor
        self._reader = reader

    async def answer(self, context: RequestContext) -> MultiAnswer | None:
        if not context.has_json_body:
            return None
        request = await offload(len(context.body), _split, context)
        if request is None:
            return None
        upstream, items = context.upstream(), request.items
        rendered = await _render_all(upstream, items)
        size = len(context.body) + sum(len(reply.body) for reply in rendered)
        with stages.stage("parse", "parse"):
            read_items = await offload(size, self._read_all, items, rendered, context.params)
        if all(isinstance(item, Item | Reply) for item in read_items):
            return None
        context.refuse_smile()
        limit = max_concurrent(context.params)
        await offload(len(context.body), _check, items, read_items, context.params)
        if not request.terminated:
            raise lines.not_terminated()
        coalescer = Coalescer(upstream, lines.shared_query(context.params), apart=True)
        return await MultiSearchRun(self._executor, coalescer, context.params, limit).run(read_items)

    def _read_all(
        self, items: Sequence[Item], rendered: Sequence[Reply], params: Params
    ) -> list[RenderedItem]:
        return [self._read(item, reply, params) for item, reply in zip(items, rendered, strict=True)]

    def _read(self, item: Item, rendered: Reply, params: Params) -> RenderedItem:
        body = templates.rendered_body(rendered)
        if body is None:
            return rendered
        search = Item(item.header, templates.with_flags(body, item.body, Params(())))
        return read_item(search, params, self._reader)


def _split(context: RequestContext) -> MultiRequest | None:
    """Return the request with headers that need no URL around them; None if no template may rerank."""
    if lines.has_too_many(context.body):
        if templates.may_rerank(context.body):
            raise lines.too_many()
        return None
    request = lines.split(context.body)
    if not any(templates.may_rerank(item.body) for item in request.items):
        return None
    defaults = lines.url_defaults(context.index, context.params)
    return replace(request, items=lines.with_defaults(request.items, defaults))


def _check(items: Sequence[Item], rendered: Sequence[RenderedItem], params: Params) -> None:
    """Refuse the whole request for what Elasticsearch finds before it runs a search."""
    for item in items:
        lines.search_params(item, params)
    for each in rendered:
        if isinstance(each, Reply) and lines.error_of(each.body)[0] in _OF_THE_TEMPLATE:
            raise UpstreamRefusedError(each)
    failed = [each for each in rendered if isinstance(each, ElasticsearchError)]
    invalid = [failure for failure in failed if failure.cause.type == VALIDATION]
    if invalid:
        raise first_fault(invalid)


async def _render_all(upstream: Upstream, items: Sequence[Item]) -> list[Reply]:
    rendered: list[Reply] = []
    for start in range(0, len(items), _RENDERED_AT_ONCE):
        some = items[start : start + _RENDERED_AT_ONCE]
        rendered += await side_by_side(_render(upstream, item.body) for item in some)
    return rendered


async def _render(upstream: Upstream, body: bytes) -> Reply:
    with stages.stage("upstream"):
        return await upstream.request("POST", "/_render/template", body)
