"""Parse the body of a search as far as the proxy has to, with Elasticsearch's error messages.

The rules are those of ``SearchSourceBuilder#parseXContent``.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from rerank_proxy.errors import ElasticsearchError, illegal_argument, unsupported
from rerank_proxy.search.language.detection import handles
from rerank_proxy.search.language.raw_tree import MAX_RETRIEVERS, number_of_retrievers
from rerank_proxy.search.retrievers.compound import CompoundRetriever
from rerank_proxy.search.retrievers.retriever import Retriever
from rerank_proxy.search.retrievers.types import TOPMOST
from rerank_proxy.xcontent.faults import ParseError
from rerank_proxy.xcontent.object_parser import (
    INT_MAX,
    did_you_mean,
    numeric,
    parsing_error,
    to_bool,
    to_float,
    to_int,
    unknown_name,
)
from rerank_proxy.xcontent.source import ARRAY, BOOLEAN, NUMBER, OBJECT, STRING, Node, parse, parse_array
from rerank_proxy.xcontent.time_value import TimeValue, parse_time_value

TrackTotalHits = bool | int

_NAMES: Final = {**TOPMOST.parsers, "random_reranker": None}
"""The names that an Elasticsearch with all its modules suggests in place of a misspelt one."""


@dataclass(frozen=True, slots=True)
class SearchBody:
    """A search body with a compound retriever.

    Attributes:
        opaque_members: The members that are sent on as they were written: those that are not parsed here,
            and those that upstream has to read as well.
    """

    retriever: CompoundRetriever
    size: int | None
    from_: int | None
    track_total_hits: TrackTotalHits | None
    min_score: float | None
    timeout: TimeValue | None
    opaque_members: Mapping[str, bytes]


def parse_search_body(body: bytes | Node, evaluate: Collection[str] = frozenset()) -> SearchBody | None:
    """Parse a body. Return None if the search is not evaluated here but upstream.

    Args:
        body: The bytes, or the node that `parse` returned for them.
        evaluate: Types of retrievers that upstream does not know, see `handles`.

    Raises:
        ElasticsearchError: 400, with Elasticsearch's type, reason and position; also for what Elasticsearch
            accepts and the proxy does not support.
    """
    try:
        root = body if isinstance(body, Node) else parse(body)
    except ParseError:  # upstream finds it first, too
        return None
    if not handles(root, evaluate):
        return None
    values, opaque_members = _members(root)
    retriever = values["retriever"]
    if not isinstance(retriever, CompoundRetriever):
        return None
    return SearchBody(
        retriever=retriever,
        size=values.get("size"),
        from_=values.get("from"),
        track_total_hits=values.get("track_total_hits"),
        min_score=values.get("min_score"),
        timeout=values.get("timeout"),
        opaque_members=opaque_members,
    )


def _members(root: Node) -> tuple[dict[str, Any], dict[str, bytes]]:
    """Parse the members of a body in their order. Return parsed values, and opaque members as bytes."""
    values: dict[str, Any] = {}
    opaque_members: dict[str, bytes] = {}
    for name, member in root.entries():
        if name == "retriever":
            values[name] = parse_retriever(member)
            continue
        if name in _SCALARS:
            values[name] = _body_value(member, name, _SCALARS[name])
        else:
            _check_queries(name, member, opaque_members)
        if name not in _SCALARS or name in _SENT_ON:
            opaque_members[name] = member.raw
    return values, opaque_members


def parse_retriever(node: Node) -> Retriever:
    """Parse the value of a body's `retriever`. Return the tree.

    Raises:
        ElasticsearchError: 400, with Elasticsearch's type, reason and position; also for what Elasticsearch
            accepts and the proxy does not support.
    """
    if number_of_retrievers(node) > MAX_RETRIEVERS:
        raise unsupported(f"[retriever] of more than [{MAX_RETRIEVERS}] retrievers")
    entries = node.entries()
    name, inner = next(entries)
    if name not in TOPMOST.parsers:
        cause = unknown_name(node, inner.start, name).cause
        hint = "" if name in _NAMES else did_you_mean(name, _NAMES)
        raise parsing_error(node, inner.start, f"unknown retriever [{name}]{hint}", cause)
    if inner.kind != OBJECT:
        reason = f"[{name}] retriever malformed, no [START_OBJECT] after retriever name"
        raise parsing_error(node, inner.start, reason)
    retriever: Retriever = TOPMOST.parsers[name](inner, TOPMOST)
    for other, _ in entries:
        reason = f"[{name}] malformed retriever, expected [END_OBJECT] but found [FIELD_NAME]"
        raise parsing_error(node, node.keys[other], reason)
    return retriever


def _body_value(node: Node, name: str, convert: Callable[[Node], Any]) -> Any:
    """Convert a scalar of the search body, or refuse its token as Elasticsearch does."""
    if node.kind not in (NUMBER, STRING, BOOLEAN):
        reason = f"Unknown key for a {node.kind} in [{name}]."
        raise parsing_error(node, node.start, reason)
    try:
        return convert(node if name in _MAY_BE_BOOLEAN else numeric(node))
    except ParseError as failure:
        raise ElasticsearchError(400, failure.cause) from None


def _check_queries(name: str, node: Node, before: Mapping[str, bytes]) -> None:
    """Refuse `query` and `sub_searches` side by side.

    The fault is that of the member that comes second in the text. Empty `sub_searches` that come first do not
    count.
    """
    if name == "query" and node.kind == OBJECT:
        other, clashes = "sub_searches", _has_items(before.get("sub_searches", b""))
    elif name == "sub_searches" and node.kind == ARRAY:
        other, clashes = "query", "query" in before
    else:
        return
    if clashes:
        reason = f"cannot specify field [{name}] and field [{other}]"
        raise illegal_argument(reason)


def _has_items(raw: bytes) -> bool:
    return raw.startswith(b"[") and bool(parse_array(raw))


def _to_size(node: Node) -> int:
    return check_size(to_int(node))


def _to_from(node: Node) -> int:
    return check_from(to_int(node))


def _to_total(node: Node) -> TrackTotalHits:
    if node.kind == BOOLEAN or (node.kind == STRING and node.scalar() in ("true", "false")):
        return to_bool(node)
    return check_total(to_int(node))


def _to_time(node: Node) -> TimeValue:
    text = node.scalar() if node.kind == STRING else node.raw.decode()
    return parse_time_value(text, "timeout")


_SCALARS: Final[Mapping[str, Callable[[Node], Any]]] = {
    "size": _to_size,
    "from": _to_from,
    "track_total_hits": _to_total,
    "min_score": to_float,
    "timeout": _to_time,
}
_SENT_ON: Final = frozenset({"timeout"})
"""Members that are parsed here and sent on as well."""
_MAY_BE_BOOLEAN: Final = frozenset({"timeout", "track_total_hits"})
"""A boolean `timeout` is read as text, and refused because that is not a time."""


def check_size(size: int) -> int:
    if size < 0:
        raise illegal_argument(f"[size] parameter cannot be negative, found [{size}]")
    return size


def check_total(limit: int) -> TrackTotalHits:
    """Check `track_total_hits`. Return the booleans that two of its numbers stand for (``SearchContext``)."""
    if limit < -1:
        reason = f"[track_total_hits] parameter must be positive or equals to -1, got {limit}"
        raise illegal_argument(reason)
    return {-1: False, INT_MAX: True}.get(limit, limit)


def check_from(from_: int) -> int:
    if from_ < 0:
        reason = f"[from] parameter cannot be negative but was [{from_}]"
        raise illegal_argument(reason)
    return from_
