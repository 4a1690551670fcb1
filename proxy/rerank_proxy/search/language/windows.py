"""A bound on the windows of rerankers, which native does not have: what one search may cost."""

from rerank_proxy.errors import illegal_argument
from rerank_proxy.search.retrievers.retriever import Retriever


def check_windows(retriever: Retriever, most: int) -> None:
    """Refuse a tree in which a reranker, at any depth, has a larger window.

    Args:
        most: The setting `search.max_rank_window_size`; 0 for no bound.

    Raises:
        ElasticsearchError: 400.
    """
    if not most:
        return
    for each in retriever.walk():
        if each.scored_window > most:
            reason = (
                f"[rank_window_size: {each.scored_window}] of [{each.TYPE}] is larger than "
                f"[search.max_rank_window_size: {most}], which this proxy allows"
            )
            raise illegal_argument(reason)
