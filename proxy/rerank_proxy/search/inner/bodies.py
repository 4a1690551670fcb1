"""Build the bodies of the searches that are sent upstream."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from rerank_proxy.search.inner.highlighting import highlighting
from rerank_proxy.search.inner.index_boosts import without_effect
from rerank_proxy.search.inner.matches import explainable, highlightable, tail
from rerank_proxy.search.language.request import SearchRequest
from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.search.retrievers.queries import (
    any_of,
    array,
    boolean,
    query,
    rank_docs,
    to_float,
    to_json,
    to_object,
)
from rerank_proxy.search.retrievers.retriever import EvaluatedRetriever, LeafRetriever
from rerank_proxy.search.retrievers.text_similarity_reranker import TextSimilarityReranker
from rerank_proxy.xcontent.object_parser import INT_MAX
from rerank_proxy.xcontent.source import parse_array
from rerank_proxy.xcontent.splicing import members

_NO_ID: Final = b'{"ids":{"values":["%s"]}}' % (b"-" * 513)
"""Matches nothing: an id may have 512 bytes at most."""
_SHARD_DOC_ORDER: Final = b'{"_shard_doc":"asc"}'
_NOT_IN_FINAL: Final = frozenset({"pit"})
_DECIDE_ON_HITS: Final = frozenset(
    {"pit", "query", "from", "size", "min_score", "post_filter", "collapse", "slice", "runtime_mappings"}
)
"""Members of a body that determine which documents a page shows."""


def single_search(request: SearchRequest, reranker: TextSimilarityReranker, child: LeafRetriever) -> bytes:
    """Return the body of the only search of a request: for its rank window, texts, sources and total."""
    body = {name: value for name, value in request.opaque_members.items() if name != "timeout"}
    body.update(child.clauses())
    body["size"] = to_json(reranker.rank_window_size)
    body["fields"] = _fields({reranker.field})
    if request.track_total_hits is not None:
        body["track_total_hits"] = to_json(request.track_total_hits)
    return to_object(body)


def first_stage_search(request: SearchRequest, child: LeafRetriever) -> bytes:
    """Return the body of a search in which the child of a reranker stands in its place."""
    body = {**request.opaque_members, **child.clauses()}
    body["from"] = to_json(request.from_)
    body["size"] = to_json(request.page_size)
    if request.track_total_hits is not None:
        body["track_total_hits"] = to_json(request.track_total_hits)
    return to_object(body)


def inner_search(pit: bytes, searched: Mapping[str, bytes], window: int, fields: Collection[str]) -> bytes:
    """Return the body of a search for what a retriever finds in a point in time, and for fields of that.

    The sort by `_shard_doc` after the retriever's own order gives each hit's (shard, doc) as a number, by
    which native breaks ties.

    Args:
        pit: The `pit` member, as JSON.
        searched: The members that determine what is found, such as `LeafRetriever.clauses`.
        window: The number of hits.
        fields: Names of fields to return, literally.
    """
    body = {
        "pit": pit,
        **searched,
        "size": to_json(window),
        "sort": _sort_by_shard_doc(searched.get("sort")),
        "track_total_hits": b"false",
        "_source": b"false",
        "fields": _fields(fields),
    }
    return to_object(body)


def final_search(
    request: SearchRequest, pit: bytes, root: EvaluatedRetriever, *, expensive: bool = True
) -> bytes:
    """Return the body of the search that builds the answer (``RankDocsRetrieverBuilder``).

    It finds the ranked documents with their scores and, if native counts or shows them, the other matches of
    the leaves with score 0.

    Args:
        root: The evaluated tree.
        expensive: Whether upstream allows queries on runtime fields (`search.allow_expensive_queries`).
    """
    body = {name: value for name, value in request.opaque_members.items() if name not in _NOT_IN_FINAL}
    ranked = len(root.docs)
    if (boosts := body.pop("indices_boost", None)) is not None and not request.ignores_unavailable:
        body["indices_boost"] = without_effect(boosts)
    body["pit"] = pit
    body["query"] = _final_query(request, root)
    body["from"] = to_json(request.from_)
    body["size"] = to_json(_size(request, ranked))
    if request.track_total_hits is not None:
        body["track_total_hits"] = to_json(request.track_total_hits)
    if request.final_min_score is not None:
        body["min_score"] = to_float(request.final_min_score)
    if expensive and "highlight" in body and needs_tail(request, ranked):
        body |= highlighting(body, highlightable(root, explains=request.asks("explain")))
    return to_object(body)


def _size(request: SearchRequest, ranked: int) -> int:
    """Return the size of a page that ends with the last ranked document.

    Native adds in 32 bits: if the requested end of the page is beyond those, the size stays as requested.
    """
    end = request.from_ + request.page_size
    return max(0, ranked - request.from_) if ranked < end <= INT_MAX else request.page_size


def identifying_search(final: bytes) -> bytes:
    """Return the body of a search for the same page as that of a final search, but with ids alone."""
    body = {name: value for name, value in members(final).items() if name in _DECIDE_ON_HITS}
    return to_object({**body, "track_total_hits": b"false", "_source": b"false"})


def _final_query(request: SearchRequest, root: EvaluatedRetriever) -> bytes:
    name = root.retriever.name
    if not needs_tail(request, len(root.docs)):
        return rank_docs(root.docs, name)
    explains = request.asks("explain")
    tail_query = explainable(root) if explains else tail(root)
    combined = boolean({"should": array([rank_docs(root.docs)]), "filter": array([tail_query])}, name)
    if request.aggregates and request.filters_scores:
        # If Lucene knows that a query matches all documents, `terms` aggregations count without regard to
        # scores. It does not know that of a disjunction.
        return query("dis_max", {"queries": array([combined, _NO_ID])})
    if explains or request.asks("profile"):
        # Elasticsearch does not analyse a `dis_max`, as it does not analyse native's query: if a mapping has
        # nested documents, it adds the clause that excludes them, which explanations and profiles show.
        return query("dis_max", {"queries": array([combined])})
    return combined


def boosting_search(pit: bytes, indices_boost: bytes, docs: Sequence[RankDoc]) -> bytes:
    """Return the body of a search that scores each document with the boost of its index."""
    body = {
        "pit": pit,
        "query": query("constant_score", {"filter": any_of(docs)}),
        "indices_boost": indices_boost,
        "size": to_json(len(docs)),
        "track_total_hits": b"false",
        "_source": b"false",
    }
    return to_object(body)


def explaining_search(
    pit: bytes, query: bytes, docs: Sequence[RankDoc], *, boost: float = 1.0, profiles: bool = False
) -> bytes:
    """Return the body of a search that explains how `query` scores these documents.

    The query is run as a rescorer: Elasticsearch narrows a search's main query if a mapping has nested
    documents, but not the queries inside native's, nor a rescorer's.

    Args:
        boost: The boost of the index that has the documents.
        profiles: Whether the client's search asks for a profile: Lucene then explains filters differently.
    """
    if boost != 1.0:
        query = boolean({"must": array([query]), "boost": to_float(boost)})
    rescore = to_object({"rescore_query": query})
    body = {
        "pit": pit,
        "query": any_of(docs),
        "rescore": to_object({"window_size": to_json(len(docs)), "query": rescore}),
        "explain": b"true",
        "profile": to_json(profiles),
        "size": to_json(len(docs)),
        "track_total_hits": b"false",
        "_source": b"false",
    }
    return to_object(body)


def needs_tail(request: SearchRequest, ranked: int) -> bool:
    """Return whether the final search also has to find the matches of the leaves that are not ranked.

    (``RankDocsRetrieverBuilder#extractToSearchSourceBuilder``.)

    Args:
        ranked: The number of ranked documents.
    """
    if request.aggregates:
        return True
    if request.asks("explain") or request.asks("profile"):
        return True
    limit = request.track_total_hits
    if limit is None or limit is True:
        return True
    return limit is not False and limit > ranked


def _fields(fields: Collection[str]) -> bytes:
    # A pattern reads nothing, since values are looked up by the literal name: do not fetch what it matches.
    return to_json(sorted(field for field in fields if "*" not in field))


def _sort_by_shard_doc(sort: bytes | None) -> bytes:
    orders = [] if sort is None else parse_array(sort) if sort.startswith(b"[") else [sort]
    return array([*(orders or [b'"_score"']), _SHARD_DOC_ORDER])
