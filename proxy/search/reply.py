"""The answer to the client: upstream's bytes with ranges replaced."""

from collections.abc import Sequence

from proxy.search.ranking import RankDoc
from proxy.search.rawjson import Printer, members
from proxy.search.request import SearchRequest
from proxy.search.scores import print_float
from proxy.search.totals import Total, final_total
from proxy.search.window import Window


def from_window(request: SearchRequest, window: Window, ranked: Sequence[RankDoc], took_ms: int) -> bytes:
    """The answer out of the one search that was made: its hits in their new order, with their new scores."""
    passing = _passing(ranked, request.final_min_score)
    shown = passing[request.from_ : request.from_ + request.page_size]
    total = final_total(request, ranked, len(window.docs), window.total)
    outer = dict(window.outer)
    if request.total_as_int:
        outer["total"] = b"-1" if total is None else b"%d" % total.value
    elif total is not None:
        outer["total"] = _total(total, window.printer)
    else:
        outer.pop("total", None)
    if window.hits:
        outer["max_score"] = print_float(passing[0].score) if shown else b"null"
    hits = [window.printer.object(_hit(request, window, doc), 3) for doc in shown]
    outer["hits"] = window.printer.array(hits, 2)
    top = {**window.top, "took": b"%d" % took_ms, "hits": window.printer.object(outer, 1)}
    return window.printer.object(top, 0) + window.printer.end()


def from_final(answer: bytes, took_ms: int, *, own_pit: bool) -> bytes:
    """The answer of the final search, without the point in time that the client never asked for."""
    top = members(answer)
    if own_pit:
        top.pop("pit_id", None)
    top["took"] = b"%d" % took_ms
    printer = Printer.like(answer)
    return printer.object(top, 0) + printer.end()


def _passing(ranked: Sequence[RankDoc], min_score: float | None) -> Sequence[RankDoc]:
    return [doc for doc in ranked if min_score is None or doc.score >= min_score]


def _hit(request: SearchRequest, window: Window, doc: RankDoc) -> dict[str, bytes]:
    hit = dict(window.hits[doc.place])
    hit["_score"] = print_float(doc.score)
    # What is there only because we asked for a field; a query may have added fields of its own.
    hit.pop("ignored_field_values", None)
    fields = members(hit.pop("fields", b"{}"))
    fields.pop(request.retriever.field, None)
    if fields:
        hit["fields"] = window.printer.object(fields, 4)
    return hit


def _total(total: Total, printer: Printer) -> bytes:
    values = {"value": b"%d" % total.value, "relation": b'"%s"' % total.relation.encode()}
    return printer.object(values, 2)
