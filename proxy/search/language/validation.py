"""What is wrong with a search as a whole: the messages that native numbers in one error.

The order is native's: the tree of retrievers from its root on, then the body, then what the URL adds.
"""

from collections.abc import Iterator, Mapping
from typing import Final

from proxy.search.language.retrievers import (
    CompoundRetriever,
    DiversifyRetriever,
    FusingRetriever,
    LeafRetriever,
    LinearRetriever,
    PinnedRetriever,
    Retriever,
    RuleRetriever,
)
from proxy.xcontent.object_parser import java_float
from proxy.xcontent.params import Params
from proxy.xcontent.source import parse_array

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
_URL_FORMS: Final = {"q": "query", "sort": "sort", "terminate_after": "terminate_after"}
_REFUSED_BESIDE_PIT: Final = ("routing", "preference")


def body_failures(others: Mapping[str, bytes], params: Params) -> Iterator[str]:
    """``SearchSourceBuilder#validate``.

    Args:
        others: The members of the body that stand beside the retriever, as they were written.
    """
    present = {*others, *(_URL_FORMS[name] for name in params if name in _URL_FORMS)}
    if "terminate_after" in present and _terminates_never(others, params):
        present.remove("terminate_after")
    sub_searches = _sub_searches(others)
    if sub_searches:
        present.add("query")
    refused = [name for name in _REFUSED_BESIDE_RETRIEVER if name in present]
    if refused:
        yield f"cannot specify [retriever] and [{', '.join(refused)}]"
    if sub_searches > 1:
        yield "[sub_searches] requires [rank]"
    if "slice" in present and "pit" not in present and "scroll" not in params:
        yield "[slice] can only be used with [scroll] or [point-in-time] requests"


def scroll_failures(
    params: Params, size: int | None, from_: int, track_total_hits: bool | int | None
) -> Iterator[str]:
    """What ``SearchRequest#validate`` refuses to scroll."""
    if "scroll" not in params:
        return
    if track_total_hits is not None and track_total_hits is not True:
        yield "disabling [track_total_hits] is not allowed in a scroll context"
    if from_ > 0:
        yield "using [from] is not allowed in a scroll context"
    if size == 0:
        yield "[size] cannot be [0] in a scroll context"
    if params.flag("request_cache"):
        yield "[request_cache] cannot be used in a scroll context"


def point_in_time_failures(others: Mapping[str, bytes], params: Params, index: str | None) -> Iterator[str]:
    """What ``SearchRequest#validate`` refuses beside a point in time."""
    if "pit" not in others:
        return
    if "scroll" in params:
        yield "using [point in time] is not allowed in a scroll context"
    if index is not None:
        yield "[indices] cannot be used with point in time. Do not specify any index with point in time."
    for name in _REFUSED_BESIDE_PIT:
        if name in params:
            yield f"[{name}] cannot be used with point in time"


def _sub_searches(others: Mapping[str, bytes]) -> int:
    raw = others.get("sub_searches", b"")
    return len(parse_array(raw)) if raw.startswith(b"[") else 0


def _terminates_never(others: Mapping[str, bytes], params: Params) -> bool:
    """0, the default, counts as absent; the URL's value is the stronger one."""
    in_url = params.get("terminate_after")
    return (in_url or others.get("terminate_after", b"").decode()) == "0"
