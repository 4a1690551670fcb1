"""JSON as Elasticsearch reads a request body: with positions, comments, a BOM, and no duplicate keys.

A document is read only as far as it is used, and in the order of its text, as Elasticsearch reads it: the
first fault is reported, and whatever follows it costs nothing. Values that are not used are skipped at native
speed. Each value keeps its byte offsets, so that any part of a body can be forwarded exactly as it was
written, and any error can say where it is. The dialect is that of ``JsonXContentImpl``: Jackson with comments
and strict duplicate detection.

Duplicate keys are found in the objects that are read here; in all others upstream finds them.
"""

import json
from collections.abc import Iterator
from typing import Any, Final

from rerank_proxy.xcontent import faults
from rerank_proxy.xcontent.faults import MAX_DEPTH
from rerank_proxy.xcontent.positions import line_column
from rerank_proxy.xcontent.text import ARRAY, BOOLEAN, NULL, NUMBER, OBJECT, STRING, Text, name_of

__all__ = ["ARRAY", "BOOLEAN", "NULL", "NUMBER", "OBJECT", "STRING", "Node", "parse", "parse_array", "walk"]

_BOM: Final = b"\xef\xbb\xbf"
_BETWEEN: Final = " within/between Object entries"
_NO_KEYS: Final[dict[str, int]] = {}
_NO_MEMBERS: Final[dict[str, "Node"]] = {}
_NO_ITEMS: Final[list["Node"]] = []


class Node:
    """A JSON value, read as far as it has been used.

    Attributes:
        text: The text of the document.
        kind: Elasticsearch's name for the token, one of the constants above.
        start: The byte offset of the value in its body.
        depth: The depth of the value in the document, from 1.
        keys: The byte offset of each name that has been read, if it is an object.
    """

    __slots__ = ("_closed", "_end", "_items", "_last", "_members", "depth", "keys", "kind", "start", "text")

    def __init__(self, text: Text, kind: str, start: int, depth: int, end: int = -1) -> None:
        self.text = text
        self.kind = kind
        self.start = start
        self.depth = depth
        self._last: Node | None = None
        self._end = end
        self._closed = kind not in (OBJECT, ARRAY)
        # Most values have none, and share an empty collection that is never written to.
        self.keys: dict[str, int] = {} if kind == OBJECT else _NO_KEYS
        self._members: dict[str, Node] = {} if kind == OBJECT else _NO_MEMBERS
        self._items: list[Node] = [] if kind == ARRAY else _NO_ITEMS

    @property
    def body(self) -> bytes:
        return self.text.body

    @property
    def end(self) -> int:
        """The byte offset after the value.

        Raises:
            ElasticsearchError: 400, the value has a fault.
        """
        if self._end < 0:
            self._find_end()
        return self._end

    @property
    def raw(self) -> bytes:
        """The value as it was written."""
        return self.body[self.start : self.end]

    @property
    def members(self) -> dict[str, "Node"]:
        """The values of an object by name, in order."""
        while self._read_next() is not None:
            pass
        return self._members

    @property
    def items(self) -> list["Node"]:
        """The values of an array."""
        while self._read_next() is not None:
            pass
        return self._items

    def entries(self) -> Iterator[tuple[str, "Node"]]:
        """Yield the members of an object, each before the next one is read; other values have none."""
        if self.kind != OBJECT:
            return
        yield from list(self._members.items())
        while self._read_next() is not None:
            yield next(reversed(self._members.items()))

    def each(self) -> Iterator["Node"]:
        """Yield the items of an array, each before the next one is read."""
        at = 0
        while at < len(self._items) or self._read_next() is not None:
            yield self._items[at]
            at += 1

    def get(self, name: str) -> "Node | None":
        """Return a member of an object, reading no further than that; None if there is none."""
        if self.kind != OBJECT:
            return None
        while name not in self._members:
            if self._read_next() is None:
                return None
        return self._members[name]

    def scalar(self) -> Any:
        """Return the Python value of a string, number, boolean or null."""
        return name_of(self.raw) if self.kind == STRING else json.loads(self.raw)

    def line_column(self) -> tuple[int, int]:
        return line_column(self.body, self.start)

    def last_token(self) -> int:
        """Return where Elasticsearch's parser stands when it has read the value: at its end, or at the
        scalar.
        """
        return self.end - 1 if self.kind in (OBJECT, ARRAY) else self.start

    def _find_end(self) -> None:
        if self.kind == STRING:
            self._end = self.text.string_end(self.start, self.start, "string value", " in VALUE_STRING")
            return
        if self._last is None:
            end = self.text.end_of(self.start)
            if end is not None:
                self._end = end
                self._check_document_end()
                return
        self._read_all()

    def _read_all(self) -> None:
        """Read everything inside, up to the first fault."""
        inside = [self]
        while (last := inside[-1]._last) is not None and not last._closed and last._last is not None:
            inside.append(last)  # reading had stopped inside it
        while inside:
            child = inside[-1]._read_next()
            if child is None:
                inside.pop()
            elif child.kind in (OBJECT, ARRAY):
                inside.append(child)

    def _read_next(self) -> "Node | None":
        """Read the next member or item. Return None at the end of this value.

        Raises:
            ParseError: There is a fault in it or before it.
        """
        if self._closed:
            return None
        text, last = self.text, self._last
        if last is None:
            token, offset = self.start, text.blank(self.start + 1)
        else:
            offset = text.blank(last.end)
            token = last.last_token()
        here = text.body[offset : offset + 1]
        if not here:
            raise faults.never_closed(text.body, self._called(), self.start, token)
        if here == (b"}" if self.kind == OBJECT else b"]"):
            self._close(offset + 1)
            return None
        if last is None:
            if here in (b"}", b"]"):
                raise faults.bad_separator(text.body, offset, self._called(), self.start, token)
        else:
            if here != b",":
                raise faults.bad_separator(text.body, offset, self._called(), self.start, token)
            offset = text.blank(offset + 1)
            if offset >= len(text.body):
                raise faults.nothing_after_comma(text.body, self._called(), token)
        text.count()
        child = self._member(offset, token) if self.kind == OBJECT else self._item(offset)
        self._last = child
        return child

    def _close(self, end: int) -> None:
        self._end = end
        self._closed = True
        self._check_document_end()

    def _check_document_end(self) -> None:
        """Refuse text after the document."""
        if self.depth == 1:
            check_document_end(self)

    def _member(self, offset: int, token: int) -> "Node":
        text = self.text
        if text.body[offset : offset + 1] != b'"':
            raise faults.bad_name(text.body, offset, token)
        name_end = text.string_end(offset, token, "name", " in field name")
        try:
            name = name_of(text.body[offset:name_end])
        except UnicodeDecodeError:  # in an answer: requests have been checked
            raise faults.syntax_error(text.body, offset, "Invalid UTF-8 in a field name", token) from None
        if text.strict and name in self._members:
            raise faults.duplicate_name(text.body, name_end, name, token)
        colon = text.blank(name_end)
        if colon >= len(text.body):
            raise faults.end_of_input(text.body, _BETWEEN, offset)
        if text.body[colon : colon + 1] != b":":
            raise faults.bad_colon(text.body, colon, offset)
        value = text.blank(colon + 1)
        if value >= len(text.body):
            raise faults.end_of_input(text.body, _BETWEEN, offset)
        child = node_at(text, value, offset, parent=self)
        self._members[name] = child
        self.keys[name] = offset
        return child

    def _item(self, offset: int) -> "Node":
        child = node_at(self.text, offset, offset, parent=self)
        self._items.append(child)
        return child

    def _called(self) -> str:
        return "Object" if self.kind == OBJECT else "Array"


