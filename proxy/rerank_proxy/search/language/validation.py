"""Validate a search apart from its retrievers.

The failures are messages that native numbers in one error, after those about the retrievers.
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
class SearchWithoutTree:
    """A search without its tree of retrievers.

    Attributes:
        index: The index expression; None for all indices.
        size: Hits asked for; None if neither body nor URL names it.
        opaque_members: The members of the body that stand beside the retriever, as they were written.
    """

    index: str | None
    params: Params
    size: int | None
    from_: int
    track_total_hits: bool | int | None
    opaque_members: Mapping[str, bytes]

    def has(self, member: str) -> bool:
        return member in self.opaque_members

    def has_items(self, member: str) -> bool:
        """Return whether there is such a member and it is not an empty array."""
        raw = self.opaque_members.get(member)
        return raw is not None and not (raw.startswith(b"[") and not parse_array(raw))


def failures_beside_tree(search: SearchWithoutTree) -> Iterator[str]:
    """Yield what is wrong with a search apart from its tree.

    First comes what ``SearchSourceBuilder#validate`` finds, then what ``SearchRequest#validate`` adds.
    """
    yield from _beside_retriever(search)
    if "scroll" in search.params:
        yield from _beside_scroll(search)
    yield from _of_the_body(search)
    if "scroll" in search.params and search.params.flag("request_cache"):
        yield "[request_cache] cannot be used in a scroll context"
    if search.has("pit"):
        yield from _beside_point_in_time(search)


def _beside_retriever(search: SearchWithoutTree) -> Iterator[str]:
    present = {
        "query": search.has("query") or _sub_searches(search) > 0,
        "knn": search.has_items("knn"),
        "terminate_after": _terminates(search),
        "sort": search.has("sort") or _sorts(search.params.get("sort", "")),
    }
    refused = [name for name in _REFUSED_BESIDE_RETRIEVER if present.get(name, search.has(name))]
    if refused:
        yield f"cannot specify [retriever] and [{', '.join(refused)}]"


def _beside_scroll(search: SearchWithoutTree) -> Iterator[str]:
    if search.track_total_hits is not None and search.track_total_hits is not True:
        yield "disabling [track_total_hits] is not allowed in a scroll context"
    if search.from_ > 0:
        yield "using [from] is not allowed in a scroll context"
    if search.size == 0:
        yield "[size] cannot be [0] in a scroll context"
    if search.has_items("rescore"):
        yield "using [rescore] is not allowed in a scroll context"
    if search.has("search_after"):
        yield "[search_after] cannot be used in a scroll context"
    if search.has("collapse"):
        yield "cannot use `collapse` in a scroll context"


def _of_the_body(search: SearchWithoutTree) -> Iterator[str]:
    if search.has("slice") and not search.has("pit") and "scroll" not in search.params:
        yield "[slice] can only be used with [scroll] or [point-in-time] requests"
    if search.has("search_after") and search.from_ > 0:
        yield "[from] parameter must be set to 0 when [search_after] is used"
    if fetches_no_stored_fields(search.opaque_members, search.params):
        if _asks_for_source(search):
            yield "[stored_fields] cannot be disabled if [_source] is requested"
        if search.has("fields"):
            yield "[stored_fields] cannot be disabled when using the [fields] option"
    if _sub_searches(search) > 1:
        yield "[sub_searches] requires [rank]"


def _beside_point_in_time(search: SearchWithoutTree) -> Iterator[str]:
    if "scroll" in search.params:
        yield "using [point in time] is not allowed in a scroll context"
    if search.index is not None:
        yield "[indices] cannot be used with point in time. Do not specify any index with point in time."
    if _changes_indices_options(search.params):
        yield _OPTIONS_BESIDE_PIT
    for name in _REFUSED_BESIDE_PIT:
        if name in search.params:
            yield f"[{name}] cannot be used with point in time"


def inner_hits_failures(params: Params) -> list[str]:
    """Return what is wrong with searches for inner hits: they have these parameters and a point in time."""
    failures = []
    if _changes_indices_options(params):
        failures.append(_OPTIONS_BESIDE_PIT)
    if "routing" in params:
        failures.append("[routing] cannot be used with point in time")
    return failures


def fetches_no_stored_fields(opaque_members: Mapping[str, bytes], params: Params) -> bool:
    """Return whether hits come without anything stored, even without ids (``StoredFieldsContext``)."""
    in_url = params.get("stored_fields")
    if in_url is not None:
        return in_url.rstrip(",") == _NO_STORED_FIELDS
    raw = opaque_members.get("stored_fields", b"")
    names = parse_array(raw) if raw.startswith(b"[") else [raw]
    return [*map(_string, names)] == [_NO_STORED_FIELDS]


_NO_STORED_FIELDS: Final = "_none_"


def _string(raw: bytes) -> str | None:
    return str(json.loads(raw)) if raw.startswith(b'"') else None


def _asks_for_source(search: SearchWithoutTree) -> bool:
    """Return whether the URL or else the body asks for `_source` explicitly (``FetchSourceContext``)."""
    if any(name in search.params for name in _SOURCE_PARAMS):
        return search.params.get("_source") != "false"
    return search.opaque_members.get("_source", b"false") != b"false"


def _sorts(text: str) -> bool:
    """Return whether the parameter names a criterion (``RestSearchAction#parseSearchSource``).

    A criterion with an unknown order is passed over.
    """
    criteria = (each.rpartition(":") for each in text.rstrip(",").split(",") if text)
    return any(not colon or order in ("asc", "desc") for _, colon, order in criteria)


def _changes_indices_options(params: Params) -> bool:
    """Return whether options differ from the defaults of a search. Upstream refuses unknown values."""
    wildcards = {*params.get("expand_wildcards", "open").split(",")}
    return (
        params.get("ignore_unavailable") == "true"
        or params.get("allow_no_indices") == "false"
        or params.get("ignore_throttled") == "false"
        or (wildcards != {"open"} and wildcards <= _WILDCARDS)
    )


def _sub_searches(search: SearchWithoutTree) -> int:
    """Return the number of `sub_searches`; 1 for a query in the URL, which replaces them."""
    if "q" in search.params:
        return 1
    raw = search.opaque_members.get("sub_searches", b"")
    return len(parse_array(raw)) if raw.startswith(b"[") else 0


def _terminates(search: SearchWithoutTree) -> bool:
    """Return whether the URL or else the body has a `terminate_after` other than 0, the default."""
    in_url = search.params.get("terminate_after")
    number = (in_url or search.opaque_members.get("terminate_after", b"0").decode()).strip('"')
    try:
        return int(float(number)) != 0
    except (ValueError, OverflowError):
        return True  # upstream refuses it, see `find_earlier_fault`
