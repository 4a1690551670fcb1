"""`_msearch`: many searches in one request."""

from collections.abc import Sequence
from itertools import islice
from typing import Final, NamedTuple

from rerank_proxy.app.apis.context import MultiAnswer, RequestContext
from rerank_proxy.app.apis.multi_search import MultiSearchRun, ReadItem, max_concurrent
from rerank_proxy.app.apis.search import SearchReader
from rerank_proxy.concurrency.offload import offload
from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.observe import stages
from rerank_proxy.search.executor import Executor
from rerank_proxy.search.language.detection import may_hold_retriever
from rerank_proxy.search.language.request import InvalidSearchError, SearchRequest
from rerank_proxy.search.msearch import lines
from rerank_proxy.search.msearch.coalescing import Coalescer
from rerank_proxy.search.msearch.fault_order import first_fault, probe, resolve
from rerank_proxy.search.msearch.lines import Item
from rerank_proxy.search.parse_faults import find_parse_fault, may_be_parse_fault
from rerank_proxy.search.targets import RESPONSE_FORMAT
from rerank_proxy.upstream.protocol import Reply, UpstreamRefusedError
from rerank_proxy.xcontent.params import Params

_MOST_ASKED: Final = 16
"""Of a request's items that are not valid, upstream is asked about so many."""


class MultiSearchApi:
    """`_msearch`: items without a reranker go upstream as they are, with the searches of the others."""

    def __init__(self, executor: Executor, reader: SearchReader) -> None:
        self._executor = executor
        self._reader = reader

    async def answer(self, context: RequestContext) -> MultiAnswer | None:
        with stages.stage("parse", "parse"):
            read = await offload(len(context.body), self._read, context) if context.has_json_body else None
        if read is None:
            return None
        items, read_items, dangling, terminated = read
        context.refuse_smile()
        limit = max_concurrent(context.params)
        read_items = await _with_first_fault(context, items, read_items, InvalidSearchError, _MOST_ASKED)
        await _check(context, items, [*read_items, dangling])
        if not terminated:
            raise lines.not_terminated()
        coalescer = Coalescer(context.upstream(), lines.shared_query(context.params))
        try:
            return await MultiSearchRun(self._executor, coalescer, context.params, limit).run(read_items)
        except UpstreamRefusedError as refused:
            if may_be_parse_fault(refused.reply):
                found = await _with_first_fault(context, items, read_items, SearchRequest)
                await _check(context, items, found)
            raise

    def _read(self, context: RequestContext) -> "_Read | None":
        """Read all items; None if none of them is searched here."""
        body = context.body
        if lines.has_too_many(body):
            if any(self._reader.handles(line) for line in lines.retriever_lines(body)):
                raise lines.too_many()
            return None
        request = lines.split(body)
        if not any(may_hold_retriever(item.body) for item in request.items):
            return None
        items = lines.with_defaults(request.items, lines.url_defaults(context.index, context.params))
        read_items = [read_item(item, context.params, self._reader) for item in items]
        if all(isinstance(item, Item) for item in read_items):
            return None
        return _Read(items, read_items, _fault(request.dangling), request.terminated)


class _Read(NamedTuple):
    """A request that is answered here, read.

    Attributes:
        dangling: What is wrong with a header after the last item.
    """

    items: Sequence[Item]
    read_items: Sequence[ReadItem]
    dangling: ElasticsearchError | None
    terminated: bool


def read_item(item: Item, params: Params, reader: SearchReader) -> ReadItem:
    """Read an item; return it as it is if it goes upstream.

    Args:
        params: Of the request's URL.
    """
    if not may_hold_retriever(item.body):
        return item
    try:
        index, own_params = lines.search_params(item, params)
    except ElasticsearchError as refused:
        return refused if reader.handles(item.body) else item
    try:
        return reader.read(index, own_params, item.body) or item
    except ElasticsearchError as refused:
        return refused


def _fault(dangling: bytes) -> ElasticsearchError | None:
    try:
        lines.search_params(Item(dangling, b""), Params(()))
    except ElasticsearchError as refused:
        return refused
    return None


async def _with_first_fault(
    context: RequestContext,
    items: Sequence[Item],
    read_items: Sequence[ReadItem],
    kind: type[SearchRequest | InvalidSearchError],
    most: int | None = None,
) -> Sequence[ReadItem]:
    """Return the items with the first fault that only upstream can find in the body of one of them.

    Args:
        kind: What the item whose body may have it was read as.
        most: Of so many such items upstream is asked; None for all.
    """
    upstream, layout = context.upstream(), context.params.only(RESPONSE_FORMAT)
    places = (at for at, item in enumerate(read_items) if isinstance(item, kind))
    for at in islice(places, most):
        with stages.stage("upstream"):
            fault = await find_parse_fault(items[at].body, upstream, layout)
        if isinstance(fault, UpstreamRefusedError):
            raise fault
        if fault is not None:
            return [*read_items[:at], fault, *read_items[at + 1 :]]
    return read_items


async def _check(
    context: RequestContext,
    items: Sequence[Item],
    read_items: Sequence[ReadItem | None],
) -> None:
    """Refuse the request if a fault was found in it here, for the fault that Elasticsearch would report."""
    faults = [item if isinstance(item, ElasticsearchError) else None for item in read_items]
    own = [fault for fault in faults if fault is not None]
    if not own:
        return
    searches = probe(items, [isinstance(item, Item) for item in read_items], faults)
    if searches is None:
        raise first_fault(own)
    query = lines.shared_query(context.params)
    with stages.stage("upstream"):
        answer = await context.upstream().request("POST", f"/_msearch?{query}", searches)
    told = await offload(len(answer.body), resolve, answer, own)
    raise UpstreamRefusedError(told) if isinstance(told, Reply) else told
