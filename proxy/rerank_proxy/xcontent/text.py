"""The text of a JSON document: find the ends of its tokens and values, at native speed.

Skipping a value costs one call into msgspec, which goes through it without making objects of it. Everything
else is matched by patterns that never backtrack, and that look at a bounded piece of a long token.
"""

import codecs
import json
import re
from typing import Final

import msgspec
import numpy as np

from rerank_proxy.xcontent import faults
from rerank_proxy.xcontent.faults import MAX_DIGITS

OBJECT: Final = "START_OBJECT"
ARRAY: Final = "START_ARRAY"
STRING: Final = "VALUE_STRING"
NUMBER: Final = "VALUE_NUMBER"
BOOLEAN: Final = "VALUE_BOOLEAN"
NULL: Final = "VALUE_NULL"

MAX_VALUES: Final = 1_000_000
"""Values in a request body, including those that are only forwarded: they take upstream some seconds, and
skipping more of them would hold up other requests."""
MAX_READ_VALUES: Final = 100_000
"""Values in a request body that are read one by one: half a second of processor time."""

_KINDS: Final = {b"{": OBJECT, b"[": ARRAY, b'"': STRING, b"t": BOOLEAN, b"f": BOOLEAN, b"n": NULL}
_CLOSING: Final = {b"{": b"}", b"[": b"]", b'"': b'"'}
_PIECE: Final = 1024 * 1024
_SHORT: Final = 4096

# Every quantifier is possessive: a body that does not match must fail in linear time.
_STRING: Final = rb'"[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+"'
_NUMBER: Final = rb"-?(?:0(?![0-9])|[1-9][0-9]*+)(?:\.[0-9]++|(?!\.))(?:[eE][+-]?[0-9]++|(?![eE]))"
_match_string: Final = re.compile(_STRING).match
_match_number: Final = re.compile(_NUMBER).match
_match_literal: Final = re.compile(rb"(?:true|false|null)(?![A-Za-z0-9_$])").match
_skip_blank: Final = re.compile(rb"(?:[ \t\r\n]++|/\*[^*]*+(?:\*(?!/)[^*]*+)*+\*/|//[^\r\n]*+[\r\n])*+").match
_skip_to_comment: Final = re.compile(
    rb'[^"/]*+(?:"(?:[^"\\]++|\\.)*+"[^"/]*+|/(?![/*])[^"/]*+)*+', re.DOTALL
).match
_next_line: Final = re.compile(rb"[\r\n]")
_bracket: Final = re.compile(rb'"(?:[^"\\]++|\\.)*+"|([\[{])|([\]}])', re.DOTALL).finditer

_skip_value: Final = msgspec.json.Decoder(msgspec.Raw).decode
_fault_at: Final = re.compile(r"\(byte ([0-9]+)\)")
_TRAILING: Final = "trailing characters"
"""The words of msgspec for text after a value."""


class Text:
    """The bytes of a document.

    Args:
        strict: Read as Elasticsearch reads a request: refuse bytes that are not UTF-8, and numbers of more
            than a thousand digits. Answers of Elasticsearch may hold both.

    Raises:
        ElasticsearchError: 400, a request has more than `MAX_VALUES` values.
    """

    __slots__ = ("_comments_blanked", "_not_utf8", "_unread", "body", "strict")

    def __init__(self, body: bytes, *, strict: bool) -> None:
        self.body = body
        self.strict = strict
        self._unread = MAX_READ_VALUES
        self._not_utf8 = _first_that_is_not_utf8(body) if strict else None
        self._comments_blanked: bytes | None = None
        if strict and has_more_values(body, MAX_VALUES):
            raise faults.too_many_values(MAX_VALUES, "values in a body")

    def count(self) -> None:
        """Count one more value that is read.

        Raises:
            ElasticsearchError: 400, more than `MAX_READ_VALUES` of a request are read.
        """
        self._unread -= 1
        if self._unread < 0 and self.strict:
            raise faults.too_many_values(MAX_READ_VALUES, "values one by one")

    def blank(self, offset: int) -> int:
        """Return the end of the white space and comments that begin at `offset`."""
        body = self.body
        while True:
            limit = offset + _PIECE
            match = _skip_blank(body, offset, limit)
            offset = match.end() if match else offset
            if offset == limit:
                continue
            if body.startswith(b"/*", offset) and (close := body.find(b"*/", offset + 2)) >= 0:
                offset = close + 2  # a comment that was cut off by the end of the piece
            elif body.startswith(b"//", offset):  # another one, or one that ends with the body
                end = _next_line.search(body, offset)
                offset = end.start() if end else len(body)
            else:
                return offset

    def kind_at(self, offset: int) -> str | None:
        """Return the kind of the value that begins at `offset`, judged by its first byte."""
        first = self.body[offset : offset + 1]
        return _KINDS.get(first) or (NUMBER if first == b"-" or first.isdigit() else None)

    def scalar_end(self, offset: int, token: int) -> int | None:
        """Return the end of a number, a boolean or null; None if there is none of them.

        Raises:
            ParseError: It has too many digits.
        """
        body = self.body
        literal = _match_literal(body, offset)
        if literal is not None:
            return literal.end()
        number = _match_number(body, offset, offset + _SHORT)
        if number is None or number.end() == offset + _SHORT:  # perhaps cut by the limit
            number = _match_number(body, offset)
        if number is None:
            return None
        if self.strict and number.end() - offset > MAX_DIGITS:
            digits = number.end() - offset - len(number[0].translate(None, b"0123456789"))
            if digits > MAX_DIGITS:
                raise faults.too_many_digits(digits, token)
        return number.end()

    def string_end(self, offset: int, token: int | None, what: str, unended: str) -> int:
        """Return the end of a string.

        Args:
            what: What messages call the string.
            unended: What messages say if it has no end.

        Raises:
            ParseError: It is not a valid string.
        """
        short = _match_string(self.body, offset, offset + _SHORT)
        end = short.end() if short else self._skipped(self.body, offset)
        if end is None:
            whole = _match_string(self.body, offset)  # msgspec refuses unpaired surrogates at the very end
            if whole is None:
                raise faults.bad_string(self.body, offset, token, what, unended)
            end = whole.end()
        self.check_utf8(end, token)
        return end

    def end_of(self, offset: int) -> int | None:
        """Return the end of the object or array at `offset`.

        None means that it has to be read value by value: it has a fault, or is nested deeper than msgspec
            reads.
        """
        end = self._skipped(self.body, offset)
        if end is None and self.strict and (b"/*" in self.body or b"//" in self.body):
            end = self._skipped(self._without_comments(), offset)
        if end is None and not self.strict:
            end = _matching_bracket(self.body, offset)
        if end is not None:
            self.check_utf8(end, offset)
        return end

    def check_utf8(self, end: int, token: int | None) -> None:
        """Check the text up to `end`, which has been read.

        Raises:
            ParseError: It is not UTF-8.
        """
        if self._not_utf8 is not None and self._not_utf8 < end:
            raise faults.bad_utf8(self.body, self._not_utf8, token)

    def _skipped(self, body: bytes, offset: int) -> int | None:
        closing = _CLOSING[body[offset : offset + 1]]
        try:
            _skip_value(memoryview(body)[offset:])
        except msgspec.DecodeError as problem:
            message = str(problem)
            at = _fault_at.search(message)
            if at is None or _TRAILING not in message:
                return None
            # The position is that of the unexpected character, before which there is only white space.
            return body.rfind(closing, offset, offset + int(at[1]) - 1) + 1
        except RecursionError:
            return None
        return body.rfind(closing, offset) + 1

    def _without_comments(self) -> bytes:
        """Return the body with white space of the same length in place of comments."""
        if self._comments_blanked is None:
            self._comments_blanked = _blank_comments(self.body)
        return self._comments_blanked


