"""Decide which requests can be answered in one round trip, from the search for the rank window."""

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
        "allow_no_indices", "allow_partial_search_results", "batched_reduce_size",
        "ccs_minimize_roundtrips", "error_trace", "expand_wildcards", "from", "human",
        "ignore_throttled", "ignore_unavailable", "index", "max_concurrent_shard_requests",
        "pre_filter_shard_size", "preference", "pretty", "request_cache", "rest_total_hits_as_int",
        "routing", "seq_no_primary_term", "size", "timeout", "track_scores", "track_total_hits",
        "typed_keys", "version",
    }
)  # fmt: skip
_CHANGES_HITS: Final = (b'"_name"', b'"inner_hits"')
_WHOLE_SOURCE: Final = (b"true", b"false")
"""Elasticsearch filters a source as bytes or, where it has read it for `fields`, as a map.

They differ in the order of what is left, and in which empty objects are. Native's final search has bytes.
"""


@dataclass(frozen=True, slots=True)
class OneSearch:
    """A tree of a reranker and its child, a leaf that has all filters of the tree."""

    reranker: TextSimilarityReranker
    child: LeafRetriever


def one_search(request: SearchRequest) -> OneSearch | None:
    """Return the tree of a request that may take one round trip; None if it needs a point in time.

    One search for the rank window then brings hits, sources and total. Everything else that shapes hits
    (aggregations, highlighting, collapsing, names, explicit `fields` …) needs the final search of native,
    over the ranked documents. So does a tree of more than two retrievers.
    """
    if len([*islice(request.retriever.walk(), 3)]) > 2:  # checked first, to copy no filters in vain
        return None
    reranker = request.retriever.with_filters()
    if not isinstance(reranker, TextSimilarityReranker) or not isinstance(reranker.child, LeafRetriever):
        return None
    if not (
        _ONE_SEARCH_BODY.issuperset(request.opaque_members) and _ONE_SEARCH_PARAMS.issuperset(request.params)
    ):
        return None
    if request.opaque_members.get("_source", b"true") not in _WHOLE_SOURCE:
        return None
    child = reranker.child
    if reranker.name is not None or child.name is not None or reranker.rank_window_size == 0:
        return None
    if reranker.min_score is not None and child.min_score is not None:
        return None  # the total may count documents that only the child's `min_score` keeps out of the window
    if request.from_ > reranker.rank_window_size:
        return None  # only the final search can tell whether that is too far for Elasticsearch
    clauses = child.one_search_clauses()
    if clauses is None:
        return None
    if any(word in clause for clause in clauses for word in _CHANGES_HITS):
        return None
    return OneSearch(reranker, child)


def one_search_suffices(request: SearchRequest, ranked: Sequence[RankDoc]) -> bool:
    """Return whether an answer from the search for the rank window is native's, now that scores are known."""
    shows_hits = request.page_size > 0 and request.from_ < len(ranked)
    limit = request.track_total_hits
    if not shows_hits and limit is not None and limit is not False:
        return False  # a search that only counts is reported differently (`terminated_early`)
    return not has_open_ties(ranked, request.from_, request.from_ + request.page_size)
