"""A search with a compound retriever, body and URL together, validated as ``SearchRequest#validate`` does."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from urllib.parse import quote

from rerank_proxy.errors import ElasticsearchError, illegal_argument, validation_error
from rerank_proxy.search.language.grammar import (
    SearchBody,
    TrackTotalHits,
    check_from,
    check_size,
    check_total,
    parse_search_body,
)
from rerank_proxy.search.language.validation import SearchWithoutTree, failures_beside_tree
from rerank_proxy.search.retrievers.compound import CompoundRetriever
from rerank_proxy.xcontent.params import Params
from rerank_proxy.xcontent.source import Node, parse_array
from rerank_proxy.xcontent.time_value import TimeValue, time_param


class InvalidSearchError(ElasticsearchError):
    """A search is refused for something else than the faults that are found when its body is parsed."""


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What the client asked for; values in the URL override those in the body (``RestSearchAction``).

    Attributes:
        index: The index expression as it stands in the URL, still percent-encoded; None for all indices.
        size: Hits asked for; None when neither body nor URL names it.
        min_score: The top-level one, which applies to the final scores.
        timeout: Bounds the query phase of the final search. It is also among `params` or `opaque_members`.
        opaque_members: The members of the body that are sent on as they were written.
        body: The client's text, to which the positions in Elasticsearch's parse errors refer.
    """

    index: str | None
    params: Params
    retriever: CompoundRetriever
    size: int | None
    from_: int
    track_total_hits: TrackTotalHits | None
    min_score: float | None
    timeout: TimeValue | None
    opaque_members: Mapping[str, bytes]
    body: bytes

    @property
    def total_as_int(self) -> bool:
        return self.params.flag("rest_total_hits_as_int")

    @property
    def ignores_unavailable(self) -> bool:
        """Whether an index that does not exist is passed over."""
        return self.params.get("ignore_unavailable") == "true"

    def asks(self, option: str) -> bool:
        """Return whether a boolean option is set: in the URL or, if it is not there, in the body.

        In the URL, these are not set by being there without a value.
        """
        if option in self.params:
            return bool(self.params[option]) and self.params.flag(option)
        return self.opaque_members.get(option) in (b"true", b'"true"')

    @property
    def aggregates(self) -> bool:
        return "aggs" in self.opaque_members or "aggregations" in self.opaque_members

    @property
    def filters_scores(self) -> bool:
        """Whether the final search leaves out documents with the score of the tail, 0."""
        return self.final_min_score is not None and self.final_min_score > 0

    @property
    def page_size(self) -> int:
        """The number of hits asked for; by default the whole rank window."""
        return self.retriever.rank_window_size if self.size is None else self.size

    @property
    def final_min_score(self) -> float | None:
        """The `min_score` of the final search: that in effect in the tree, else the top-level one."""
        min_score = self.retriever.effective_min_score
        return self.min_score if min_score is None else min_score


def parse_search(
    index: str | None, params: Params, body: bytes | Node, *, evaluate: Collection[str] = frozenset()
) -> SearchRequest | None:
    """Read and validate a search. Return None if it is not evaluated here but upstream.

    Args:
        body: Its bytes, or what `source.parse` made of them.
        evaluate: Types of retrievers that upstream does not know. A search with one of them is evaluated
            here, too, unless it has others that only upstream knows.

    Raises:
        InvalidSearchError: 400, as Elasticsearch words it; the grammar finds no fault in the body.
        ElasticsearchError: 400 likewise, for a fault in the body.
    """
    parsed = parse_search_body(body, evaluate)
    if parsed is None:
        return None
    text = body.body if isinstance(body, Node) else body
    try:
        request = _with_url_values(index, params, parsed, text)
        _check_total_as_int(request)
        _check_search_type(request)
        _check_round_trips(request)
        _validate(request)
    except ElasticsearchError as refused:
        raise InvalidSearchError(refused.status, refused.cause) from None
    return request


def _with_url_values(index: str | None, params: Params, body: SearchBody, text: bytes) -> SearchRequest:
    size, from_ = params.integer("size"), params.integer("from")
    return SearchRequest(
        index=index if index is not None else _index_param(params),
        params=params,
        retriever=body.retriever,
        size=body.size if size is None else check_size(size),
        from_=(body.from_ or 0) if from_ is None else check_from(from_),
        timeout=_url_timeout(params, body.timeout),
        track_total_hits=_url_total(params, body.track_total_hits),
        min_score=body.min_score,
        opaque_members=body.opaque_members,
        body=text,
    )


def _index_param(params: Params) -> str | None:
    """Return the index expression from the query string, encoded as it would be in the path."""
    index = params.get("index")
    return quote(index, safe="") if index else None


def _url_timeout(params: Params, in_body: TimeValue | None) -> TimeValue | None:
    timeout = time_param(params, "timeout")
    return in_body if timeout is None else timeout


def _url_total(params: Params, in_body: TrackTotalHits | None) -> TrackTotalHits | None:
    text = params.get("track_total_hits")
    if text is None:
        total = in_body
    elif text in ("true", "false"):
        total = text == "true"
    else:
        total = check_total(params.integer("track_total_hits") or 0)
    if total is None and params.flag("rest_total_hits_as_int"):
        return True
    return total


def _check_total_as_int(request: SearchRequest) -> None:
    limit = request.track_total_hits
    if request.total_as_int and limit is not None and not isinstance(limit, bool):
        reason = (
            "[rest_total_hits_as_int] cannot be used if the tracking of total hits is not accurate, "
            f"got {limit}"
        )
        raise illegal_argument(reason)


def _check_search_type(request: SearchRequest) -> None:
    knn = request.opaque_members.get("knn", b"[]")
    if "search_type" in request.params and (not knn.startswith(b"[") or parse_array(knn)):
        reason = (
            "cannot set [search_type] when using [knn] search, since the search type is determined "
            "automatically"
        )
        raise illegal_argument(reason)


def _check_round_trips(request: SearchRequest) -> None:
    """Refuse `ccs_minimize_roundtrips` beside a point in time, alone and before all other failures.

    (``RestSearchAction#preparePointInTime``.)
    """
    if request.params.flag("ccs_minimize_roundtrips") and "pit" in request.opaque_members:
        raise validation_error(["[ccs_minimize_roundtrips] cannot be used with point in time"])


def _validate(request: SearchRequest) -> None:
    search = SearchWithoutTree(
        request.index,
        request.params,
        request.size,
        request.from_,
        request.track_total_hits,
        request.opaque_members,
    )
    failures = [
        *request.retriever.failures(request.size, scrolls="scroll" in request.params),
        *failures_beside_tree(search),
    ]
    if failures:
        raise validation_error(failures)
