"""From the bytes of a search body to a retriever, with Elasticsearch's own complaints.

The rules are those of ``RetrieverBuilder`` and its subclasses and of
``SearchSourceBuilder#parseXContent``, in their order.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from proxy.errors import Cause, ElasticsearchError, error
from proxy.search.fields import well_formed
from proxy.search.object_parser import (
    BOOL,
    FLOAT,
    INT,
    INT_MAX,
    RAW_OBJECT,
    RAW_OBJECTS,
    STR,
    Field,
    ParseError,
    did_you_mean,
    parse_object,
    parsing_error,
    to_bool,
    to_float,
    to_int,
    to_raw,
    x_content_error,
)
from proxy.search.retrievers import (
    DEFAULT_INFERENCE_ID,
    DEFAULT_RANK_WINDOW_SIZE,
    TEXT_SIMILARITY_RERANKER,
    KnnRetriever,
    LeafRetriever,
    StandardRetriever,
    TextSimilarityReranker,
)
from proxy.search.source import ARRAY, BOOLEAN, NUMBER, OBJECT, STRING, Node, parse, position, walk

TrackTotalHits = bool | int


@dataclass(frozen=True, slots=True)
class SearchBody:
    """A search body that reranks.

    `others` are the members that this module does not interpret, as they were written.
    """

    retriever: TextSimilarityReranker
    size: int | None
    from_: int | None
    track_total_hits: TrackTotalHits | None
    min_score: float | None
    others: Mapping[str, bytes]


KNOWN_RETRIEVERS: Final = (
    "standard", "knn", "text_similarity_reranker", "rrf", "linear", "rescorer", "pinned", "rule", "diversify",
)  # fmt: skip


def parse_search_body(body: bytes) -> SearchBody | None:
    """Read a body that mentions the reranker; None when it only mentions it and is an ordinary search.

    Raises:
        ElasticsearchError: 400, with Elasticsearch's type, reason and position; also for what Elasticsearch
            accepts and this proxy does not support yet.
    """
    root = parse(body)
    retriever = root.members.get("retriever") if root.kind == OBJECT else None
    if retriever is None or not _has_reranker(retriever):
        return None
    reranker = _parse_top_retriever(retriever)
    members = dict(root.members)
    del members["retriever"]
    return SearchBody(
        retriever=reranker,
        size=_body_value(members.pop("size", None), "size", _to_size),
        from_=_body_value(members.pop("from", None), "from", _to_from),
        track_total_hits=_body_value(members.pop("track_total_hits", None), "track_total_hits", _to_total),
        min_score=_body_value(members.pop("min_score", None), "min_score", to_float),
        others={name: member.raw for name, member in members.items()},
    )


def names_reranker(document: Node) -> bool:
    """Whether there is a reranker in any `retriever` of a document, as search requests of other APIs have."""
    retrievers = (node.members.get("retriever") for node in walk(document))
    return any(retriever is not None and _has_reranker(retriever) for retriever in retrievers)


def _has_reranker(retriever: Node) -> bool:
    return any(name == TEXT_SIMILARITY_RERANKER for name, _ in _retriever_names(retriever))


def _retriever_names(retriever: Node) -> Iterator[tuple[str, Node]]:
    """Every name in the place of a retriever's, in a tree of retrievers."""
    for name, inner in retriever.members.items():
        yield name, inner
        if (child := inner.members.get("retriever")) is not None:
            yield from _retriever_names(child)
        if (children := inner.members.get("retrievers")) is not None:
            for item in children.items:
                yield from _retriever_names(item.members.get("retriever", item))


def _parse_top_retriever(node: Node) -> TextSimilarityReranker:
    """``RetrieverBuilder#parseTopLevelRetrieverBuilder``, for a retriever that is the reranker."""
    name, inner = next(iter(node.members.items()))
    if name not in KNOWN_RETRIEVERS:
        where = position(node.body, inner.start)
        cause = Cause("named_object_not_found_exception", f"{where} unknown field [{name}]")
        hint = did_you_mean(name, dict.fromkeys(KNOWN_RETRIEVERS))
        raise parsing_error(node, inner.start, f"unknown retriever [{name}]{hint}", cause)
    if inner.kind != OBJECT:
        reason = f"[{name}] retriever malformed, no [START_OBJECT] after retriever name"
        raise parsing_error(node, inner.start, reason)
    reranker = _parse_reranker(inner) if name == TEXT_SIMILARITY_RERANKER else None
    _check_only_name(node)
    if reranker is None:
        raise unsupported(f"[{TEXT_SIMILARITY_RERANKER}] inside of [{name}]")
    return reranker


def _check_only_name(node: Node) -> None:
    name, *others = node.members
    if others:
        reason = f"[{name}] malformed retriever, expected [END_OBJECT] but found [FIELD_NAME]"
        raise parsing_error(node, node.keys[others[0]], reason)


