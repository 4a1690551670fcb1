"""Values that stay bytes for upstream, checked for what Elasticsearch's parser of retrievers says of them."""

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import msgspec
import numpy as np

from rerank_proxy.xcontent.faults import ParseError
from rerank_proxy.xcontent.object_parser import (
    FLOAT,
    RAW_OBJECT,
    STR,
    Field,
    illegal_argument,
    numeric,
    one_or_each,
    parse_named,
    parse_object,
    parsing_error,
    to_float,
    to_int,
    to_raw,
    to_str,
    unknown_name,
)
from rerank_proxy.xcontent.positions import position
from rerank_proxy.xcontent.source import ARRAY, NULL, NUMBER, OBJECT, STRING, Node
from rerank_proxy.xcontent.splicing import elements, members

DEFAULT_RESCORE_WINDOW_SIZE: Final = 10

_skip_separators: Final = re.compile(rb"[ \t\r\n,]*").match


def to_query(node: Node) -> bytes:
    """A query clause: an object with one key, whose value is an object
    (``AbstractQueryBuilder#parseTopLevelQuery``).
    """
    if node.kind != OBJECT:  # native then looks at the token after it
        after = _skip_separators(node.body, node.end)
        at = node.start if after is None else after.end()
        raise parsing_error(node, at, "[_na] query malformed, must start with start_object")
    entries = node.entries()
    name, clause = next(entries, (None, None))
    if name is None or clause is None:
        at = node.last_token()
        raise illegal_argument(f"query malformed, empty clause found at {position(node.body, at)}", at)
    if clause.kind != OBJECT:
        reason = f"[{name}] query malformed, no start_object after query name"
        raise parsing_error(node, clause.start, reason)
    for other, _ in entries:
        reason = f"[{name}] malformed query, expected [END_OBJECT] but found [FIELD_NAME]"
        raise parsing_error(node, node.keys[other], reason)
    return node.raw


def to_sort(node: Node) -> bytes:
    """``SortBuilder#fromXContent``."""
    for item in node.each() if node.kind == ARRAY else ():
        if item.kind not in (OBJECT, STRING):
            reason = (
                "malformed sort format, within the sort array, an object, or an actual string are allowed"
            )
            raise illegal_argument(reason, item.start)
    return node.raw


def sort_criteria(sort: bytes | None) -> Iterator[bytes]:
    """Yield the criteria of a `sort`, one key each."""
    if sort is None:
        return
    for item in elements(sort) if sort.startswith(b"[") else [sort]:
        if item.startswith(b"{"):
            yield from (
                b"{%s:%s}" % (json.dumps(key).encode(), value) for key, value in members(item).items()
            )
        else:
            yield item


def sorted_by(criterion: bytes) -> str:
    """Return the field, or the like, that a criterion names."""
    value = json.loads(criterion)
    return str(next(iter(value)) if isinstance(value, dict) else value)


def to_search_after(node: Node) -> bytes:
    """``SearchAfterBuilder#fromXContent``."""
    if node.kind != ARRAY:
        reason = f"Expected [{ARRAY}] in [search_after] but found [{node.kind}] inside search_after"
        raise parsing_error(node, node.start, reason)
    if next(node.each(), None) is None:
        raise illegal_argument("Values must contains at least one value.", node.last_token())
    for value in node.each():
        if value.kind in (OBJECT, ARRAY):
            reason = (
                "Expected [VALUE_STRING] or [VALUE_NUMBER] or [VALUE_BOOLEAN] or [VALUE_NULL] "
                f"but found [{value.kind}] inside search_after."
            )
            raise parsing_error(node, value.start, reason)
    return node.raw


def to_vector(node: Node) -> tuple[float, ...] | str:
    """Numbers, or one string that encodes them (``VectorData#parseXContent``)."""
    if node.kind == OBJECT:
        raise parsing_error(node, node.start, f"Unknown type [{OBJECT}] for parsing vector")
    if node.kind == STRING:
        return to_str(node)
    numbers = _numbers(node) if node.kind == ARRAY else None
    return tuple(_coordinate(item) for item in one_or_each(node)) if numbers is None else numbers


def _numbers(node: Node) -> tuple[float, ...] | None:
    """The items of an array of mere numbers, without a look at each; None for any other."""
    try:
        values = msgspec.json.decode(node.raw, type=list[float])
    except (msgspec.MsgspecError, RecursionError):
        return None
    with np.errstate(over="ignore"):  # as in `to_float`
        return tuple(np.array(values, np.float64).astype(np.float32).tolist())


