"""JSON values as they are called and printed in Java, which shows in messages."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any, Final

from rerank_proxy.xcontent.source import ARRAY, OBJECT, Node

_INTEGER = range(-(2**31), 2**31)
_LONG = range(-(2**63), 2**63)
_MAX_DEPTH: Final = 100


def read(node: Node, depth: int = 0) -> Any:
    """``XContentParser#map``. What is nested deeper than anyone means to is left out."""
    if depth > _MAX_DEPTH:
        return "..."
    if node.kind == OBJECT:
        return {name: read(child, depth + 1) for name, child in node.members.items()}
    if node.kind == ARRAY:
        return [read(item, depth + 1) for item in node.items]
    return node.scalar()


def class_name(value: Any) -> str:
    """The class of a value that ``XContentParser#map`` has read."""
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
    """``Object#toString``."""
    match value:
        case None | bool():
            return {None: "null", True: "true", False: "false"}[value]
        case float():
            return _double(value)
        case list():
            return f"[{', '.join(map(print_java, value))}]"
        case dict():
            return "{" + ", ".join(f"{key}={print_java(value[key])}" for key in hash_map_order(value)) + "}"
        case _:
            return str(value)


def _double(value: float) -> str:
    """``Double#toString``: an exponent below a thousandth and from ten millions on."""
    size = abs(value)
    if size == float("inf"):
        return "Infinity" if value > 0 else "-Infinity"
    if size == 0 or 1e-3 <= size < 1e7:
        return format(Decimal(repr(value)), "f")
    sign, digits, exponent = Decimal(repr(value)).normalize().as_tuple()
    assert isinstance(exponent, int)
    fraction = "".join(map(str, digits[1:])) or "0"
    return f"{'-' if sign else ''}{digits[0]}.{fraction}E{exponent + len(digits) - 1}"


def hash_map_order(members: Mapping[str, Any]) -> list[str]:
    """The keys as a ``HashMap`` that was filled with them is gone through."""
    capacity = 16
    while len(members) > 0.75 * capacity:
        capacity *= 2
    return _by_bucket(members, capacity)


def copied_hash_map_order(members: Mapping[str, Any]) -> list[str]:
    """The same of a copy of that map, which is made no larger than it must be."""
    capacity = 1
    while len(members) > 0.75 * capacity:
        capacity *= 2
    return _by_bucket(hash_map_order(members), capacity)


def _by_bucket(keys: Iterable[str], capacity: int) -> list[str]:
    """In one bucket the keys are as they came."""
    return sorted(keys, key=lambda key: _spread(_hash_code(key)) % capacity)


def _hash_code(text: str) -> int:
    """``String#hashCode``."""
    code = 0
    units = text.encode("utf-16-le", "surrogatepass")
    for low, high in zip(units[::2], units[1::2], strict=True):
        code = (31 * code + low + 256 * high) % 2**32
    return code


def _spread(code: int) -> int:
    return code ^ code >> 16


def well_formed(value: str) -> str:
    """Return the text with U+FFFD for unpaired surrogates, as when Java encodes a string for the wire."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return value
