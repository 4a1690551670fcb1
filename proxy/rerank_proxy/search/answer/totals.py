"""`hits.total` of a reranked search that took one round trip."""

from collections.abc import Sequence

from rerank_proxy.search.inner.bodies import needs_tail
from rerank_proxy.search.inner.window import Total
from rerank_proxy.search.language.grammar import TrackTotalHits
from rerank_proxy.search.language.request import SearchRequest
from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.search.retrievers.compound import CompoundRetriever
from rerank_proxy.search.retrievers.retriever import LeafRetriever


def final_total(request: SearchRequest, ranked: Sequence[RankDoc], inner: Total | None) -> Total | None:
    """What the final search of native would count.

    It counts the rank docs that pass its `min_score` and, where the tail takes part and a score of 0 passes
    too, all matches of the child. Counting stops at `track_total_hits`.

    Args:
        inner: The child's own total under the same `track_total_hits`.

    Returns:
        None for `track_total_hits: false`, when the key is absent.
    """
    limit = request.track_total_hits
    if limit is False:
        return None
    minimum = request.final_min_score
    counts_tail = needs_tail(request, len(ranked)) and (minimum is None or minimum <= 0)
    # A vector search stands for just the documents that came back from it, reranked.
    if counts_tail and not _stands_for_its_results(request.retriever):
        return inner
    return _counted(sum(1 for doc in ranked if minimum is None or doc.score >= minimum), limit)


def _stands_for_its_results(retriever: CompoundRetriever) -> bool:
    (child,) = retriever.children
    return isinstance(child, LeafRetriever) and child.stands_for_its_results


def _counted(matches: int, limit: TrackTotalHits | None) -> Total:
    """Counting stops at a numeric `track_total_hits`; the default one is never reached by a window."""
    if limit is None or limit is True or matches <= limit:
        return Total(matches, "eq")
    return Total(limit, "gte")