def _coordinate(node: Node) -> float:
    if node.kind not in (NUMBER, STRING):
        raise parsing_error(node, node.start, f"Type [{node.kind}] not supported for query vector")
    try:
        return to_float(node)
    except ParseError as failure:
        raise ParseError(failure.cause, node.start) from None


def to_raw_vector(node: Node) -> bytes:
    to_vector(node)
    return node.raw


def to_vector_builder(node: Node) -> bytes:
    """A named way to a vector; which there are depends on upstream's plugins."""
    return parse_named(node, "query_vector_builder", lambda builder, _: builder.raw)


def to_rescore_vector(node: Node) -> bytes:
    """``RescoreVectorBuilder``."""
    parse_object(node, "rescore_vector", _RESCORE_VECTOR_FIELDS, _check_oversample)
    return node.raw


def _check_oversample(values: Mapping[str, Any]) -> str | None:
    oversample = values["oversample"]
    return "[oversample] must be >= 1.0 or 0" if oversample < 1 and oversample != 0 else None


_RESCORE_VECTOR_FIELDS: Final = {"oversample": Field(FLOAT.kinds, to_float, required=True)}


def to_rescorers(node: Node) -> tuple[tuple[bytes, int], ...]:
    """The rescorers of `rescore`, each with its window (``RescorerBuilder#parseFromXContent``)."""
    return tuple(_rescorer(node, item) for item in one_or_each(node))


def _rescorer(node: Node, item: Node) -> tuple[bytes, int]:
    if item.kind != OBJECT:
        raise parsing_error(node, node.last_token(), "unexpected token [END_ARRAY] after [null]")
    window = DEFAULT_RESCORE_WINDOW_SIZE
    kind = None
    for name, member in item.entries():
        if member.kind in (ARRAY, NULL):
            raise parsing_error(node, member.start, f"unexpected token [{member.kind}] after [{name}]")
        if member.kind == OBJECT:
            if kind is not None:
                reason = "Can't have more than one rescore type in a [rescore] object"
                raise parsing_error(node, member.start, reason)
            kind = name
            _check_rescorer(name, member)
        elif name == "window_size":
            window = _window_size(member)
        else:
            raise parsing_error(node, member.start, f"rescore doesn't support [{name}]")
    if kind is None:
        raise parsing_error(node, item.last_token(), "missing rescore type")
    return item.raw, window


def _window_size(node: Node) -> int:
    try:
        return to_int(numeric(node))
    except ParseError as failure:
        raise ParseError(failure.cause, node.start) from None


def _check_rescorer(name: str, node: Node) -> None:
    if name == "query":
        values = parse_object(node, "query", _QUERY_RESCORER_FIELDS)
        if "rescore_query" not in values:
            raise illegal_argument("rescore_query cannot be null", node.last_token())
    elif name not in _OTHER_RESCORERS:
        raise unknown_name(node, node.start, name)


def _score_mode(node: Node) -> str:
    mode = to_str(node)
    if mode.lower() not in _SCORE_MODES:
        raise illegal_argument(f"illegal score_mode [{mode}]")
    return mode


_OTHER_RESCORERS: Final = frozenset({"learning_to_rank", "script"})
_SCORE_MODES: Final = frozenset({"avg", "max", "min", "multiply", "total"})
_QUERY_RESCORER_FIELDS: Final = {
    "rescore_query": Field(RAW_OBJECT.kinds, to_query),
    "query_weight": FLOAT,
    "rescore_query_weight": FLOAT,
    "score_mode": Field(STR.kinds, _score_mode),
}

QUERY: Final = Field(frozenset({OBJECT}), to_query)
SORT: Final = Field(frozenset({ARRAY, OBJECT}), to_sort)
SEARCH_AFTER: Final = Field(frozenset({ARRAY, OBJECT}), to_search_after)
_VECTOR_KINDS: Final = frozenset({ARRAY, NUMBER, OBJECT, STRING})
VECTOR: Final = Field(_VECTOR_KINDS, to_vector)
RAW_VECTOR: Final = Field(_VECTOR_KINDS, to_raw_vector)
VECTOR_BUILDER: Final = Field(frozenset({OBJECT}), to_vector_builder)
RESCORE_VECTOR: Final = Field(frozenset({OBJECT}), to_rescore_vector)
RESCORE: Final = Field(frozenset({ARRAY, OBJECT}), to_rescorers, required=True)
COLLAPSE: Final = Field(frozenset({OBJECT}), to_raw)
