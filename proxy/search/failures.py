"""Run-time failures as native reports them."""

from typing import Final

from proxy.errors import Cause, ElasticsearchError
from proxy.search.retrievers import TEXT_SIMILARITY_RERANKER, LeafRetriever, StandardRetriever

_PHASE: Final = {"phase": "rank-feature", "grouped": True, "failed_shards": []}


def rank_phase_failure(failure: ElasticsearchError, child: LeafRetriever) -> ElasticsearchError:
    """A failure to score, in the wrapper that ``CompoundRetrieverBuilder`` puts around its children's."""
    name = "standard" if isinstance(child, StandardRetriever) else "knn"
    reason = (
        f"[{TEXT_SIMILARITY_RERANKER}] search failed - retrievers '[{name}]' returned errors. "
        "All failures are attached as suppressed exceptions."
    )
    phase = Cause(
        "search_phase_execution_exception",
        "Computing updated ranks for results failed",
        _PHASE,
        caused_by=failure.cause,
    )
    return ElasticsearchError(failure.status, Cause("status_exception", reason, suppressed=(phase,)))