def _parse_reranker(node: Node) -> TextSimilarityReranker:
    values = parse_object(node, TEXT_SIMILARITY_RERANKER, _RERANKER_FIELDS)
    if "chunk_rescorer" in values:
        raise unsupported(f"[chunk_rescorer] of [{TEXT_SIMILARITY_RERANKER}]")
    return TextSimilarityReranker(
        child=values["retriever"],
        field=values["field"],
        inference_text=well_formed(values["inference_text"]),
        inference_id=values.get("inference_id", DEFAULT_INFERENCE_ID),
        rank_window_size=values.get("rank_window_size", DEFAULT_RANK_WINDOW_SIZE),
        allow_rerank_failures=values.get("allow_rerank_failures", False),
        filters=values.get("filter", ()),
        min_score=values.get("min_score"),
        name=values.get("_name"),
    )


def _parse_child(node: Node) -> LeafRetriever:
    """The `retriever` key of a compound retriever: an object with exactly one retriever name."""
    if not node.members:
        cause = Cause("named_object_not_found_exception", "unknown field [retriever]")
        raise x_content_error(node, node.end - 1, "[retriever] failed to parse field [retriever]", cause)
    name, inner = next(iter(node.members.items()))
    key_at = node.keys[name]
    if name not in KNOWN_RETRIEVERS:
        where = position(node.body, key_at)
        cause = Cause("named_object_not_found_exception", f"{where} unknown field [{name}]")
        raise x_content_error(node, key_at, f"[retriever] failed to parse field [{name}]", cause)
    if name not in _CHILD_PARSERS:
        raise unsupported(f"[{name}] inside of [{TEXT_SIMILARITY_RERANKER}]")
    try:
        child = _CHILD_PARSERS[name](inner)
    except ParseError as failure:
        at = inner.start if failure.offset is None else failure.offset
        raise x_content_error(
            node, at, f"[retriever] failed to parse field [{name}]", failure.cause
        ) from None
    _check_only_name(node)
    return child


def _parse_standard(node: Node) -> StandardRetriever:
    values = parse_object(node, "standard", _STANDARD_FIELDS)
    return StandardRetriever(
        query=values.get("query"),
        sort=values.get("sort"),
        collapse=values.get("collapse"),
        search_after=values.get("search_after"),
        terminate_after=values.get("terminate_after", 0),
        min_score=values.get("min_score"),
        filters=values.get("filter", ()),
        name=values.get("_name"),
    )


def _parse_knn(node: Node) -> KnnRetriever:
    values = parse_object(node, "knn", _KNN_FIELDS)
    base = ("filter", "min_score", "_name")
    return KnnRetriever(
        section={name: member.raw for name, member in node.members.items() if name not in base},
        min_score=values.get("min_score"),
        filters=values.get("filter", ()),
        name=values.get("_name"),
    )


_CHILD_PARSERS: Final[Mapping[str, Callable[[Node], LeafRetriever]]] = {
    "standard": _parse_standard,
    "knn": _parse_knn,
}

_BASE_FIELDS: Final[Mapping[str, Field]] = {"filter": RAW_OBJECTS, "min_score": FLOAT, "_name": STR}

_STANDARD_FIELDS: Final[Mapping[str, Field]] = {
    "query": RAW_OBJECT,
    "search_after": Field(frozenset({ARRAY}), to_raw),
    "terminate_after": INT,
    "sort": Field(frozenset({ARRAY, OBJECT, STRING}), to_raw),
    "collapse": RAW_OBJECT,
    **_BASE_FIELDS,
}

_KNN_FIELDS: Final[Mapping[str, Field]] = {
    "field": replace(STR, required=True),
    "k": replace(INT, required=True),
    "num_candidates": INT,
    "visit_percentage": FLOAT,
    "query_vector": Field(frozenset({ARRAY, NUMBER, OBJECT, STRING}), to_raw),
    "query_vector_builder": RAW_OBJECT,
    "similarity": FLOAT,
    "rescore_vector": RAW_OBJECT,
    **_BASE_FIELDS,
}

_RERANKER_FIELDS: Final[Mapping[str, Field]] = {
    "retriever": Field(frozenset({OBJECT}), _parse_child, required=True),
    "inference_id": STR,
    "inference_text": replace(STR, required=True),
    "field": replace(STR, required=True),
    "rank_window_size": INT,
    "allow_rerank_failures": BOOL,
    "chunk_rescorer": RAW_OBJECT,
    **_BASE_FIELDS,
}


def _body_value(node: Node | None, name: str, convert: Any) -> Any:
    """A scalar of the search body, or Elasticsearch's refusal of its token."""
    if node is None:
        return None
    if node.kind not in (NUMBER, STRING, BOOLEAN) or (node.kind == BOOLEAN and convert is not _to_total):
        reason = f"Unknown key for a {node.kind} in [{name}]."
        raise parsing_error(node, node.start, reason)
    try:
        return convert(node)
    except ParseError as failure:
        raise ElasticsearchError(400, failure.cause) from None


def _to_size(node: Node) -> int:
    return check_size(to_int(node))


def _to_from(node: Node) -> int:
    return check_from(to_int(node))


def _to_total(node: Node) -> TrackTotalHits:
    if node.kind == BOOLEAN or (node.kind == STRING and node.scalar() in ("true", "false")):
        return to_bool(node)
    return check_total(to_int(node))


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


UNSUPPORTED: Final = "unsupported_operation_exception"


def unsupported(what: str) -> ElasticsearchError:
    """A clear refusal of what native Elasticsearch does and this proxy does not do yet."""
    return error(400, UNSUPPORTED, f"{what} is not supported by rerank-proxy yet")
