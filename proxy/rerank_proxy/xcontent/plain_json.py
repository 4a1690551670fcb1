"""Client JSON as plain Python values, bounded in depth."""

import json
from typing import Any, Final

from rerank_proxy.xcontent.object_parser import illegal_argument

_MAX_DEPTH: Final = 100
"""Far deeper than a document or a model's metadata is; they are printed and saved by recursive functions."""

_LONG_DIGITS: Final = 18


def plain(raw: bytes) -> Any:
    """Return valid JSON as a Python value; numbers that do not fit a long become floats.

    Raises:
        ParseError: It is nested too deeply.
    """
    try:
        value = json.loads(raw, parse_int=_number)
    except RecursionError:
        raise _too_deep() from None
    if is_deeper(value, _MAX_DEPTH):
        raise _too_deep()
    return value


def is_deeper(value: Any, depth: int) -> bool:
    """Tell whether lists and dictionaries are nested deeper than `depth`, without recursion."""
    level = [value] if isinstance(value, dict | list) else []
    for _ in range(depth):
        inner = (each.values() if isinstance(each, dict) else each for each in level)
        level = [child for each in inner for child in each if isinstance(child, dict | list)]
        if not level:
            return False
    return True


def _number(digits: str) -> int | float:
    return int(digits) if len(digits) <= _LONG_DIGITS else float(digits)


def _too_deep() -> Exception:
    return illegal_argument(f"nested deeper than the [{_MAX_DEPTH}] levels that are supported here")
