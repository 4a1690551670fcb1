"""Searches without their reranker: which have a first stage to compare with, and what it answers."""

from dataclasses import replace
from typing import Final

from rerank_proxy.search.language.request import SearchRequest
from rerank_proxy.search.retrievers.compound import CompoundRetriever
from rerank_proxy.search.retrievers.retriever import LeafRetriever
from rerank_proxy.search.retrievers.text_similarity_reranker import TextSimilarityReranker

_SHAPE_THE_ANSWER: Final = frozenset(
    {
        "_source", "_source_excludes", "_source_exclude_vectors", "_source_includes", "aggregations", "aggs",
        "docvalue_fields", "explain", "fields", "from", "highlight", "profile", "rest_total_hits_as_int",
        "script_fields", "seq_no_primary_term", "size", "stored_fields", "suggest", "track_total_hits",
        "typed_keys", "version",
    }
)  # fmt: skip
"""What a search has, in its URL or its body, that makes no difference to its window."""


def outermost(request: SearchRequest) -> TextSimilarityReranker | None:
    """Return the reranker of a search if it is the outermost retriever; None if that is another one."""
    retriever = request.retriever
    return retriever if isinstance(retriever, TextSimilarityReranker) else None


def is_comparable(request: SearchRequest, reranker: TextSimilarityReranker) -> bool:
    """Return whether a search may be answered in another order than its reranker's.

    It may where there is no other reranker, and nothing is made of the scores but an order: no `min_score`
    cuts them off, and neither an explanation nor a profile tells of them.
    """
    rerankers = [each for each in reranker.walk() if isinstance(each, TextSimilarityReranker)]
    return (
        len(rerankers) == 1
        and reranker.rank_window_size > 0
        and request.final_min_score is None
        and not request.asks("explain")
        and not request.asks("profile")
    )


def without_reranker(
    request: SearchRequest, reranker: TextSimilarityReranker
) -> SearchRequest | LeafRetriever:
    """Return the search with the child of its reranker in the reranker's place, with the filters of both.

    Returns:
        The child alone, with its filters, if a search for it is all that this takes.
    """
    child = reranker.child
    if isinstance(child, CompoundRetriever):
        child = replace(child, filters=(*child.filters, *reranker.filters))
        return replace(request, retriever=child, size=request.page_size)
    leaf = reranker.with_filters().child
    assert isinstance(leaf, LeafRetriever)
    return leaf


def window_alone(request: SearchRequest) -> SearchRequest:
    """Return a search for the same window, of whose answer nothing is shown."""
    members = request.opaque_members.items()
    return replace(
        request,
        params=request.params.less(_SHAPE_THE_ANSWER),
        size=None,
        from_=0,
        track_total_hits=False,
        opaque_members={
            **{name: value for name, value in members if name not in _SHAPE_THE_ANSWER},
            "_source": b"false",
        },
    )
