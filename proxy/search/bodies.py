"""The bodies of the searches that are sent upstream, put together from what the client wrote."""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from proxy.search.ranking import RankDoc
from proxy.search.request import SearchRequest
from proxy.search.retrievers import KnnRetriever, LeafRetriever, StandardRetriever, TextSimilarityReranker
from proxy.search.scores import print_float
from proxy.search.source import parse_array

_MATCH_ALL: Final = b'{"match_all":{}}'
_SHARD_DOC_ORDER: Final = b'{"_shard_doc":"asc"}'
_JAVA_NAMES: Final = {"inf": b"Infinity", "-inf": b"-Infinity", "nan": b"NaN"}
_NOT_IN_FINAL: Final = frozenset({"pit", "indices_boost"})
"""Native ignores `indices_boost` here; upstream would multiply the rank docs' scores by it."""


def single_search(request: SearchRequest) -> bytes:
    """The one search of a request that needs no second: window, text, sources and total at once."""
    child = request.retriever.child
    body = dict(request.others)
    body.update(_clauses(child, request.retriever.filters))
    body["size"] = _json(request.retriever.rank_window_size)
    body["fields"] = _json(_fields(request.retriever.field))
    if request.track_total_hits is not None:
        body["track_total_hits"] = _json(request.track_total_hits)
    return _object(body)


def inner_search(retriever: TextSimilarityReranker, pit: bytes) -> bytes:
    """The window of a point in time: which documents, their text, and their place among equals.

    The sort on `_shard_doc` after the child's own order gives each hit's (shard, doc) as a number, by which
    native breaks ties.
    """
    clauses = _clauses(retriever.child, retriever.filters)
    body = {
        "pit": pit,
        **clauses,
        "size": _json(retriever.rank_window_size),
        "sort": _sort_by_shard_doc(clauses.get("sort")),
        "track_total_hits": b"false",
        "_source": b"false",
        "fields": _json(_fields(retriever.field)),
    }
    return _object(body)


def final_search(
    request: SearchRequest,
    pit: bytes,
    ranked: Sequence[RankDoc],
    window: Sequence[RankDoc],
) -> bytes:
    """The search that builds the answer: the rank docs with their scores and, where native counts or shows
    them, the other matches of the child with score 0 (``RankDocsRetrieverBuilder``).

    Args:
        pit: The `pit` member, as JSON.
        ranked: What the reranker kept, best first.
        window: What the child returned; stands for a vector search, which is not run again.
    """
    body = {name: value for name, value in request.others.items() if name not in _NOT_IN_FINAL}
    tail = _tail(request, window) if needs_tail(request, len(ranked)) else None
    body["pit"] = pit
    body["query"] = _rank_docs_query(ranked, tail, request.retriever.name)
    body["from"] = _json(request.from_)
    body["size"] = _json(min(request.page_size, max(0, len(ranked) - request.from_)))
    if request.track_total_hits is not None:
        body["track_total_hits"] = _json(request.track_total_hits)
    if request.final_min_score is not None:
        body["min_score"] = _float(request.final_min_score)
    return _object(body)


def needs_tail(request: SearchRequest, ranked: int) -> bool:
    """Whether the child's other matches take part.

    The rule of ``RankDocsRetrieverBuilder#extractToSearchSourceBuilder``.
    """
    if "aggs" in request.others or "aggregations" in request.others:
        return True
    limit = request.track_total_hits
    if limit is None or limit is True:
        return True
    return limit is not False and limit > ranked


def _clauses(child: LeafRetriever, inherited: Sequence[bytes]) -> dict[str, bytes]:
    """What of a search body makes it run `child`, with the filters of its parents."""
    filters = [*child.filters, *inherited]
    if isinstance(child, KnnRetriever):
        section = dict(child.section)
        if filters:
            section["filter"] = _array(filters)
        if child.name is not None:
            section["_name"] = _json(child.name)
        return {"knn": _object(section)}
    clauses = {
        "query": _filtered_query(child, filters),
        "sort": child.sort,
        "collapse": child.collapse,
        "min_score": None if child.min_score is None else _float(child.min_score),
    }
    return {name: value for name, value in clauses.items() if value is not None}


