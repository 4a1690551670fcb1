"""`_search`."""

from rerank_proxy.app.apis.context import ParseSearch, RequestContext
from rerank_proxy.concurrency.offload import offload
from rerank_proxy.search.executor import Executor
from rerank_proxy.search.run import SearchAnswer


class Search:
    def __init__(self, executor: Executor, parse: ParseSearch) -> None:
        self._executor = executor
        self._parse = parse

    async def answer(self, context: RequestContext) -> SearchAnswer | None:
        if not context.has_json_body:
            return None
        search = await offload(len(context.body), self._parse, context.index, context.params, context.body)
        if search is None:
            return None
        context.refuse_smile()
        return await self._executor.run(search, context.upstream())
