"""Elasticsearch's ``ObjectParser``: the keys of an object, their types, and the exact messages about
faults."""

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import numpy as np

from rerank_proxy.errors import Cause
from rerank_proxy.xcontent.faults import ParseError
from rerank_proxy.xcontent.java_numbers import print_float
from rerank_proxy.xcontent.positions import line_column, position, source_of
from rerank_proxy.xcontent.source import ARRAY, BOOLEAN, NUMBER, OBJECT, STRING, Node

_JAVA_NUMBER = re.compile(
    r"[\x00-\x20]*[+-]?(?:NaN|Infinity|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?[fFdD]?)[\x00-\x20]*"
)
_LONG_NUMBER: Final = 1000
INT_MIN, INT_MAX = -(2**31), 2**31 - 1

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Field:
    """A key of an object: the kinds of tokens that it takes, and how they are converted.

    Attributes:
        argument: True for an argument of the constructor, false for what is set afterwards.
    """

    kinds: frozenset[str]
    convert: Callable[[Node], Any]
    required: bool = False
    argument: bool = True


Check = Callable[[Mapping[str, Any]], str | None]
"""Returns the objection of a constructor to its arguments; None if it has none."""


def parse_object(
    node: Node,
    parser: str,
    fields: Mapping[str, Field],
    check: Check | None = None,
    *,
    ignore_unknown: bool = False,
) -> dict[str, Any]:
    """Convert the values of an object, and return them by their keys.

    Args:
        parser: The parser's name in Elasticsearch's messages, such as `text_similarity_reranker`.
        fields: The known keys in declaration order, which is the order of `Required [...]`.
        check: Called when all arguments of the constructor have been read, or else at the end
            (``ConstructingObjectParser``).
        ignore_unknown: Skip unknown keys.

    Raises:
        ParseError: For the first fault in the order of the text, as Elasticsearch reads it.
    """
    if node.kind != OBJECT:
        raise x_content_error(node, node.start, f"[{parser}] Expected {OBJECT} but was: {node.kind}")
    values: dict[str, Any] = {}
    awaited = {name for name, field in fields.items() if field.argument}
    for name, child in node.entries():
        if ignore_unknown and name not in fields:
            continue
        field = _known_field(node, parser, fields, name, child)
        try:
            values[name] = field.convert(child)
            awaited.discard(name)
            if check is not None and not awaited:
                _construct(parser, check, values, child)
                check = None
        except ParseError as failure:
            raise _in_field(node, parser, name, child, failure) from None
    _check_required(node, fields, values)
    if check is not None:
        _construct(parser, check, values, node)
    return values


def _in_field(node: Node, parser: str, name: str, child: Node, failure: ParseError) -> ParseError:
    """Return the fault of a field's value, as the object around it words it."""
    if isinstance(failure, NotEndedError):
        return ParseError(failure.cause, failure.offset)
    at = child.start if failure.offset is None else failure.offset
    return x_content_error(node, at, f"[{parser}] failed to parse field [{name}]", failure.cause)


def _check_required(node: Node, fields: Mapping[str, Field], values: Mapping[str, Any]) -> None:
    missing = [name for name, field in fields.items() if field.required and name not in values]
    if missing:
        raise illegal_argument(f"Required [{', '.join(missing)}]", node.last_token())


def _known_field(node: Node, parser: str, fields: Mapping[str, Field], name: str, child: Node) -> Field:
    """Return the field of a key, having checked the kind of its value."""
    field = fields.get(name)
    if field is None:
        # The message names the place of the key, although the parser already stands at the value.
        reason = f"[{parser}] unknown field [{name}]{did_you_mean(name, fields)}"
        raise ParseError(x_content_error(node, node.keys[name], reason).cause, child.start)
    if child.kind not in field.kinds:
        reason = f"[{parser}] {name} doesn't support values of type: {child.kind}"
        raise x_content_error(node, child.start, reason)
    return field


def _construct(parser: str, check: Check, values: Mapping[str, Any], read: Node) -> None:
    """Call `check`; `read` is the node that was read last."""
    refusal = check(values)
    if refusal is not None:
        cause = Cause("illegal_argument_exception", refusal)
        reason = f"Failed to build [{parser}] after last required field arrived"
        raise ParseError(Cause("x_content_parse_exception", reason, caused_by=cause), read.last_token())


