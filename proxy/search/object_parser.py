"""Elasticsearch's ``ObjectParser``: an object's keys, their types and defaults, and its exact complaints."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from proxy.errors import Cause, ElasticsearchError
from proxy.search.source import (
    ARRAY,
    BOOLEAN,
    NUMBER,
    OBJECT,
    STRING,
    Node,
    line_column,
    parse_array,
    position,
)

_JAVA_NUMBER = re.compile(
    r"[\x00-\x20]*[+-]?(?:NaN|Infinity|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[fFdD]?)[\x00-\x20]*"
)
INT_MIN, INT_MAX = -(2**31), 2**31 - 1


@dataclass(frozen=True, slots=True)
class Field:
    """A key of an object: which tokens it takes and what becomes of them."""

    kinds: frozenset[str]
    convert: Callable[[Node], Any]
    required: bool = False


def parse_object(node: Node, parser: str, fields: Mapping[str, Field]) -> dict[str, Any]:
    """The converted values of the keys that `node` holds.

    Args:
        node: The object.
        parser: The name in Elasticsearch's messages, such as `text_similarity_reranker`.
        fields: The known keys in declaration order, which is the order of `Required [...]`.

    Raises:
        ParseError: For the first problem in the order of the text, as Elasticsearch reads it.
    """
    values: dict[str, Any] = {}
    for name, child in node.members.items():
        field = fields.get(name)
        if field is None:
            hint = did_you_mean(name, fields)
            raise x_content_error(node, node.keys[name], f"[{parser}] unknown field [{name}]{hint}")
        if child.kind not in field.kinds:
            reason = f"[{parser}] {name} doesn't support values of type: {child.kind}"
            raise x_content_error(node, child.start, reason)
        try:
            values[name] = field.convert(child)
        except ParseError as failure:
            at = child.start if failure.offset is None else failure.offset
            reason = f"[{parser}] failed to parse field [{name}]"
            raise x_content_error(node, at, reason, failure.cause) from None
    missing = [name for name, field in fields.items() if field.required and name not in values]
    if missing:
        cause = Cause("illegal_argument_exception", f"Required [{', '.join(missing)}]")
        raise ParseError(cause, node.end - 1)
    return values


class ParseError(ElasticsearchError):
    """A body that Elasticsearch refuses with 400.

    `offset` is the byte at which its parser stood, which the messages of enclosing objects repeat; absent:
    the start of the value at fault.
    """

    def __init__(self, cause: Cause, offset: int | None = None) -> None:
        super().__init__(400, cause)
        self.offset = offset


def x_content_error(node: Node, offset: int, reason: str, cause: Cause | None = None) -> ParseError:
    """An ``XContentParseException``, whose reason begins with the position."""
    reason = f"{position(node.body, offset)} {reason}"
    return ParseError(Cause("x_content_parse_exception", reason, caused_by=cause), offset)


def parsing_error(node: Node, offset: int, reason: str, cause: Cause | None = None) -> ParseError:
    """A ``ParsingException``, which carries line and column as numbers."""
    line, column = line_column(node.body, offset)
    metadata = {"line": line, "col": column}
    return ParseError(Cause("parsing_exception", reason, metadata, caused_by=cause), offset)


def did_you_mean(name: str, known: Mapping[str, object]) -> str:
    """The suggestion of ``SuggestingErrorOnUnknown``: names nearer than half their length, nearest first."""
    scored = sorted(
        (-similarity, candidate)
        for candidate in known
        if (similarity := 1 - edit_distance(name, candidate) / max(len(name), len(candidate), 1)) > 0.5
    )
    if not scored:
        return ""
    names = [candidate for _, candidate in scored]
    if len(names) == 1:
        return f" did you mean [{names[0]}]?"
    return f" did you mean any of [{', '.join(names)}]?"


def edit_distance(left: str, right: str) -> int:
    """Levenshtein distance."""
    previous = list(range(len(right) + 1))
    for row, a in enumerate(left, 1):
        current = [row]
        for column, b in enumerate(right, 1):
            current.append(min(previous[column] + 1, current[-1] + 1, previous[column - 1] + (a != b)))
        previous = current
    return previous[-1]


def to_int(node: Node) -> int:
    """An int as ``AbstractXContentParser.intValue`` coerces it: numeric strings are read, fractions cut."""
    if node.kind == STRING:
        text: str = node.scalar()
        value = _java_number(text)
        if not INT_MIN <= value <= INT_MAX:
            reason = f"Value [{text}] is out of range for an integer"
            raise ParseError(Cause("illegal_argument_exception", reason))
        return int(value)
    number = float(node.raw)  # of any length; a double is exact where an int is possible
    if not INT_MIN <= number <= INT_MAX:
        raise _out_of_range(node)
    return int(number)


def _out_of_range(node: Node) -> ParseError:
    line, column = line_column(node.body, node.end)
    shown = node.body[:500].decode("utf-8", "replace")
    more = f"[truncated {len(node.body) - 500} bytes]" if len(node.body) > 500 else ""
    reason = (
        f"Numeric value ({node.raw.decode()}) out of range of int ({INT_MIN} - {INT_MAX})\n"
        f' at [Source: (byte[])"{shown}"{more}; line: {line}, column: {column}]'
    )
    inner = Cause("input_coercion_exception", reason)
    return ParseError(Cause("x_content_parse_exception", f"[{line}:{column}] {reason}", caused_by=inner))


def to_float(node: Node) -> float:
    """A Java float: the nearest float32."""
    value = _java_number(node.scalar()) if node.kind == STRING else float(node.raw)
    with np.errstate(over="ignore"):  # beyond float32 it is infinite, in Java too
        return float(np.float32(value))


def _java_number(text: str) -> float:
    """``Double.parseDouble``."""
    if not _JAVA_NUMBER.fullmatch(text):
        stripped = text.strip("".join(map(chr, range(0x21))))
        reason = f'For input string: "{text}"' if stripped else "empty String"
        raise ParseError(Cause("number_format_exception", reason))
    return float(text.strip().rstrip("fFdD") if "Infinity" not in text else text.strip())


def to_bool(node: Node) -> bool:
    value = node.scalar()
    if isinstance(value, str):
        if value not in ("true", "false"):
            reason = f"Failed to parse value [{value}] as only [true] or [false] are allowed."
            raise ParseError(Cause("illegal_argument_exception", reason))
        return value == "true"
    return bool(value)


def to_str(node: Node) -> str:
    text: str = node.scalar()
    return text


def to_raw(node: Node) -> bytes:
    return node.raw


def to_raw_list(node: Node) -> tuple[bytes, ...]:
    """One object, or an array of them, as a list."""
    return tuple(parse_array(node.raw)) if node.kind == ARRAY else (node.raw,)


INT: Final = Field(frozenset({NUMBER, STRING}), to_int)
FLOAT: Final = Field(frozenset({NUMBER, STRING}), to_float)
BOOL: Final = Field(frozenset({BOOLEAN, STRING}), to_bool)
STR: Final = Field(frozenset({STRING}), to_str)
RAW_OBJECT: Final = Field(frozenset({OBJECT}), to_raw)
RAW_OBJECTS: Final = Field(frozenset({OBJECT, ARRAY}), to_raw_list)
