"""The answer to the client: upstream's bytes with ranges replaced."""

import re
from collections.abc import Sequence
from typing import Final

from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.search.answer.totals import final_total
from rerank_proxy.search.inner.window import Total, Window, search_answer
from rerank_proxy.search.language.request import SearchRequest
from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.xcontent.java_numbers import print_float
from rerank_proxy.xcontent.splicing import Printer, members, names, text

_HITS: Final = b"\x00"
"""Stands for the array of hits until all around it is printed: JSON has no such byte."""


def from_window(request: SearchRequest, window: Window, ranked: Sequence[RankDoc], took_ms: int) -> bytes:
    """The answer out of the one search that was made: its hits in their new order, with their new scores."""
    passing = _passing(ranked, request.final_min_score)
    shown = passing[request.from_ : request.from_ + request.page_size]
    total = final_total(request, ranked, window.total)
    outer = {**window.outer, "hits": _HITS}
    if request.total_as_int:
        outer["total"] = b"-1" if total is None else b"%d" % total.value
    elif total is not None:
        outer["total"] = _total(total, window.printer)
    else:
        outer.pop("total", None)
    if window.hits:
        outer["max_score"] = (
            print_float(passing[0].score) if _reaches_hits(request, ranked, passing) else b"null"
        )
    top = {**window.top, "took": b"%d" % took_ms, "hits": window.printer.object(outer, 1)}
    before, _, after = window.printer.object(top, 0).partition(_HITS)
    hits = [_hit(window, doc) for doc in shown]
    return b"".join((before, window.printer.array(hits, 2), after, window.printer.end()))


def from_final(answer: bytes, took_ms: int, *, own_pit: bool) -> bytes:
    """The answer of the final search, without the point in time that the client never asked for."""
    top = search_answer(answer)
    if own_pit:
        top.pop("pit_id", None)
    else:
        text(top["pit_id"])
    top["took"] = b"%d" % took_ms
    printer = Printer.like(answer)
    return printer.object(top, 0) + printer.end()


def _reaches_hits(request: SearchRequest, ranked: Sequence[RankDoc], passing: Sequence[RankDoc]) -> bool:
    """Whether the final search collects hits, even if all of them stand before the page: its size is cut to
    the ranked documents (`bodies.final_search`), its `min_score` comes later.
    """
    return bool(passing) and request.page_size > 0 and request.from_ < len(ranked)


def _passing(ranked: Sequence[RankDoc], min_score: float | None) -> Sequence[RankDoc]:
    return ranked if min_score is None else [doc for doc in ranked if doc.score >= min_score]


# A hit as Elasticsearch prints it, up to its score.
_match_head = re.compile(
    rb'(\{"_index":"[^"\\]*+","_id":"[^"\\]*+",(?:"_version":[0-9]++,)?+'
    rb'(?:"_seq_no":[0-9]++,"_primary_term":[0-9]++,)?+"_score":)[^,}]++'
).match
_FIELDS: Final = b',"fields":'
_IGNORED_VALUES: Final = b'"ignored_field_values"'


def _hit(window: Window, doc: RankDoc) -> bytes:
    """The hit with its new score, without what is there only because we asked for a field."""
    hit, score = bytes(window.hits[doc.place]), print_float(doc.score)
    head, end = _match_head(hit), hit.rfind(_FIELDS)
    if head is None:
        return _unusual_hit(hit, score, window)
    if end < 0 and _IGNORED_VALUES not in hit:
        return b"".join((head[1], score, hit[head.end() :]))
    if end > 0 and _is_all_of(hit[end + len(_FIELDS) : -1], window.field):
        return b"".join((head[1], score, hit[head.end() : end], b"}"))
    return _unusual_hit(hit, score, window)


def _is_all_of(fields: bytes, field: str) -> bool:
    """Whether these bytes are a `fields` section with just this field in it."""
    try:
        return names(fields) == [field]
    except ElasticsearchError:
        return False  # the word is a part of `_source`, or another section follows


def _unusual_hit(hit: bytes, score: bytes, window: Window) -> bytes:
    """As `_hit`, for every layout."""
    values = members(hit)
    values["_score"] = score
    values.pop("ignored_field_values", None)
    fields = members(values.pop("fields", b"{}"))
    fields.pop(window.field, None)
    if fields:  # a query may have added fields of its own
        values["fields"] = window.printer.object(fields, 4)
    return window.printer.object(values, 3)


def _total(total: Total, printer: Printer) -> bytes:
    values = {"value": b"%d" % total.value, "relation": b'"%s"' % total.relation.encode()}
    return printer.object(values, 2)