def parse_named(node: Node, category: str, parse: Callable[[Node, str], T]) -> T:
    """Convert an object whose only key names the type of its value (``declareNamedObject``).

    Args:
        category: The key of the object itself.
        parse: Converts the object, given its first key.
    """
    entries = node.entries()
    name, child = next(entries, (None, None))
    if name is None or child is None:
        failure = unknown_name(node, node.last_token(), category)
        raise x_content_error(
            node, node.last_token(), f"[{category}] failed to parse field [{category}]", failure.cause
        )
    try:
        value = parse(node, name)
    except ParseError as failure:
        at = child.start if failure.offset is None else failure.offset
        raise x_content_error(
            node, at, f"[{category}] failed to parse field [{name}]", failure.cause
        ) from None
    for other, _ in entries:
        at = node.keys[other]
        error = x_content_error(node, at, f"parser for [{category}] did not end on END_OBJECT")
        raise NotEndedError(error.cause, at)
    return value


class NotEndedError(ParseError):
    """A value goes on after its parser has finished: a fault that enclosing objects do not wrap."""


def x_content_error(node: Node, offset: int, reason: str, cause: Cause | None = None) -> ParseError:
    """Return an ``XContentParseException``, whose reason begins with the position."""
    reason = f"{position(node.body, offset)} {reason}"
    return ParseError(Cause("x_content_parse_exception", reason, caused_by=cause), offset)


def parsing_error(node: Node, offset: int, reason: str, cause: Cause | None = None) -> ParseError:
    """Return a ``ParsingException``, which holds line and column as numbers."""
    line, column = line_column(node.body, offset)
    metadata = {"line": line, "col": column}
    return ParseError(Cause("parsing_exception", reason, metadata, caused_by=cause), offset)


def illegal_argument(reason: str, offset: int | None = None) -> ParseError:
    return ParseError(Cause("illegal_argument_exception", reason), offset)


def unknown_name(node: Node, offset: int, name: str) -> ParseError:
    """Return a ``NamedObjectNotFoundException``."""
    reason = f"{position(node.body, offset)} unknown field [{name}]"
    return ParseError(Cause("named_object_not_found_exception", reason), offset)


def did_you_mean(name: str, known: Mapping[str, object]) -> str:
    """Suggest names as ``SuggestingErrorOnUnknown`` does: those nearer than half their length,
    nearest first.
    """
    scored = sorted(
        (-similarity, candidate)
        for candidate in known
        if _may_be_near(name, candidate)
        and (similarity := 1 - edit_distance(name, candidate) / max(len(name), len(candidate), 1)) > 0.5
    )
    if not scored:
        return ""
    names = [candidate for _, candidate in scored]
    if len(names) == 1:
        return f" did you mean [{names[0]}]?"
    return f" did you mean any of [{', '.join(names)}]?"


def _may_be_near(name: str, candidate: str) -> bool:
    """Tell quickly from the lengths that two names are too far apart: computing the distance is expensive."""
    return 2 * min(len(name), len(candidate)) > max(len(name), len(candidate))


def edit_distance(left: str, right: str) -> int:
    """Return the Levenshtein distance of two names."""
    previous = list(range(len(right) + 1))
    for row, a in enumerate(left, 1):
        current = [row]
        for column, b in enumerate(right, 1):
            current.append(min(previous[column] + 1, current[-1] + 1, previous[column - 1] + (a != b)))
        previous = current
    return previous[-1]


def to_int(node: Node) -> int:
    """Convert to an int as ``AbstractXContentParser.intValue`` does: numeric strings count, fractions are
    cut.
    """
    if node.kind == STRING:
        text: str = node.scalar()
        value = java_number(text)
        if value < INT_MIN or value > INT_MAX:
            raise illegal_argument(f"Value [{text}] is out of range for an integer")
        return 0 if math.isnan(value) else int(value)
    number = float(node.raw)  # of any length; a double is exact where an int is possible
    if not INT_MIN <= number <= INT_MAX:
        raise _out_of_range(node)
    return int(number)


def _out_of_range(node: Node) -> ParseError:
    reason = f"Numeric value ({_shown_number(node)}) out of range of int ({INT_MIN} - {INT_MAX})"
    return _jackson_error(node, node.end, "input_coercion_exception", reason)


def _shown_number(node: Node) -> str:
    """Show a number as ``ParserMinimalBase#_longIntegerDesc`` and ``_longNumberDesc`` do."""
    spelled: str = node.raw.decode()
    if len(spelled) < _LONG_NUMBER:
        return spelled
    digits = len(spelled) - spelled.startswith("-")
    return (
        f"[Integer with {digits} digits]"
        if spelled.lstrip("-").isdigit()
        else f"[number with {digits} characters]"
    )