def _filtered_query(child: StandardRetriever, filters: Sequence[bytes]) -> bytes:
    if not filters and child.name is None:
        return child.query or _MATCH_ALL
    clauses = {}
    if child.query is not None or not filters:
        clauses["must"] = _array([child.query or _MATCH_ALL])
    if filters:
        clauses["filter"] = _array(filters)
    if child.name is not None:
        clauses["_name"] = _json(child.name)
    return _query("bool", clauses)


def _tail(request: SearchRequest, window: Sequence[RankDoc]) -> bytes:
    """The documents that count without being ranked."""
    child = request.retriever.child
    if isinstance(child, StandardRetriever):
        return _filtered_query(child, [*child.filters, *request.retriever.filters])
    # A vector search stands for just the documents it returned.
    if not window:
        return _match_none()
    found = (
        _bool({"filter": _array([_of_index(index), _ids(docs)])}) for index, docs in _by_index(window).items()
    )
    return _bool({"should": _array(found)})


def _rank_docs_query(ranked: Sequence[RankDoc], tail: bytes | None, name: str | None) -> bytes:
    scored = _array(_scored(index, docs) for index, docs in _by_index(ranked).items())
    rank_docs = _bool({"should": scored, "minimum_should_match": b"1"}, name) if ranked else _match_none()
    if tail is None:
        return rank_docs
    return _bool({"should": _array([rank_docs]), "filter": _array([tail])})


def _scored(index: str, docs: Sequence[RankDoc]) -> bytes:
    """Documents of one index with their scores, in one clause each: Lucene limits the number of clauses."""
    scored = (
        _query("constant_score", {"filter": _ids([doc]), "boost": print_float(doc.score)}) for doc in docs
    )
    clauses = {"filter": _array([_of_index(index)]), "should": _array(scored), "minimum_should_match": b"1"}
    return _bool(clauses)


def _by_index(docs: Sequence[RankDoc]) -> dict[str, list[RankDoc]]:
    grouped: dict[str, list[RankDoc]] = {}
    for doc in docs:
        grouped.setdefault(doc.index, []).append(doc)
    return grouped


def _ids(docs: Iterable[RankDoc]) -> bytes:
    return _query("ids", {"values": _array(_json(doc.id) for doc in docs)})


def _of_index(index: str) -> bytes:
    return _query("term", {"_index": _json(index)})


def _bool(clauses: Mapping[str, bytes], name: str | None = None) -> bytes:
    return _query("bool", clauses if name is None else {**clauses, "_name": _json(name)})


def _match_none() -> bytes:
    return b'{"match_none":{}}'


def _fields(field: str) -> list[str]:
    # A pattern is looked up by its own spelling afterwards and finds nothing: do not fetch all it matches.
    return [] if "*" in field else [field]


def _sort_by_shard_doc(sort: bytes | None) -> bytes:
    orders = [] if sort is None else parse_array(sort) if sort.startswith(b"[") else [sort]
    return _array([*(orders or [b'"_score"']), _SHARD_DOC_ORDER])


def _query(name: str, clauses: Mapping[str, bytes]) -> bytes:
    return _object({name: _object(clauses)})


def _object(values: Mapping[str, bytes]) -> bytes:
    return b"{" + b",".join(_json(name) + b":" + value for name, value in values.items()) + b"}"


def _array(values: Iterable[bytes]) -> bytes:
    return b"[" + b",".join(values) + b"]"


def _float(value: float) -> bytes:
    """A float32; JSON has no number for the infinite ones, Elasticsearch reads them from strings."""
    return print_float(value) if math.isfinite(value) else b'"%s"' % _JAVA_NAMES[str(value)]


def _json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
