"""Compute `hits.total` of a reranked search that took one round trip."""

from collections.abc import Sequence

from rerank_proxy.search.inner.bodies import needs_tail
from rerank_proxy.search.inner.window import Total
from rerank_proxy.search.language.grammar import TrackTotalHits
from rerank_proxy.search.language.request import SearchRequest
from rerank_proxy.search.ranks.ranking import RankDoc


def final_total(request: SearchRequest, ranked: Sequence[RankDoc], inner: Total | None) -> Total | None:
    """Return the total that native's final search would have.

    It counts the ranked documents that pass its `min_score`. If it also searches for the tail, and a score of
    0 passes, it counts all matches of the child. Counting stops at `track_total_hits`.

    Args:
        inner: The total of the child's search with the same `track_total_hits`.

    Returns:
        The total; None for `track_total_hits: false`, when the answer has none.
    """
    limit = request.track_total_hits
    if limit is False:
        return None
    minimum = request.final_min_score
    counts_tail = needs_tail(request, len(ranked)) and (minimum is None or minimum <= 0)
    # In the final search a vector search stands only for the documents that it found and that were reranked.
    if counts_tail and not any(child.stands_for_its_results for child in request.retriever.children):
        return inner
    return _counted(sum(1 for doc in ranked if minimum is None or doc.score >= minimum), limit)


def _counted(matches: int, limit: TrackTotalHits | None) -> Total:
    """Return a total that stops at a numeric `track_total_hits`. No window reaches the default one."""
    if limit is None or limit is True or matches <= limit:
        return Total(matches, "eq")
    return Total(limit, "gte")
