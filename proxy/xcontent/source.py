"""JSON as Elasticsearch reads a request body: with positions, comments, a BOM, and no duplicate keys.

The tree keeps byte offsets, so that any part of a body can be passed on exactly as it was written, and any
error can say where it is. The dialect is that of ``JsonXContentImpl``: Jackson with comments allowed and
strict duplicate detection.
"""

import json
import re
from collections.abc import Iterator
from typing import Any, Final, NoReturn

from proxy.errors import Cause, ElasticsearchError

OBJECT: Final = "START_OBJECT"
ARRAY: Final = "START_ARRAY"
STRING: Final = "VALUE_STRING"
NUMBER: Final = "VALUE_NUMBER"
BOOLEAN: Final = "VALUE_BOOLEAN"
NULL: Final = "VALUE_NULL"

MAX_DEPTH: Final = 1000
"""Jackson's ``StreamReadConstraints`` refuse deeper nesting."""

# Every repeat is possessive: a body that does not match must fail in linear time.
_STRING = rb'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+"'
_NUMBER = rb"-?(?:0|[1-9][0-9]*+)(?:\.[0-9]++)?+(?:[eE][+-]?[0-9]++)?+"
_LITERAL = rb"(?:true|false|null)(?![A-Za-z0-9_])"
_COMMENT = rb"/\*[^*]*+(?:\*(?!/)[^*]*+)*+\*/|//[^\r\n]*+"
_BLANK = rb"(?:[ \t\r\n]++|" + _COMMENT + rb")*+"

_match_string = re.compile(_STRING).match
_skip_blank = re.compile(_BLANK).match
_match_key = re.compile(rb"(" + _STRING + rb")" + _BLANK + rb":" + _BLANK).match
_match_scalar = re.compile(
    rb"(?P<s>" + _STRING + rb")|(?P<n>" + _NUMBER + rb")(?![A-Za-z0-9_.])|(?P<l>" + _LITERAL + rb")"
).match
# Vectors and id lists are long and never looked into: one match instead of one node per value.
_FLAT_ITEM = rb"[ \t\r\n]*+(?:" + _NUMBER + rb"|" + _STRING + rb")[ \t\r\n]*+"
_match_flat_array = re.compile(rb"\[" + _FLAT_ITEM + rb"(?:," + _FLAT_ITEM + rb"){8,}+\]").match

_SHOWN_BYTES: Final = 500
_control: Final = re.compile(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f]")

_LITERAL_KINDS = {b"t": BOOLEAN, b"f": BOOLEAN, b"n": NULL}


class Node:
    """One JSON value.

    Attributes:
        kind: Elasticsearch's token name, one of the constants above.
        start, end: Byte offsets of the value in its body.
        members: Of an object: its values by name, in order.
        keys: Of an object: the byte offset of each name.
        items: Of an array: its values. Empty for a long array of scalars, which is kept as bytes only.
    """

    __slots__ = ("body", "end", "items", "keys", "kind", "members", "start")

    def __init__(self, body: bytes, kind: str, start: int, end: int = -1) -> None:
        self.body = body
        self.kind = kind
        self.start = start
        self.end = end
        self.members: dict[str, Node] = {}
        self.keys: dict[str, int] = {}
        self.items: list[Node] = []

    @property
    def raw(self) -> bytes:
        """The value as it was written."""
        return self.body[self.start : self.end]

    def scalar(self) -> Any:
        """The Python value of a string, number, boolean or null."""
        return json.loads(self.raw)

    def line_column(self) -> tuple[int, int]:
        return line_column(self.body, self.start)


def line_column(body: bytes, offset: int) -> tuple[int, int]:
    """1-based line and column, in bytes, as Jackson counts them: lines end in LF, CR or both."""
    line_feeds, returns = body.count(b"\n", 0, offset), body.count(b"\r", 0, offset)
    lines = line_feeds + returns - (body.count(b"\r\n", 0, offset) if returns else 0)
    start = max(body.rfind(b"\n", 0, offset), body.rfind(b"\r", 0, offset)) + 1
    return lines + 1, offset - start + 1