def numeric(node: Node) -> Node:
    """Check that a token is a number or a string, for a parser that declares no types. Return it."""
    if node.kind in (NUMBER, STRING):
        return node
    kind = f"VALUE_{node.raw.decode().upper()}" if node.kind == BOOLEAN else node.kind
    reason = f"Current token ({kind}) not numeric, can not use numeric value accessors"
    after = node.start + 1 if node.kind in (OBJECT, ARRAY) else node.end
    raise _jackson_error(node, after, "json_parse_exception", reason)


def _jackson_error(node: Node, offset: int, type_: str, reason: str) -> ParseError:
    """Return an error of the tokenizer, which quotes its source."""
    line, column = line_column(node.body, offset)
    reason = f"{reason}\n at [Source: (byte[]){source_of(node.body)}; line: {line}, column: {column}]"
    inner = Cause(type_, reason)
    return ParseError(Cause("x_content_parse_exception", f"[{line}:{column}] {reason}", caused_by=inner))


def to_float(node: Node) -> float:
    """Convert to a Java float, the nearest float32."""
    value = java_number(node.scalar()) if node.kind == STRING else float(node.raw)
    with np.errstate(over="ignore"):  # beyond float32 it is infinite, in Java too
        return float(np.float32(value))


def java_float(value: float) -> str:
    """Print a float as ``Float.toString`` does, including those that are not finite."""
    if math.isfinite(value):
        return print_float(value).decode()
    return "NaN" if math.isnan(value) else "Infinity" if value > 0 else "-Infinity"


def java_number(text: str) -> float:
    """Read a number as ``Double.parseDouble`` does."""
    if not _JAVA_NUMBER.fullmatch(text):
        stripped = text.strip("".join(map(chr, range(0x21))))
        reason = f'For input string: "{text}"' if stripped else "empty String"
        raise ParseError(Cause("number_format_exception", reason))
    return float(text.strip().rstrip("fFdD") if "Infinity" not in text else text.strip())


def to_bool(node: Node) -> bool:
    value = node.scalar()
    if isinstance(value, str):
        if value not in ("true", "false", ""):
            raise illegal_argument(f"Failed to parse value [{value}] as only [true] or [false] are allowed.")
        return value == "true"
    return bool(value)


def to_str(node: Node) -> str:
    text: str = node.scalar()
    return text


def to_raw(node: Node) -> bytes:
    return node.raw


def to_list(convert: Callable[[Node], T]) -> Callable[[Node], tuple[T, ...]]:
    """Return a converter for one value or an array of values, each of which `convert` converts
    (``parseArray``).
    """

    def read(node: Node) -> tuple[T, ...]:
        return tuple(_item(item, convert) for item in one_or_each(node))

    return read


def _item(item: Node, convert: Callable[[Node], T]) -> T:
    if item.kind == ARRAY:
        cause = Cause("illegal_state_exception", f"expected value but got [{ARRAY}]")
        raise ParseError(cause, item.start)
    try:
        return convert(item)
    except ParseError as failure:
        at = item.start if failure.offset is None else failure.offset
        raise ParseError(failure.cause, at) from None


def one_or_each(node: Node) -> Iterable[Node]:
    """Return the items of an array as they are read, or the single value that stands in its place."""
    return node.each() if node.kind == ARRAY else (node,)


def _to_text(node: Node) -> str:
    """Read text as ``XContentParser.text`` does: numbers and booleans as they are spelled."""
    if node.kind == STRING:
        return to_str(node)
    if node.kind in (NUMBER, BOOLEAN):
        return node.raw.decode()
    line, column = node.line_column()
    raise illegal_argument(f"Expected text at {line}:{column} but found {node.kind}")


INT: Final = Field(frozenset({NUMBER, STRING}), to_int)
FLOAT: Final = Field(frozenset({NUMBER, STRING}), to_float)
BOOL: Final = Field(frozenset({BOOLEAN, STRING}), to_bool)
STR: Final = Field(frozenset({STRING}), to_str)
STRS: Final = Field(frozenset({STRING, ARRAY}), to_list(_to_text))
RAW_OBJECT: Final = Field(frozenset({OBJECT}), to_raw)


def objects(convert: Callable[[Node], Any]) -> Field:
    """Return the field of an object or an array of objects (``declareObjectArray``)."""
    return Field(frozenset({OBJECT, ARRAY}), to_list(convert))
