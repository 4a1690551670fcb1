"""The bodies of the searches that are sent upstream."""

from collections.abc import Collection, Mapping, Sequence
from typing import Final

from rerank_proxy.search.inner.highlighting import highlighting
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
from rerank_proxy.search.retrievers.retriever import Found, LeafRetriever
from rerank_proxy.search.retrievers.text_similarity_reranker import TextSimilarityReranker
from rerank_proxy.xcontent.object_parser import INT_MAX
from rerank_proxy.xcontent.source import parse_array
from rerank_proxy.xcontent.splicing import members

_NO_ID: Final = b'{"ids":{"values":["%s"]}}' % (b"-" * 513)
"""No document has so long an identifier."""
_SHARD_DOC_ORDER: Final = b'{"_shard_doc":"asc"}'
_NOT_IN_FINAL: Final = frozenset({"pit", "indices_boost"})
"""Native ignores `indices_boost` here; upstream would multiply the rank docs' scores by it."""
_DECIDE_ON_HITS: Final = frozenset(
    {"pit", "query", "from", "size", "min_score", "post_filter", "collapse", "slice", "runtime_mappings"}
)
"""Members of a body that have a say in which documents a page shows."""


def single_search(request: SearchRequest, reranker: TextSimilarityReranker, child: LeafRetriever) -> bytes:
    """The one search of a request that needs no second: window, text, sources and total at once."""
    body = {name: value for name, value in request.others.items() if name != "timeout"}
    body.update(child.clauses())
    body["size"] = to_json(reranker.rank_window_size)
    body["fields"] = _fields({reranker.field})
    if request.track_total_hits is not None:
        body["track_total_hits"] = to_json(request.track_total_hits)
    return to_object(body)


def inner_search(pit: bytes, searched: Mapping[str, bytes], window: int, fields: Collection[str]) -> bytes:
    """What a retriever finds in a point in time: which documents, their fields, their place among equals.

    The sort on `_shard_doc` after the retriever's own order gives each hit's (shard, doc) as a number, by
    which native breaks ties.

    Args:
        pit: The `pit` member, as JSON.
        searched: `LeafRetriever.clauses`, or others that find something.
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


def final_search(request: SearchRequest, pit: bytes, root: Found, *, expensive: bool = True) -> bytes:
    """The search that builds the answer: the rank docs with their scores and, where native counts or shows
    them, the other matches of the leaves with score 0 (``RankDocsRetrieverBuilder``).

    Args:
        expensive: Whether upstream lets queries name runtime fields (`search.allow_expensive_queries`).
    """
    body = {name: value for name, value in request.others.items() if name not in _NOT_IN_FINAL}
    ranked = len(root.docs)
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
    """The page ends with the last rank doc. Native adds in 32 bits: an end beyond those is none."""
    end = request.from_ + request.page_size
    return max(0, ranked - request.from_) if ranked < end <= INT_MAX else request.page_size


def identifying_search(final: bytes) -> bytes:
    """Which documents stand on the page of a final search, in its order."""
    body = {name: value for name, value in members(final).items() if name in _DECIDE_ON_HITS}
    return to_object({**body, "track_total_hits": b"false", "_source": b"false"})


def _final_query(request: SearchRequest, root: Found) -> bytes:
    name = root.retriever.name
    if not needs_tail(request, len(root.docs)):
        return rank_docs(root.docs, name)
    explains = request.asks("explain")
    others = explainable(root) if explains else tail(root)
    combined = boolean({"should": array([rank_docs(root.docs)]), "filter": array([others])}, name)
    if request.aggregates and request.filters_scores:
        # Where the query is known to match all, `terms` aggregations count documents without their scores. Of
        # an alternative Lucene does not know what it matches.
        return query("dis_max", {"queries": array([combined, _NO_ID])})
    if explains or request.asks("profile"):
        # Elasticsearch cannot look into this one, no more than into native's: where a mapping has nested
        # documents it adds the clause that keeps them out, and shows that.
        return query("dis_max", {"queries": array([combined])})
    return combined


def boosting_search(pit: bytes, indices_boost: bytes, docs: Sequence[RankDoc]) -> bytes:
    """Each of these documents, scored as its index is boosted."""
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
    """How `query` scores just these documents.

    As a query of its own Elasticsearch would narrow it where a mapping has nested documents, which it does
    not do inside native's; a query that rescores it leaves alone.

    Args:
        boost: Of the index that has the documents.
        profiles: Whether the client's search asks for a profile: Lucene explains filters otherwise then.
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
    """Whether the leaves' other matches take part.

    The rule of ``RankDocsRetrieverBuilder#extractToSearchSourceBuilder``.
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
    # A pattern is looked up by its own spelling afterwards and finds nothing: do not fetch all it matches.
    return to_json(sorted(field for field in fields if "*" not in field))


def _sort_by_shard_doc(sort: bytes | None) -> bytes:
    orders = [] if sort is None else parse_array(sort) if sort.startswith(b"[") else [sort]
    return array([*(orders or [b'"_score"']), _SHARD_DOC_ORDER])