def source_of(body: bytes) -> str:
    """How Jackson's ``ContentReference`` describes a body: at most its first 500 bytes, in quotes."""
    shown = body[:_SHOWN_BYTES].decode("utf-8", "replace")
    shown = _control.sub(lambda match: f"\\u{ord(match[0]):04X}", shown)
    hidden = len(body) - _SHOWN_BYTES
    return f'"{shown}"' + (f"[truncated {hidden} bytes]" if hidden > 0 else "")


def position(body: bytes, offset: int) -> str:
    """The `[line:column]` that begins Elasticsearch's parse errors."""
    line, column = line_column(body, offset)
    return f"[{line}:{column}]"


def parse(body: bytes, *, strict: bool = True) -> Node:
    """Parse one JSON document.

    Args:
        strict: As Elasticsearch reads a request: duplicate keys, nesting beyond `MAX_DEPTH` and bytes
            that are not UTF-8 are refused. What Elasticsearch itself has written may hold all of them.

    Raises:
        ElasticsearchError: 400 with the type, text and position of Elasticsearch's own error.
    """
    if body.startswith(b"\xef\xbb\xbf"):
        body = b"   " + body[3:]  # Blanks of the same length: Jackson counts the BOM's bytes as columns.
    return _Parser(body, strict).document()


def parse_array(body: bytes) -> list[bytes]:
    """The elements of an array as they were written, long arrays of scalars included."""
    node = _Parser(body, strict=False, keep_flat_arrays=False).document()
    return [item.raw for item in node.items]


