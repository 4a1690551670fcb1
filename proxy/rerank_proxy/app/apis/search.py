"""Which searches are evaluated here, and `_search`, the plainest API of them."""

from collections.abc import Callable, Collection

from rerank_proxy.app.apis.context import RequestContext
from rerank_proxy.concurrency.offload import offload
from rerank_proxy.search.executor import Executor, SearchAnswer
from rerank_proxy.search.language.detection import handles
from rerank_proxy.search.language.request import SearchRequest, parse_search
from rerank_proxy.xcontent.params import Params


class SearchReader:
    """Tells searches that are evaluated here from all others, and reads them.

    Args:
        evaluated: Returns the types of retrievers that, beside the reranker, are evaluated here as of now.
    """

    def __init__(self, evaluated: Callable[[], Collection[str]] = frozenset) -> None:
        self._evaluated = evaluated

    def handles(self, body: bytes) -> bool:
        """Return whether a search with this body is evaluated here."""
        return handles(body, self._evaluated())

    def read(self, index: str | None, params: Params, body: bytes) -> SearchRequest | None:
        """Read a search; see `parse_search`. Return None for one that upstream answers."""
        return parse_search(index, params, body, evaluate=self._evaluated())


class Search:
    """`_search`."""

    def __init__(self, executor: Executor, reader: SearchReader) -> None:
        self._executor = executor
        self._reader = reader

    async def answer(self, context: RequestContext) -> SearchAnswer | None:
        if not context.has_json_body:
            return None
        search = await offload(
            len(context.body), self._reader.read, context.index, context.params, context.body
        )
        if search is None:
            return None
        context.refuse_smile()
        return await self._executor.run(search, context.upstream())
