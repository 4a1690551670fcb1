"""One round trip or a point in time: which requests can be answered out of the window's own search."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Final

from rerank_proxy.search.language.request import SearchRequest
from rerank_proxy.search.ranks.ranking import RankDoc, has_open_ties
from rerank_proxy.search.retrievers.retriever import LeafRetriever
from rerank_proxy.search.retrievers.text_similarity_reranker import TextSimilarityReranker

_ONE_SEARCH_BODY: Final = frozenset({"_source", "timeout", "version", "seq_no_primary_term", "track_scores"})
_ONE_SEARCH_PARAMS: Final = frozenset(
    {
        "_source", "_source_excludes", "_source_exclude_vectors", "_source_includes",
        "allow_no_indices", "allow_partial_search_results", "batched_reduce_size",
        "ccs_minimize_roundtrips", "error_trace", "expand_wildcards", "from", "human",
        "ignore_throttled", "ignore_unavailable", "index", "max_concurrent_shard_requests",
        "pre_filter_shard_size", "preference", "pretty", "request_cache", "rest_total_hits_as_int",
        "routing", "seq_no_primary_term", "size", "timeout", "track_scores", "track_total_hits",
        "typed_keys", "version",
    }
)  # fmt: skip
_CHANGES_HITS: Final = (b'"_name"', b'"inner_hits"')


@dataclass(frozen=True, slots=True)
class OneSearch:
    """A reranker right above a leaf, which has all the filters."""

    reranker: TextSimilarityReranker
    child: LeafRetriever


def one_search(request: SearchRequest) -> OneSearch | None:
    """The parts of a request whose window's own search can be the answer's: hits, sources and total in one
    round trip.

    Everything else that shapes hits (aggregations, highlighting, collapsing, names, explicit `fields` …)
    needs the final search of native, over the rank docs. So does a tree of more than two retrievers.
    """
    if len([*islice(request.retriever.walk(), 3)]) > 2:  # whose filters would be copied in vain
        return None
    reranker = request.retriever.with_filters()
    if not isinstance(reranker, TextSimilarityReranker) or not isinstance(reranker.child, LeafRetriever):
        return None
    if not (_ONE_SEARCH_BODY.issuperset(request.others) and _ONE_SEARCH_PARAMS.issuperset(request.params)):
        return None
    child = reranker.child
    if reranker.name is not None or child.name is not None or reranker.rank_window_size == 0:
        return None
    if reranker.min_score is not None and child.min_score is not None:
        return None  # the total may count what only the child's own one keeps out of the window
    if request.from_ > reranker.rank_window_size:
        return None  # may be too far for Elasticsearch, which only the final search can tell
    clauses = child.one_search_clauses()
    if clauses is None:
        return None
    if any(word in clause for clause in clauses for word in _CHANGES_HITS):
        return None
    return OneSearch(reranker, child)


def one_search_suffices(request: SearchRequest, ranked: Sequence[RankDoc]) -> bool:
    """Whether the answer out of the window's own search is native's, now that the scores are known."""
    shows_hits = request.page_size > 0 and request.from_ < len(ranked)
    limit = request.track_total_hits
    if not shows_hits and limit is not None and limit is not False:
        return False  # Elasticsearch reports differently on a search that only counts (`terminated_early`)
    return not has_open_ties(ranked, request.from_, request.from_ + request.page_size)
