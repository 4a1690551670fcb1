"""Query clauses, put together as JSON from what the client wrote and what was found."""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.search.ranks.scores import MIN_VALUE
from rerank_proxy.xcontent.java_numbers import print_float
from rerank_proxy.xcontent.splicing import members

MATCH_ALL: Final = b'{"match_all":{}}'
MATCH_NONE: Final = b'{"match_none":{}}'
_NO_DOCS: Final = b'{"dis_max":{"queries":[{"match_none":{}}]}}'
"""Matches nothing either, but no `bool` sees it: that would forget the names of the clauses beside it."""
_MAX_VALUE: Final = 3.4028234663852886e38
"""Java's ``Float.MAX_VALUE``."""
_JAVA_NAMES: Final = {"inf": b"Infinity", "-inf": b"-Infinity", "nan": b"NaN"}


def unnamed(clause: bytes) -> bytes:
    """The query without a `_name` of its own: in its object or, of many queries, in that of the field."""
    if b'"_name"' not in clause:
        return clause
    kinds = members(clause)
    kind, body = next(iter(kinds.items()))
    if len(kinds) > 1 or not body.startswith(b"{"):
        return clause  # upstream refuses it
    inner = members(body)
    if len(inner) == 1:
        ((field, options),) = inner.items()
        if options.startswith(b"{"):
            inner = {field: to_object(_without_name(members(options)))}
    return query(kind, _without_name(inner))


def _without_name(values: Mapping[str, bytes]) -> Mapping[str, bytes]:
    return {name: value for name, value in values.items() if name != "_name"}


def rank_docs(docs: Sequence[RankDoc], name: str | None = None) -> bytes:
    """Matches these documents with their scores, and no others."""
    if not docs:
        return _NO_DOCS
    scored = array(_scored(index, group) for index, group in _by_index(docs).items())
    return boolean({"should": scored, "minimum_should_match": b"1"}, name)


def any_of(docs: Sequence[RankDoc], name: str | None = None) -> bytes:
    """Matches these documents, whatever the score."""
    if not docs:
        return _NO_DOCS
    found = (
        boolean({"filter": array([of_index(index), ids(doc.id for doc in group)])})
        for index, group in _by_index(docs).items()
    )
    return boolean({"should": array(found)}, name)


def ids(values: Iterable[str]) -> bytes:
    return query("ids", {"values": array(map(to_json, values))})


def disjunction(queries: Sequence[bytes]) -> bytes:
    if len(queries) == 1:
        return queries[0]
    return boolean({"should": array(queries)}) if queries else MATCH_NONE


def boolean(clauses: Mapping[str, bytes], name: str | None = None) -> bytes:
    return query("bool", clauses if name is None else {**clauses, "_name": to_json(name)})


def query(name: str, clauses: Mapping[str, bytes]) -> bytes:
    return _enclosed(b"{" + to_json(name) + b":{", _pairs(clauses), b"}}")


def to_object(values: Mapping[str, bytes]) -> bytes:
    return _enclosed(b"{", _pairs(values), b"}")


def array(values: Iterable[bytes]) -> bytes:
    return _enclosed(b"[", ((value,) for value in values), b"]")


def to_float(value: float) -> bytes:
    """A float32; JSON has no number for the infinite ones, Elasticsearch reads them from strings."""
    return print_float(value) if math.isfinite(value) else b'"%s"' % _JAVA_NAMES[str(value)]


def to_json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _pairs(values: Mapping[str, bytes]) -> Iterator[tuple[bytes, bytes]]:
    return ((to_json(name) + b":", value) for name, value in values.items())


def _enclosed(opening: bytes, items: Iterable[tuple[bytes, ...]], closing: bytes) -> bytes:
    """Copy each value once: a caller's query may be almost as large as a body may be."""
    parts = [opening]
    for item in items:
        parts += item
        parts.append(b",")
    if len(parts) > 1:
        parts.pop()
    return b"".join((*parts, closing))


def _scored(index: str, docs: Sequence[RankDoc]) -> bytes:
    """Documents of one index with their scores, in one clause each: Lucene limits the number of clauses."""
    scored = (
        query("constant_score", {"filter": ids([doc.id]), "boost": _positive(doc.score)}) for doc in docs
    )
    clauses = {"filter": array([of_index(index)]), "should": array(scored), "minimum_should_match": b"1"}
    return boolean(clauses)


def _positive(score: float) -> bytes:
    """No ranked document scores as little as the tail does (``RankDocsQuery``), and a boost is finite."""
    return print_float(min(_MAX_VALUE, max(MIN_VALUE, score)))


def _by_index(docs: Sequence[RankDoc]) -> dict[str, list[RankDoc]]:
    grouped: dict[str, list[RankDoc]] = {}
    for doc in docs:
        grouped.setdefault(doc.index, []).append(doc)
    return grouped


def of_index(index: str) -> bytes:
    return query("term", {"_index": to_json(index)})
