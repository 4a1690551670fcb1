"""Which searches are evaluated here: `_search`, and other APIs that may hold one, which are not served."""

from collections.abc import Awaitable, Callable, Collection

from rerank_proxy.app.apis.context import RequestContext
from rerank_proxy.concurrency.offload import offload
from rerank_proxy.errors import ElasticsearchError, unsupported
from rerank_proxy.observe import stages
from rerank_proxy.search.executor import Executor
from rerank_proxy.search.language.detection import handles, holds_reranker
from rerank_proxy.search.language.request import InvalidSearchError, SearchRequest, parse_search
from rerank_proxy.search.language.windows import check_windows
from rerank_proxy.search.parse_faults import find_earlier_fault
from rerank_proxy.search.retrievers.text_similarity_reranker import TextSimilarityReranker
from rerank_proxy.search.run import SearchAnswer
from rerank_proxy.search.targets import target
from rerank_proxy.settings import SearchSettings
from rerank_proxy.upstream.protocol import UpstreamRefusedError
from rerank_proxy.xcontent.params import Params
from rerank_proxy.xcontent.source import parse


class SearchReader:
    """Tells searches that are evaluated here from all others, and reads them.

    Args:
        evaluated: Returns the types of retrievers that, beside the reranker, are evaluated here as of now.
        max_window: The largest window of a reranker; 0 for no bound.
    """

    def __init__(self, evaluated: Callable[[], Collection[str]] = frozenset, *, max_window: int = 0) -> None:
        self._evaluated = evaluated
        self._max_window = max_window

    def use(self, search: SearchSettings) -> None:
        """Use another bound for windows, for searches that are read from now on."""
        self._max_window = search.max_rank_window_size

    def handles(self, body: bytes) -> bool:
        """Return whether a search with this body is evaluated here."""
        return handles(body, self._evaluated())

    def read(self, index: str | None, params: Params, body: bytes) -> SearchRequest | None:
        """Read a search; see `parse_search`. Return None for one that upstream answers.

        Raises:
            ElasticsearchError: 400, also for a window that is too large.
        """
        search = parse_search(index, params, body, evaluate=self._evaluated())
        if search is not None:
            check_windows(search.retriever, self._max_window)
        return search


class SearchApi:
    """`_search`."""

    def __init__(self, executor: Executor, reader: SearchReader) -> None:
        self._executor = executor
        self._reader = reader

    async def answer(self, context: RequestContext) -> SearchAnswer | None:
        if not context.has_json_body:
            return None
        try:
            with stages.stage("parse", "parse"):
                search = await offload(
                    len(context.body), self._reader.read, context.index, context.params, context.body
                )
        except InvalidSearchError as refused:
            where = target(context.index, "_search", context.params.without(()))
            fault = find_earlier_fault(context.body, context.upstream(), where)
            raise await native_refusal(refused, fault) from refused
        if search is None:
            return None
        context.refuse_smile()
        return await self._executor.run(search, context.upstream())


Refusal = ElasticsearchError | UpstreamRefusedError


async def native_refusal(refused: InvalidSearchError, fault: Awaitable[Refusal | None]) -> Refusal:
    """Return the error that native has for a search that is not valid.

    Args:
        fault: One that native finds before it validates the search, as upstream tells it.
    """
    try:
        with stages.stage("upstream"):
            return await fault or refused
    except ElasticsearchError:  # upstream does not answer, but that the search is not valid is certain
        return refused


class OtherSearchApi:
    """A search API that may hold a retriever and that the proxy does not answer.

    It refuses a reranker, rather than let upstream say that it does not know the retriever. A body that
    merely mentions the word goes on.
    """

    async def answer(self, context: RequestContext) -> None:
        if await offload(len(context.body), _holds_reranker, context.body):
            api = context.path.rstrip("/").rpartition("/_")[2]
            raise unsupported(f"[{TextSimilarityReranker.TYPE}] in [_{api}]")


def _holds_reranker(document: bytes) -> bool:
    try:
        return holds_reranker(parse(document))
    except ElasticsearchError:
        return False