def has_more_values(body: bytes, limit: int) -> bool:
    """Tell whether a JSON text holds more than `limit` values. Words in comments may count as values too."""
    if len(body) <= 2 * limit or _count(body, b"[{,") <= limit:
        return False
    return _more_outside_strings(body, limit)


def name_of(quoted: bytes) -> str:
    """Return the value of a string."""
    if b"\\" not in quoted:
        return quoted[1:-1].decode("utf-8", "surrogatepass")
    value: str = json.loads(quoted)
    return value


def _first_that_is_not_utf8(body: bytes) -> int | None:
    """Return the offset of the first byte that is not UTF-8, in which Jackson accepts encoded surrogates."""
    if body.isascii():
        return None
    decoder = codecs.getincrementaldecoder("utf-8")("surrogatepass")
    for start in range(0, len(body), _PIECE):
        waiting = len(decoder.getstate()[0])
        try:
            decoder.decode(body[start : start + _PIECE], final=start + _PIECE >= len(body))
        except UnicodeDecodeError as failure:
            begins = start - waiting + failure.start
            if "continuation" in failure.reason:
                return start - waiting + failure.end
            return begins
    return None


def _count(body: bytes, characters: bytes) -> int:
    counted = 0
    whole = np.frombuffer(body, np.uint8)
    for start in range(0, len(body), _PIECE):
        piece = whole[start : start + _PIECE]
        counted += sum(int(np.count_nonzero(piece == character)) for character in characters)
    return counted


def _more_outside_strings(body: bytes, limit: int) -> bool:
    counted, inside, start = 0, 0, 0
    while start < len(body):
        end = _end_of_piece(body, start)
        plain = body[start:end].replace(b"\\\\", b"__").replace(b'\\"', b"__")
        codes = np.frombuffer(plain, np.uint8)
        quotes = codes == ord('"')
        in_string = (np.cumsum(quotes, dtype=np.int64) + inside) % 2 == 1
        starts = (codes == ord(",")) | (codes == ord("[")) | (codes == ord("{"))
        counted += int(np.count_nonzero(starts & ~in_string))
        if counted > limit:
            return True
        inside = (inside + int(np.count_nonzero(quotes))) % 2
        start = end
    return False


def _end_of_piece(body: bytes, start: int) -> int:
    """Return where a piece may end, which is not between a backslash and the character that it escapes."""
    end = min(start + _PIECE, len(body))
    while end < len(body) and body[end - 1] == ord("\\"):
        end += 1
    return end


def _blank_comments(body: bytes) -> bytes:
    parts: list[bytes] = []
    done = offset = 0
    while True:
        match = _skip_to_comment(body, offset)
        offset = match.end() if match else offset
        if not body.startswith((b"/*", b"//"), offset):  # the end, or a string that never ends
            return b"".join((*parts, body[done:]))
        if body.startswith(b"/*", offset):
            close = body.find(b"*/", offset + 2)
            end = len(body) if close < 0 else close + 2
        else:
            line = _next_line.search(body, offset)
            end = line.start() if line else len(body)
        parts += (body[done:offset], b" " * (end - offset))
        done = offset = end
        if len(parts) > 2 * MAX_READ_VALUES:
            raise faults.too_many_values(MAX_READ_VALUES, "comments in a body")


def _matching_bracket(body: bytes, offset: int) -> int | None:
    """Return the end of an object or array in text that is known to be JSON."""
    depth = 0
    for match in _bracket(body, offset):
        if match[1] is not None:
            depth += 1
        elif match[2] is not None:
            depth -= 1
            if depth == 0:
                return match.end()
    return None
