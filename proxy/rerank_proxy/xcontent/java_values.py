"""JSON values under their Java names and as Java prints them, both of which appear in messages."""

from collections.abc import Iterable, Mapping
from typing import Any, Final

from rerank_proxy.xcontent.java_numbers import print_double
from rerank_proxy.xcontent.source import ARRAY, OBJECT, Node

_INTEGER = range(-(2**31), 2**31)
_LONG = range(-(2**63), 2**63)
_MAX_DEPTH: Final = 100


def read(node: Node, depth: int = 0) -> Any:
    """Return a value as ``XContentParser#map`` reads it, without what is nested deeper than any
    real body is.
    """
    if depth > _MAX_DEPTH:
        return "..."
    if node.kind == OBJECT:
        return {name: read(child, depth + 1) for name, child in node.members.items()}
    if node.kind == ARRAY:
        return [read(item, depth + 1) for item in node.items]
    return node.scalar()


def class_name(value: Any) -> str:
    """Return the Java class of a value that ``XContentParser#map`` has read."""
    match value:
        case bool():
            return "java.lang.Boolean"
        case int():
            if value in _INTEGER:
                return "java.lang.Integer"
            return "java.lang.Long" if value in _LONG else "java.math.BigInteger"
        case float():
            return "java.lang.Double"
        case str():
            return "java.lang.String"
        case list():
            return "java.util.ArrayList"
        case _:
            return "java.util.HashMap"


def print_java(value: Any) -> str:
    """Print a value as ``Object#toString`` does."""
    match value:
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case float():
            return print_double(value)
        case list():
            return f"[{', '.join(map(print_java, value))}]"
        case dict():
            return "{" + ", ".join(f"{key}={print_java(value[key])}" for key in hash_map_order(value)) + "}"
        case _:
            return str(value)


def well_formed(text: str) -> str:
    """Replace unpaired surrogates by U+FFFD, as Java does when it encodes a string for the wire."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return text


def hash_map_order(members: Mapping[str, Any]) -> list[str]:
    """Return the keys in the order of a ``HashMap`` that was filled with them."""
    capacity = 16
    while len(members) > 0.75 * capacity:
        capacity *= 2
    return _by_bucket(members, capacity)


def copied_hash_map_order(members: Mapping[str, Any]) -> list[str]:
    """Return the keys in the order of a copy of that map, which has no spare capacity."""
    capacity = 1
    while len(members) > 0.75 * capacity:
        capacity *= 2
    return _by_bucket(hash_map_order(members), capacity)


def _by_bucket(keys: Iterable[str], capacity: int) -> list[str]:
    """Order keys by their buckets; keys of one bucket keep their order."""
    return sorted(keys, key=lambda key: _spread(_hash_code(key)) % capacity)


def _hash_code(text: str) -> int:
    """Return what ``String#hashCode`` returns."""
    code = 0
    units = text.encode("utf-16-le", "surrogatepass")
    for low, high in zip(units[::2], units[1::2], strict=True):
        code = (31 * code + low + 256 * high) % 2**32
    return code


def _spread(code: int) -> int:
    return code ^ code >> 16
