"""The text of a hit: the first value of a field (``RerankingRankFeaturePhaseRankShardContext``)."""

import json
from collections.abc import Sequence
from typing import Any

import msgspec

from rerank_proxy.xcontent.java_values import well_formed
from rerank_proxy.xcontent.splicing import elements, members, text


def text_of(fields: bytes | None, field: str) -> str | None:
    """The string that is sent to the model for a hit.

    Args:
        fields: The hit's `fields` section; None where it has none.
        field: The name that was asked for, literally: a pattern names no section of its own.

    Returns:
        None when the document has no value there; the empty string is a value.
    """
    if fields is None:
        return None
    values = members(fields).get(field)
    first = next(iter(elements(values)), None) if values is not None else None
    if first is None or first == b"null":
        return None
    if first.startswith(b'"'):
        return well_formed(text(first))
    return _java_string(first)


def _java_string(value: bytes) -> str:
    """``Object#toString``: numbers as printed, maps as `{a=1, b=[x]}`."""
    return _render(json.loads(value, parse_float=_Spelled, parse_int=_Spelled))


class _Spelled(str):
    """A number in its own spelling."""

    __slots__ = ()


def _render(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}={_render(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(_render, value)) + "]"
    if value is None or isinstance(value, bool):
        return json.dumps(value)
    return str(value)


def vector_of(fields: bytes | None, field: str) -> Sequence[float] | None:
    """The vector of a hit in a `dense_vector` field; None where it has none."""
    values = members(fields).get(field) if fields is not None else None
    if values is None:
        return None
    try:
        return msgspec.json.decode(values, type=list[float])
    except msgspec.ValidationError:
        return None
