"""The bodies of the searches that are sent for a request, decoded."""

import json
from typing import Any

from rerank_proxy.search.inner import bodies
from rerank_proxy.search.language.request import SearchRequest
from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.search.retrievers.retriever import EvaluatedRetriever, LeafRetriever
from rerank_proxy.search.retrievers.text_similarity_reranker import TextSimilarityReranker
from tests.support.searches import request

PIT = b'{"id":"abc","keep_alive":"5m"}'


def docs(*scores: float) -> list[RankDoc]:
    return [RankDoc("films", f"id {place}", place, score=score) for place, score in enumerate(scores)]


def parts(parsed: SearchRequest) -> tuple[TextSimilarityReranker, LeafRetriever]:
    """Return the reranker and the leaf below it, which has all filters."""
    reranker = parsed.retriever.with_filters()
    assert isinstance(reranker, TextSimilarityReranker)
    assert isinstance(reranker.child, LeafRetriever)
    return reranker, reranker.child


def single(body: Any, query: str = "") -> Any:
    parsed = request(body, query)
    return json.loads(bodies.single_search(parsed, *parts(parsed)))


def inner_bytes(parsed: SearchRequest) -> bytes:
    reranker, child = parts(parsed)
    return bodies.inner_search(PIT, child.clauses(), reranker.rank_window_size, {reranker.field})


def inner(body: Any) -> Any:
    return json.loads(inner_bytes(request(body)))


def final_bytes(
    parsed: SearchRequest, ranked: list[RankDoc], *, window: list[RankDoc] | None = None
) -> bytes:
    reranker, child = parts(parsed)
    found = EvaluatedRetriever(child, ranked if window is None else window)
    return bodies.final_search(parsed, PIT, EvaluatedRetriever(reranker, ranked, (found,)))


def final(body: Any, ranked: list[RankDoc] | None = None, *, window: list[RankDoc] | None = None) -> Any:
    return json.loads(final_bytes(request(body), docs(2.5, 0.5) if ranked is None else ranked, window=window))