def node_at(text: Text, offset: int, token: int, parent: Node | None = None) -> Node:
    """Begin to read the value at `offset`.

    Raises:
        ParseError: There is none, or it is nested too deeply.
    """
    kind = text.kind_at(offset)
    depth = 1 if parent is None else parent.depth + 1
    if kind in (OBJECT, ARRAY):
        if text.strict and depth > MAX_DEPTH:
            raise faults.too_deep(token)
        return Node(text, kind, offset, depth)
    if kind == STRING:
        return Node(text, kind, offset, depth)
    end = None if kind is None else text.scalar_end(offset, token)
    if kind is None or end is None:
        if offset >= len(text.body):
            raise faults.end_of_input(text.body, "", token)
        in_array = parent is not None and parent.kind == ARRAY
        raise faults.bad_value(text.body, offset, token, in_array=in_array)
    return Node(text, kind, offset, depth, end)


def check_document_end(root: Node) -> None:
    """Refuse text after the document.

    Raises:
        ElasticsearchError: 400, something other than white space and comments follows.
    """
    text = root.text
    end = text.blank(root.end)
    if end != len(text.body):
        kind = text.kind_at(end)
        if kind is None and text.body[end : end + 1] not in (b"}", b"]"):
            raise faults.bad_value(text.body, end, root.end - 1)
        raise faults.trailing(text.body, end, kind or NUMBER)


def parse(body: bytes, *, strict: bool = True) -> Node:
    """Begin to read a JSON document. Its faults are raised when the values at fault are read.

    Args:
        strict: Read as Elasticsearch reads a request: refuse duplicate keys, nesting beyond `MAX_DEPTH`,
            bytes that are not UTF-8, and too many values. Answers of Elasticsearch may hold all of these.

    Raises:
        ElasticsearchError: 400 with the type, text and position of Elasticsearch's own error.
    """
    if body.startswith(_BOM):
        body = b"   " + body[len(_BOM) :]  # of the same length: Jackson counts the BOM's bytes as columns
    text = Text(body, strict=strict)
    start = text.blank(0)
    root = node_at(text, start, start)
    if root.kind not in (OBJECT, ARRAY):
        check_document_end(root)
    return root


def parse_array(body: bytes) -> list[bytes]:
    """Return the elements of an array as they were written."""
    return [item.raw for item in parse(body, strict=False).each()]


def walk(node: Node) -> Iterator[Node]:
    """Yield `node` and every value below it, parents first."""
    pending = [node]
    while pending:
        current = pending.pop()
        yield current
        pending.extend(current.members.values())
        pending.extend(current.items)
