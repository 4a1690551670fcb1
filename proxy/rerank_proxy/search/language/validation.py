"""What is wrong with a search beside its retrievers: messages that native numbers in one error, after
theirs.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from rerank_proxy.xcontent.params import Params
from rerank_proxy.xcontent.source import parse_array

_REFUSED_BESIDE_RETRIEVER: Final = (
    "query", "knn", "search_after", "terminate_after", "sort", "rank", "rescore",
)  # fmt: skip
_SOURCE_PARAMS: Final = ("_source", "_source_includes", "_source_excludes", "_source_exclude_vectors")
_REFUSED_BESIDE_PIT: Final = ("routing", "preference")
_OPTIONS_BESIDE_PIT: Final = "[indicesOptions] cannot be used with point in time"
_WILDCARDS: Final = frozenset({"open", "closed", "hidden", "none", "all"})


@dataclass(frozen=True, slots=True)
class Whole:
    """A search less its tree of retrievers.

    Attributes:
        index: The index expression; None for all indices.
        size: Hits asked for; None where neither body nor URL names it.
        others: The members of the body that stand beside the retriever, as they were written.
    """

    index: str | None
    params: Params
    size: int | None
    from_: int
    track_total_hits: bool | int | None
    others: Mapping[str, bytes]

    def has(self, member: str) -> bool:
        return member in self.others

    def has_items(self, member: str) -> bool:
        """Whether there is such a member that is more than an empty array."""
        raw = self.others.get(member)
        return raw is not None and not (raw.startswith(b"[") and not parse_array(raw))


def whole_failures(whole: Whole) -> Iterator[str]:
    """``SearchSourceBuilder#validate`` after the tree, and then what ``SearchRequest#validate`` adds."""
    yield from _beside_retriever(whole)
    if "scroll" in whole.params:
        yield from _beside_scroll(whole)
    yield from _of_the_body(whole)
    if "scroll" in whole.params and whole.params.flag("request_cache"):
        yield "[request_cache] cannot be used in a scroll context"
    if whole.has("pit"):
        yield from _beside_point_in_time(whole)


def _beside_retriever(whole: Whole) -> Iterator[str]:
    present = {
        "query": whole.has("query") or _sub_searches(whole) > 0,
        "knn": whole.has_items("knn"),
        "terminate_after": _terminates(whole),
        "sort": whole.has("sort") or _sorts(whole.params.get("sort", "")),
    }
    refused = [name for name in _REFUSED_BESIDE_RETRIEVER if present.get(name, whole.has(name))]
    if refused:
        yield f"cannot specify [retriever] and [{', '.join(refused)}]"


def _beside_scroll(whole: Whole) -> Iterator[str]:
    if whole.track_total_hits is not None and whole.track_total_hits is not True:
        yield "disabling [track_total_hits] is not allowed in a scroll context"
    if whole.from_ > 0:
        yield "using [from] is not allowed in a scroll context"
    if whole.size == 0:
        yield "[size] cannot be [0] in a scroll context"
    if whole.has_items("rescore"):
        yield "using [rescore] is not allowed in a scroll context"
    if whole.has("search_after"):
        yield "[search_after] cannot be used in a scroll context"
    if whole.has("collapse"):
        yield "cannot use `collapse` in a scroll context"


def _of_the_body(whole: Whole) -> Iterator[str]:
    if whole.has("slice") and not whole.has("pit") and "scroll" not in whole.params:
        yield "[slice] can only be used with [scroll] or [point-in-time] requests"
    if whole.has("search_after") and whole.from_ > 0:
        yield "[from] parameter must be set to 0 when [search_after] is used"
    if fetches_no_stored_fields(whole.others, whole.params):
        if _asks_for_source(whole):
            yield "[stored_fields] cannot be disabled if [_source] is requested"
        if whole.has("fields"):
            yield "[stored_fields] cannot be disabled when using the [fields] option"
    if _sub_searches(whole) > 1:
        yield "[sub_searches] requires [rank]"


def _beside_point_in_time(whole: Whole) -> Iterator[str]:
    if "scroll" in whole.params:
        yield "using [point in time] is not allowed in a scroll context"
    if whole.index is not None:
        yield "[indices] cannot be used with point in time. Do not specify any index with point in time."
    if _changes_indices_options(whole.params):
        yield _OPTIONS_BESIDE_PIT
    for name in _REFUSED_BESIDE_PIT:
        if name in whole.params:
            yield f"[{name}] cannot be used with point in time"


def expansion_complaints(params: Params) -> list[str]:
    """What is wrong with searches for inner hits in a point in time: they have these of the request."""
    complaints = []
    if _changes_indices_options(params):
        complaints.append(_OPTIONS_BESIDE_PIT)
    if "routing" in params:
        complaints.append("[routing] cannot be used with point in time")
    return complaints


def fetches_no_stored_fields(others: Mapping[str, bytes], params: Params) -> bool:
    """Whether hits come without all that is stored, their ids included (``StoredFieldsContext``)."""
    in_url = params.get("stored_fields")
    if in_url is not None:
        return in_url.rstrip(",") == _NO_STORED_FIELDS
    raw = others.get("stored_fields", b"")
    names = parse_array(raw) if raw.startswith(b"[") else [raw]
    return [*map(_string, names)] == [_NO_STORED_FIELDS]


_NO_STORED_FIELDS: Final = "_none_"


def _string(raw: bytes) -> str | None:
    return str(json.loads(raw)) if raw.startswith(b'"') else None


def _asks_for_source(whole: Whole) -> bool:
    """Not where neither body nor URL names it. The URL's word counts alone (``FetchSourceContext``)."""
    if any(name in whole.params for name in _SOURCE_PARAMS):
        return whole.params.get("_source") != "false"
    return whole.others.get("_source", b"false") != b"false"


def _sorts(text: str) -> bool:
    """Whether the parameter names a criterion (``RestSearchAction#parseSearchSource``): one with an order
    that is none is passed over.
    """
    criteria = (each.rpartition(":") for each in text.rstrip(",").split(",") if text)
    return any(not colon or order in ("asc", "desc") for _, colon, order in criteria)


def _changes_indices_options(params: Params) -> bool:
    """Whether they are others than a search's defaults. What means nothing is upstream's to refuse."""
    wildcards = {*params.get("expand_wildcards", "open").split(",")}
    return (
        params.get("ignore_unavailable") == "true"
        or params.get("allow_no_indices") == "false"
        or params.get("ignore_throttled") == "false"
        or (wildcards != {"open"} and wildcards <= _WILDCARDS)
    )


def _sub_searches(whole: Whole) -> int:
    """How many there are; the URL's query takes their place."""
    if "q" in whole.params:
        return 1
    raw = whole.others.get("sub_searches", b"")
    return len(parse_array(raw)) if raw.startswith(b"[") else 0


def _terminates(whole: Whole) -> bool:
    """0, the default, counts as absent; the URL's value is the stronger one."""
    in_url = whole.params.get("terminate_after")
    return (in_url or whole.others.get("terminate_after", b"0").decode()).strip('"') != "0"