class _Parser:
    def __init__(self, body: bytes, strict: bool, keep_flat_arrays: bool = True) -> None:
        self.body = body
        self.keep_flat_arrays = keep_flat_arrays
        self.strict = strict
        self.open: list[Node] = []

    def document(self) -> Node:
        if self.strict:
            self._check_encoding()
        root, offset = self._value(self._blank(0))
        while self.open:
            offset = self._continue(self._blank(offset))
        end = self._blank(offset)
        if end != len(self.body):
            self._fail_trailing(end)
        return root

    def _check_encoding(self) -> None:
        try:
            self.body.decode("utf-8", "surrogatepass")  # Jackson takes encoded surrogates as well
        except UnicodeDecodeError as failure:
            byte = self.body[failure.start]
            raise self._error(failure.start + 1, f"Invalid UTF-8 start byte 0x{byte:x}") from None

    def _blank(self, offset: int) -> int:
        match = _skip_blank(self.body, offset)
        return match.end() if match else offset

    def _value(self, offset: int) -> tuple[Node, int]:
        """Begin the value at `offset`; an object or array is pushed on the stack of open ones."""
        match = _match_scalar(self.body, offset)
        if match is not None:
            first = self.body[offset : offset + 1]
            kind = STRING if first == b'"' else _LITERAL_KINDS.get(first, NUMBER)
            return Node(self.body, kind, offset, match.end()), match.end()
        opening = self.body[offset : offset + 1]
        if opening == b"[" and self.keep_flat_arrays:
            flat = _match_flat_array(self.body, offset)
            if flat is not None:
                return Node(self.body, ARRAY, offset, flat.end()), flat.end()
        elif opening not in (b"{", b"["):
            self._fail_value(offset)
        if self.strict and len(self.open) >= MAX_DEPTH:
            raise self._error(offset, f"Document nesting depth ({MAX_DEPTH + 1}) exceeds the maximum allowed")
        node = Node(self.body, OBJECT if opening == b"{" else ARRAY, offset)
        self.open.append(node)
        return node, offset + 1

    def _continue(self, offset: int) -> int:
        """Read one member or item of the innermost open value, or its end."""
        node = self.open[-1]
        closing = b"}" if node.kind == OBJECT else b"]"
        filled = bool(node.members if node.kind == OBJECT else node.items)
        here = self.body[offset : offset + 1]
        if here == closing:
            node.end = offset + 1
            self.open.pop()
            return offset + 1
        if filled:
            if here != b",":
                self._fail_separator(offset, node)
            offset = self._blank(offset + 1)
        if node.kind == OBJECT:
            return self._member(node, offset)
        child, offset = self._value(offset)
        node.items.append(child)
        return offset

    def _member(self, node: Node, offset: int) -> int:
        match = _match_key(self.body, offset)
        if match is None:
            self._fail_key(offset)
        try:
            name: str = json.loads(match[1])
        except UnicodeDecodeError:
            raise self._error(offset, "Invalid UTF-8 in a field name") from None
        if self.strict and name in node.members:
            raise self._error(match.end(1), f"Duplicate field '{name}'")
        child, end = self._value(match.end())
        node.members[name] = child
        node.keys[name] = offset
        return end

    def _fail_trailing(self, offset: int) -> NoReturn:
        if self.body[offset : offset + 1] in (b"}", b"]"):
            close = self.body[offset : offset + 1].decode()
            raise self._error(offset, f"Unexpected close marker '{close}'")
        line, column = line_column(self.body, offset)
        kind = _token_at(self.body, offset)
        cause = Cause(
            "parsing_exception",
            f"Unexpected token [{kind}] found after the main object.",
            {"line": line, "col": column},
        )
        raise ElasticsearchError(400, cause)

    def _fail_value(self, offset: int) -> NoReturn:
        self._fail_at_end(offset)
        raise self._error(offset, f"{self._character(offset)}: expected a value")

    def _fail_key(self, offset: int) -> NoReturn:
        expected = "double-quote to start field name"
        if (name := _match_string(self.body, offset)) is not None:
            offset, expected = self._blank(name.end()), "a colon to separate field name and value"
        self._fail_at_end(offset)
        raise self._error(offset, f"{self._character(offset)}: was expecting {expected}")

    def _fail_separator(self, offset: int, node: Node) -> NoReturn:
        self._fail_at_end(offset)
        kind = "Object" if node.kind == OBJECT else "Array"
        raise self._error(
            offset, f"{self._character(offset)}: was expecting comma to separate {kind} entries"
        )

    def _character(self, offset: int) -> str:
        code = self.body[offset]
        shown = chr(code) if 0x20 < code < 0x7F else f"\\u{code:04x}"
        return f"Unexpected character ('{shown}' (code {code}))"

    def _fail_at_end(self, offset: int) -> None:
        if offset < len(self.body) and not self._unterminated(offset):
            return
        where = position(self.body, len(self.body))
        start = self.open[-1] if self.open else None
        opened = ""
        if start is not None:
            kind = "Object" if start.kind == OBJECT else "Array"
            opened = f": expected close marker for {kind} (start marker at {self._source(start.start)})"
        cause = Cause(
            "json_e_o_f_exception",
            f"Unexpected end-of-input{opened}\n at {self._source(len(self.body))}",
        )
        raise ElasticsearchError(
            400, Cause("x_content_e_o_f_exception", f"{where} Unexpected end of file", caused_by=cause)
        )

    def _unterminated(self, offset: int) -> bool:
        """Whether a string begins here and never ends."""
        rest = self.body[offset:]
        return rest[:1] == b'"' and re.fullmatch(_STRING[:-1] + rb"\\?", rest) is not None

    def _error(self, offset: int, reason: str) -> ElasticsearchError:
        detailed = f"{reason}\n at {self._source(offset)}"
        return ElasticsearchError(
            400,
            Cause(
                "x_content_parse_exception",
                f"{position(self.body, offset)} {detailed}",
                caused_by=Cause("json_parse_exception", detailed),
            ),
        )

    def _source(self, offset: int) -> str:
        """Jackson's description of a place."""
        line, column = line_column(self.body, offset)
        return f"[Source: (byte[]){source_of(self.body)}; line: {line}, column: {column}]"


def _token_at(body: bytes, offset: int) -> str:
    names = {b"{": OBJECT, b"[": ARRAY, b'"': STRING, **_LITERAL_KINDS}
    return names.get(body[offset : offset + 1], NUMBER)


def walk(node: Node) -> Iterator[Node]:
    """`node` and every value below it, parents first. Long arrays of scalars are not entered."""
    pending = [node]
    while pending:
        current = pending.pop()
        yield current
        pending.extend(current.members.values())
        pending.extend(current.items)
