"""Search APIs that may carry a retriever and that this proxy does not answer."""

from rerank_proxy.app.apis.context import RequestContext
from rerank_proxy.concurrency.offload import offload
from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.search.language.detection import holds_reranker
from rerank_proxy.search.language.retrievers import TEXT_SIMILARITY_RERANKER
from rerank_proxy.search.language.unsupported import unsupported
from rerank_proxy.xcontent.source import parse


class OtherApi:
    """Refuses a reranker rather than let upstream say that it does not know the retriever. A body that merely
    mentions the word goes on.
    """

    async def answer(self, context: RequestContext) -> None:
        if await offload(len(context.body), _holds_reranker, context.body):
            api = context.path.rstrip("/").rpartition("/_")[2]
            raise unsupported(f"[{TEXT_SIMILARITY_RERANKER}] in [_{api}]")


def _holds_reranker(document: bytes) -> bool:
    try:
        return holds_reranker(parse(document))
    except ElasticsearchError:
        return False
