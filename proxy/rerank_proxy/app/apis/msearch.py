"""`_msearch`: many searches in one request."""

from collections.abc import Sequence
from typing import NamedTuple

from rerank_proxy.app.apis.context import MultiAnswer, RequestContext
from rerank_proxy.app.apis.multi_search import Batch, ReadPlan, max_concurrent
from rerank_proxy.app.apis.search import SearchReader
from rerank_proxy.concurrency.offload import offload
from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.search.executor import Executor
from rerank_proxy.search.language.detection import may_hold_retriever
from rerank_proxy.search.language.request import SearchRequest
from rerank_proxy.search.msearch import lines
from rerank_proxy.search.msearch.coalescing import Rounds
from rerank_proxy.search.msearch.fault_order import conclude, rehearsal, verdict
from rerank_proxy.search.msearch.lines import Item
from rerank_proxy.search.parse_faults import find_parse_fault, may_be_parse_fault
from rerank_proxy.search.targets import RESPONSE_FORMAT
from rerank_proxy.upstream.protocol import Reply, UpstreamRefusedError
from rerank_proxy.xcontent.params import Params


class MultiSearch:
    """Items without a reranker go upstream as they are, in one request with the searches of the others."""

    def __init__(self, executor: Executor, reader: SearchReader) -> None:
        self._executor = executor
        self._reader = reader

    async def answer(self, context: RequestContext) -> MultiAnswer | None:
        read = await offload(len(context.body), self._read, context) if context.has_json_body else None
        if read is None:
            return None
        items, plans, dangling, terminated = read
        context.refuse_smile()
        limit = max_concurrent(context.params)
        await _check(context, items, [*plans, dangling])
        if not terminated:
            raise lines.not_terminated()
        rounds = Rounds(context.upstream(), lines.shared_query(context.params))
        try:
            return await Batch(self._executor, rounds, context.params, limit).run(plans)
        except UpstreamRefusedError as refused:
            await _check(context, items, await _with_parse_fault(context, plans, refused.reply))
            raise

    def _read(self, context: RequestContext) -> "_Read | None":
        """Read all items; None when there is nothing for us among them."""
        body = context.body
        if lines.has_too_many(body):
            if any(self._reader.handles(line) for line in lines.retriever_lines(body)):
                raise lines.too_many()
            return None
        request = lines.split(body)
        if not any(may_hold_retriever(item.body) for item in request.items):
            return None
        items = lines.with_defaults(request.items, lines.url_defaults(context.index, context.params))
        plans = [plan_item(item, context.params, self._reader) for item in items]
        if all(isinstance(plan, Item) for plan in plans):
            return None
        return _Read(items, plans, _fault(request.dangling), request.terminated)


class _Read(NamedTuple):
    """A request that is answered here.

    Attributes:
        dangling: What is wrong with a header after the last item.
    """

    items: Sequence[Item]
    plans: Sequence[ReadPlan]
    dangling: ElasticsearchError | None
    terminated: bool


def plan_item(item: Item, params: Params, reader: SearchReader) -> ReadPlan:
    """What is to become of an item: it goes upstream, is searched here, or is refused.

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


async def _with_parse_fault(
    context: RequestContext, plans: Sequence[ReadPlan], refusal: Reply
) -> Sequence[ReadPlan]:
    """The plans; the first of ours whose text upstream could not read is replaced by its fault.

    Args:
        refusal: Of a whole round, whose texts were not the client's.
    """
    if not may_be_parse_fault(refusal):
        return plans
    upstream, style = context.upstream(), context.params.only(RESPONSE_FORMAT)
    for at, plan in enumerate(plans):
        if not isinstance(plan, SearchRequest):
            continue
        fault = await find_parse_fault(plan.body, upstream, style)
        if isinstance(fault, UpstreamRefusedError):
            raise fault
        if fault is not None:
            return [*plans[:at], fault, *plans[at + 1 :]]
    return plans


async def _check(
    context: RequestContext,
    items: Sequence[Item],
    plans: Sequence[ReadPlan | None],
) -> None:
    """Refuse the request if an item of ours is bad, for the fault that Elasticsearch would name."""
    faults = [plan if isinstance(plan, ElasticsearchError) else None for plan in plans]
    own = [fault for fault in faults if fault is not None]
    if not own:
        return
    searches = rehearsal(items, [isinstance(plan, Item) for plan in plans], faults)
    if searches is None:
        raise verdict(own)
    query = lines.shared_query(context.params)
    answer = await context.upstream().request("POST", f"/_msearch?{query}", searches)
    told = await offload(len(answer.body), conclude, answer, own)
    raise UpstreamRefusedError(told) if isinstance(told, Reply) else told
