"""JSON of a client as Python values, where nothing but a value can come of it."""

import json
from typing import Any, Final

from rerank_proxy.xcontent.object_parser import illegal_argument

_MAX_DEPTH: Final = 100
"""Far more than a document or a model's metadata has; they are printed and kept by functions that recur."""

_LONG_DIGITS: Final = 18


def plain(raw: bytes) -> Any:
    """What is valid JSON, as Python has it; numbers that no long holds are floats.

    Raises:
        ParseError: It is nested too deeply.
    """
    try:
        value = json.loads(raw, parse_int=_number)
    except RecursionError:
        raise _too_deep() from None
    _check_depth(value)
    return value


def _number(digits: str) -> int | float:
    return int(digits) if len(digits) <= _LONG_DIGITS else float(digits)


def _check_depth(value: Any) -> None:
    level = [value]
    for _ in range(_MAX_DEPTH):
        level = [
            child
            for each in level
            if isinstance(each, dict | list)
            for child in (each.values() if isinstance(each, dict) else each)
        ]
        if not level:
            return
    raise _too_deep()


def _too_deep() -> Exception:
    return illegal_argument(f"nested deeper than the [{_MAX_DEPTH}] levels that are taken here")
