"""A search that reranks, body and URL together, validated as ``SearchRequest#validate`` does."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote

import numpy as np

from proxy.errors import error, validation_error
from proxy.search.grammar import (
    SearchBody,
    TrackTotalHits,
    check_from,
    check_size,
    check_total,
    parse_search_body,
    unsupported,
)
from proxy.search.params import Params
from proxy.search.retrievers import TEXT_SIMILARITY_RERANKER, StandardRetriever, TextSimilarityReranker
from proxy.search.source import parse_array

DEFAULT_TRACK_TOTAL_HITS: Final = 10_000
"""``SearchContext.DEFAULT_TRACK_TOTAL_HITS_UP_TO``."""


@dataclass(frozen=True, slots=True)
class SearchRequest:
    """What the client asked for, with the URL's values over the body's, as ``RestSearchAction`` does it.

    Attributes:
        index: The index expression as it stands in the URL, percent-encoding and all; None for all indices.
        size: Hits asked for; None when neither body nor URL names it.
        min_score: The top-level one, on reranked scores.
    """

    index: str | None
    params: Params
    retriever: TextSimilarityReranker
    size: int | None
    from_: int
    track_total_hits: TrackTotalHits | None
    min_score: float | None
    others: Mapping[str, bytes]

    @property
    def total_as_int(self) -> bool:
        return self.params.flag("rest_total_hits_as_int")

    @property
    def page_size(self) -> int:
        """Hits asked for; by default the whole window."""
        return self.retriever.rank_window_size if self.size is None else self.size

    @property
    def final_min_score(self) -> float | None:
        """What the final search filters by: a retriever's `min_score` replaces the top-level one."""
        if self.retriever.min_score is not None:
            return self.retriever.min_score
        if self.retriever.child.min_score is not None:
            return float(np.finfo(np.float32).smallest_subnormal)
        return self.min_score


def parse_search(index: str | None, params: Params, body: bytes) -> SearchRequest | None:
    """Read and validate a search; None when it does not rerank and is none of ours.

    Raises:
        ElasticsearchError: 400, as Elasticsearch words it.
    """
    parsed = parse_search_body(body)
    if parsed is None:
        return None
    request = _with_url_values(index, params, parsed)
    _check_total_as_int(request)
    messages = [*_tree_failures(request), *_body_failures(request)]
    if messages:
        raise validation_error(messages)
    _refuse_unsupported(request)
    _check_child(request.retriever)
    return request


def _with_url_values(index: str | None, params: Params, body: SearchBody) -> SearchRequest:
    size, from_ = params.integer("size"), params.integer("from")
    return SearchRequest(
        index=index if index is not None else _index_param(params),
        params=params,
        retriever=body.retriever,
        size=body.size if size is None else check_size(size),
        from_=(body.from_ or 0) if from_ is None else check_from(from_),
        track_total_hits=_url_total(params, body.track_total_hits),
        min_score=body.min_score,
        others=body.others,
    )


def _index_param(params: Params) -> str | None:
    """The index expression as a query parameter, in the form of a path segment."""
    index = params.get("index")
    return quote(index, safe="") if index else None


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
        raise error(400, "illegal_argument_exception", reason)


def _tree_failures(request: SearchRequest) -> list[str]:
    """``CompoundRetrieverBuilder#validate``."""
    name, window = TEXT_SIMILARITY_RERANKER, request.retriever.rank_window_size
    messages = []
    if request.size is not None and request.size > window:
        messages.append(
            f"[{name}] requires [rank_window_size: {window}] be greater than or equal to "
            f"[size: {request.size}]"
        )
    if "scroll" in request.params:
        messages.append(f"cannot specify [{name}] and [scroll]")
    if window < 0:
        messages.append(f"[rank_window_size] parameter cannot be negative, found [{window}]")
    return messages


_REFUSED_BESIDE_RETRIEVER: Final = (
    "query", "knn", "search_after", "terminate_after", "sort", "rank", "rescore",
)  # fmt: skip
_URL_FORMS: Final = {"q": "query", "sort": "sort", "terminate_after": "terminate_after"}
_REFUSED_BESIDE_PIT: Final = ("routing", "preference")


def _body_failures(request: SearchRequest) -> list[str]:
    """``SearchSourceBuilder#validate``, then what ``SearchRequest#validate`` adds for a point in time."""
    present = {*request.others, *(_URL_FORMS[name] for name in request.params if name in _URL_FORMS)}
    if "terminate_after" in present and _terminates_never(request):
        present.remove("terminate_after")
    sub_searches = _sub_searches(request)
    if sub_searches:
        present.add("query")
    refused = [name for name in _REFUSED_BESIDE_RETRIEVER if name in present]
    messages = []
    if refused:
        messages.append(f"cannot specify [retriever] and [{', '.join(refused)}]")
    if sub_searches > 1:
        messages.append("[sub_searches] requires [rank]")
    if "pit" not in present:
        if "slice" in present:
            messages.append("[slice] can only be used with [scroll] or [point-in-time] requests")
        return messages
    if request.index is not None:
        messages.append(
            "[indices] cannot be used with point in time. Do not specify any index with point in time."
        )
    messages.extend(
        f"[{name}] cannot be used with point in time"
        for name in _REFUSED_BESIDE_PIT
        if name in request.params
    )
    return messages


def _sub_searches(request: SearchRequest) -> int:
    raw = request.others.get("sub_searches", b"")
    return len(parse_array(raw)) if raw.startswith(b"[") else 0


def _terminates_never(request: SearchRequest) -> bool:
    """0, the default, counts as absent; the URL's value is the stronger one."""
    in_url = request.params.get("terminate_after")
    return (in_url or request.others.get("terminate_after", b"").decode()) == "0"


def _refuse_unsupported(request: SearchRequest) -> None:
    for option in ("explain", "profile"):
        if request.others.get(option) in (b"true", b'"true"') or request.params.flag(option):
            raise unsupported(f"[{option}] together with [{TEXT_SIMILARITY_RERANKER}]")
    if request.params.get("filter_path"):
        raise unsupported(f"[filter_path] together with [{TEXT_SIMILARITY_RERANKER}]")
    if request.params.get("format", "json") not in ("json", ""):
        raise unsupported(f"[format={request.params['format']}] together with [{TEXT_SIMILARITY_RERANKER}]")


def _check_child(retriever: TextSimilarityReranker) -> None:
    """What ``StandardRetrieverBuilder`` refuses below a compound retriever, found when it is rewritten."""
    child = retriever.child
    if not isinstance(child, StandardRetriever):
        return
    for option in ("search_after", "terminate_after"):
        if getattr(child, option):
            reason = f"[{option}] cannot be used in children of compound retrievers"
            raise error(400, "illegal_argument_exception", reason)
