"""What is wrong with a search as a whole: the messages that native numbers in one error.

The order is native's: the tree of retrievers from its root on, then the body, then what the URL adds.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from rerank_proxy.search.language.retrievers import (
    CompoundRetriever,
    DiversifyRetriever,
    FusingRetriever,
    LeafRetriever,
    LinearRetriever,
    PinnedRetriever,
    Retriever,
    RuleRetriever,
)
from rerank_proxy.xcontent.object_parser import java_float
from rerank_proxy.xcontent.params import Params
from rerank_proxy.xcontent.source import parse_array

ABSENT_SIZE: Final = -1
"""What native compares where no `size` is given."""


def tree_failures(retriever: Retriever, size: int | None, *, scrolls: bool) -> Iterator[str]:
    """``CompoundRetrieverBuilder#validate``.

    Args:
        size: Hits asked for; None when the request does not name it.
    """
    if isinstance(retriever, LeafRetriever):
        return
    if isinstance(retriever, DiversifyRetriever):  # whose own rules replace these, its children's included
        yield from _diversify_failures(retriever)
        return
    yield from _window_failures(retriever, ABSENT_SIZE if size is None else size, scrolls)
    for child in retriever.children:
        yield from tree_failures(child, size, scrolls=scrolls)
        if not isinstance(child, LeafRetriever):
            yield from _child_window_failures(retriever, child)
    if isinstance(retriever, FusingRetriever):
        yield from _parameter_failures(retriever)


def _window_failures(retriever: CompoundRetriever, size: int, scrolls: bool) -> Iterator[str]:
    name, key, window = retriever.TYPE, retriever.WINDOW_KEY, retriever.rank_window_size
    if size > window:
        yield f"[{name}] requires [{key}: {window}] be greater than or equal to [size: {size}]"
    if scrolls:
        yield f"cannot specify [{name}] and [scroll]"
    if window < 0:
        yield f"[{key}] parameter cannot be negative, found [{window}]"


def _child_window_failures(parent: CompoundRetriever, child: CompoundRetriever) -> Iterator[str]:
    if isinstance(parent, PinnedRetriever | RuleRetriever):
        return  # theirs is hidden in a wrapper, where native does not find its window
    if parent.rank_window_size > child.rank_window_size:
        yield (
            f"[{parent.TYPE}] requires [{parent.WINDOW_KEY}: {parent.rank_window_size}] to be smaller than "
            f"or equal to its sub retriever's {child.TYPE} [{child.WINDOW_KEY}: {child.rank_window_size}]"
        )


def _parameter_failures(retriever: FusingRetriever) -> Iterator[str]:
    """``MultiFieldsInnerRetrieverUtils#validateParams``, and what `linear` adds."""
    name, query, fields = retriever.TYPE, retriever.query, retriever.fields
    if query is None:
        if fields is not None:
            yield f"[{name}] [query] must be provided when [fields] is specified"
        elif not retriever.components:
            yield f"[{name}] must provide [retrievers] or [query]"
        return
    if not query:
        yield f"[{name}] [query] cannot be empty"
    if fields == ():
        yield f"[{name}] [fields] cannot be empty"
    if retriever.components:
        yield f"[{name}] cannot combine [retrievers] and [query]"
    if isinstance(retriever, LinearRetriever) and retriever.normalizer is None:
        yield f"[{name}] [normalizer] must be provided when [query] is specified"


def _diversify_failures(retriever: DiversifyRetriever) -> Iterator[str]:
    """``DiversifyRetrieverBuilder#validate`` and ``MMRResultDiversification``."""
    mmr = "[diversify] MMR result diversification"
    size, window, share = retriever.size, retriever.rank_window_size, retriever.lambda_
    has_vector = retriever.query_vector is not None or retriever.encoded_vector is not None
    if has_vector and retriever.query_vector_builder is not None:
        yield f"{mmr} can have one of [query_vector] or [query_vector_builder], but not both"
    if retriever.encoded_vector is not None:
        yield "[diversify] retriever cannot have a [query_vector] that is string encoded"
    if size < 1:
        yield f"{mmr} [size] of {size} must be greater than zero"
    if size > window:
        yield f"{mmr} [size] of {size} cannot be greater than the [rank_window_size] of {window}"
    if share is None or share < 0 or share > 1:
        shown = "null" if share is None else java_float(share)
        yield f"{mmr} must have a [lambda] between 0.0 and 1.0. The value provided was {shown}"


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
