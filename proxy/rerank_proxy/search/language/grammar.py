"""From the bytes of a search body to what this proxy reads of it, with Elasticsearch's own complaints.

The rules are those of ``SearchSourceBuilder#parseXContent``.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any, Final

from rerank_proxy.errors import ElasticsearchError, error
from rerank_proxy.search.language.detection import handles
from rerank_proxy.search.language.retriever_grammar import parse_retriever
from rerank_proxy.search.retrievers.compound import CompoundRetriever
from rerank_proxy.xcontent.faults import ParseError
from rerank_proxy.xcontent.object_parser import INT_MAX, parsing_error, to_bool, to_float, to_int
from rerank_proxy.xcontent.source import ARRAY, BOOLEAN, NUMBER, OBJECT, STRING, Node, parse, parse_array
from rerank_proxy.xcontent.time_value import TimeValue, parse_time_value

TrackTotalHits = bool | int


@dataclass(frozen=True, slots=True)
class SearchBody:
    """A search body with a compound retriever.

    `others` are the members that are sent on as they were written: those that this module does not interpret,
    and those that upstream reads, too.
    """

    retriever: CompoundRetriever
    size: int | None
    from_: int | None
    track_total_hits: TrackTotalHits | None
    min_score: float | None
    timeout: TimeValue | None
    others: Mapping[str, bytes]


def parse_search_body(body: bytes | Node, evaluate: Collection[str] = frozenset()) -> SearchBody | None:
    """Read a body; None when it is a search for upstream alone.

    Args:
        body: Its bytes, or what `parse` made of them.
        evaluate: Types of retrievers that upstream does not know, see `handles`.

    Raises:
        ElasticsearchError: 400, with Elasticsearch's type, reason and position; also for what Elasticsearch
            accepts and this proxy does not support yet.
    """
    try:
        root = body if isinstance(body, Node) else parse(body)
    except ParseError:  # upstream meets it first, too
        return None
    if not handles(root, evaluate):
        return None
    values: dict[str, Any] = {}
    others: dict[str, bytes] = {}
    for name, member in root.entries():
        if name == "retriever":
            values[name] = parse_retriever(member)
            continue
        if name in _SCALARS:
            values[name] = _body_value(member, name, _SCALARS[name])
        else:
            _check_queries(name, member, others)
        if name not in _SCALARS or name in _SENT_ON:
            others[name] = member.raw
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
        others=others,
    )


def _body_value(node: Node, name: str, convert: Callable[[Node], Any]) -> Any:
    """A scalar of the search body, or Elasticsearch's refusal of its token."""
    if node.kind not in (NUMBER, STRING, BOOLEAN) or (node.kind == BOOLEAN and name not in _MAY_BE_BOOLEAN):
        reason = f"Unknown key for a {node.kind} in [{name}]."
        raise parsing_error(node, node.start, reason)
    try:
        return convert(node)
    except ParseError as failure:
        raise ElasticsearchError(400, failure.cause) from None


def _check_queries(name: str, node: Node, before: Mapping[str, bytes]) -> None:
    """Refuse `query` and `sub_searches` side by side: the second one in the text is at fault, and an empty
    first one is none.
    """
    if name == "query" and node.kind == OBJECT:
        other, clashes = "sub_searches", _has_items(before.get("sub_searches", b""))
    elif name == "sub_searches" and node.kind == ARRAY:
        other, clashes = "query", "query" in before
    else:
        return
    if clashes:
        reason = f"cannot specify field [{name}] and field [{other}]"
        raise error(400, "illegal_argument_exception", reason)


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
_MAY_BE_BOOLEAN: Final = frozenset({"timeout", "track_total_hits"})
"""For `timeout` it is a text that is no time."""


def check_size(size: int) -> int:
    if size < 0:
        raise error(400, "illegal_argument_exception", f"[size] parameter cannot be negative, found [{size}]")
    return size


def check_total(limit: int) -> TrackTotalHits:
    """The numbers that stand for `false` and `true` are read as such (``SearchContext``)."""
    if limit < -1:
        reason = f"[track_total_hits] parameter must be positive or equals to -1, got {limit}"
        raise error(400, "illegal_argument_exception", reason)
    return {-1: False, INT_MAX: True}.get(limit, limit)


def check_from(from_: int) -> int:
    if from_ < 0:
        reason = f"[from] parameter cannot be negative but was [{from_}]"
        raise error(400, "illegal_argument_exception", reason)
    return from_
