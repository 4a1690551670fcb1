"""The errors of Elasticsearch about request bodies that cannot be parsed, in Jackson's words.

A message names the byte at which parsing stopped. A fault also carries the offset of the last token before it
(`token`), which the enclosing objects repeat in their messages.
"""

import re
import unicodedata
from typing import Final

from rerank_proxy.errors import Cause, ElasticsearchError, illegal_argument
from rerank_proxy.xcontent.positions import line_column, position, source_of

MAX_DEPTH: Final = 1000
MAX_DIGITS: Final = 1000
"""Limits of Jackson's ``StreamReadConstraints`` for nesting and for the digits of a number."""

_VALUES: Final = "(JSON String, Number, Array, Object or token 'null', 'true' or 'false')"
_BRACKETS: Final = {"Object": "}", "Array": "]"}
_SHOWN_TOKEN: Final = 256
_WORDS: Final = {b"N": "INF", b"n": "Infinity"}
"""The words that `I` and another letter may begin after a sign."""
_OF_IDENTIFIERS: Final = frozenset({"Cf", "Ll", "Lm", "Lo", "Lt", "Lu", "Mc", "Mn", "Nd", "Nl", "Pc", "Sc"})
_IGNORED_IN_IDENTIFIERS: Final = frozenset(map(chr, (*range(9), *range(0x0E, 0x1C), *range(0x7F, 0xA0))))
_match_string_part: Final = re.compile(
    rb'[^"\\\x00-\x1f]*+(?:\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})[^"\\\x00-\x1f]*+)*+'
).match
_match_number_part: Final = re.compile(
    rb"-?(?:0|[1-9][0-9]*+)?+(?:(?<=[0-9])\.(?:[0-9]++)?)?+(?:(?<=[0-9])[eE][+-]?)?+"
).match


class ParseError(ElasticsearchError):
    """A body that Elasticsearch refuses with 400.

    `offset` is the byte at which the parser stood, which the messages of enclosing objects repeat; without it
    they name the start of the value at fault.
    """

    def __init__(self, cause: Cause, offset: int | None = None) -> None:
        super().__init__(400, cause)
        self.offset = offset


def syntax_error(body: bytes, offset: int, reason: str, token: int | None = None) -> ParseError:
    """Return a ``JsonParseException`` about the byte at `offset`."""
    detailed = f"{reason}\n at {_source(body, offset)}"
    cause = Cause("json_parse_exception", detailed)
    reason = f"{position(body, offset)} {detailed}"
    return ParseError(Cause("x_content_parse_exception", reason, caused_by=cause), token)


def end_of_input(body: bytes, what: str, token: int | None = None) -> ParseError:
    """Return a ``JsonEOFException``: the body ends too early.

    Args:
        what: Follows `Unexpected end-of-input`.
    """
    reason = f"Unexpected end-of-input{what}\n at {_source(body, len(body))}"
    cause = Cause("json_e_o_f_exception", reason)
    reason = f"{position(body, len(body))} Unexpected end of file"
    return ParseError(Cause("x_content_e_o_f_exception", reason, caused_by=cause), token)


def never_closed(body: bytes, kind: str, start: int, token: int) -> ParseError:
    """Return the fault of an `Object` or `Array` that begins at `start` and never ends."""
    marker = f"expected close marker for {kind} (start marker at {_source(body, start)})"
    return end_of_input(body, f": {marker}", token)


def nothing_after_comma(body: bytes, kind: str, token: int) -> ParseError:
    """Return the fault of an `Object` or `Array` that ends with a comma and the body."""
    reason = f"Unexpected end-of-input within/between {kind} entries"
    return syntax_error(body, len(body), reason, token)


def bad_value(body: bytes, offset: int, token: int, *, in_array: bool = False) -> ParseError:
    """Return the fault of something that stands where a value is due and does not begin one."""
    here = body[offset : offset + 1]
    if here in b",}" or (here == b"]" and in_array):
        return _unexpected(body, offset, ": expected a value", token)
    if here in (b"+", b"-") and body[offset + 1 : offset + 2] in (b"I", b""):
        return _bad_signed_word(body, offset, token)
    if here == b"+":
        return _bad_plus(body, offset + 1, token)
    if here == b"-" or here.isdigit():
        return _bad_number(body, offset, token)
    if here >= b"\xc0" and _is_part_of_identifier(chr(body[offset])) and offset + 1 < len(body):
        # Jackson takes the first byte alone for a letter.
        return syntax_error(body, offset + 2, f"Invalid UTF-8 start byte 0x{body[offset + 1]:x}", token)
    if here.isalpha() or here in (b"_", b"$"):
        return _bad_token(body, offset, token)
    return _unexpected(body, offset, f": expected a valid value {_VALUES}", token)


def bad_separator(body: bytes, offset: int, kind: str, start: int, token: int) -> ParseError:
    """Return the fault of something that stands where a comma or the end of an `Object` or `Array` is due."""
    here = body[offset : offset + 1]
    if here in (b"}", b"]"):
        opened = f"(for {kind} starting at {_source(body, start)})"
        reason = f"Unexpected close marker '{here.decode()}': expected '{_BRACKETS[kind]}' {opened}"
        return syntax_error(body, offset, reason, offset)
    return _unexpected(body, offset, f": was expecting comma to separate {kind} entries", token)


def bad_name(body: bytes, offset: int, token: int) -> ParseError:
    """Return the fault of something that stands where the name of a field is due."""
    if body[offset : offset + 1] != b'"':
        expected = ": was expecting double-quote to start field name"
        size = _utf8_size(body[offset])
        if size == 1:
            return _unexpected(body, offset, expected, token)
        try:
            character = body[offset : offset + size].decode("utf-8")
        except UnicodeDecodeError:
            return bad_utf8(body, offset, token)
        reason = f"Unexpected character ('{character}' (code {ord(character)})){expected}"
        return syntax_error(body, offset + size - 1, reason, token)
    return bad_string(body, offset, token, "name", " in field name")


def bad_colon(body: bytes, offset: int, token: int) -> ParseError:
    """Return the fault of something that stands where a colon is due."""
    return _unexpected(body, offset, ": was expecting a colon to separate field name and value", token)


def bad_string(body: bytes, offset: int, token: int | None, what: str, unended: str) -> ParseError:
    """Return the fault of a string that begins at `offset`."""
    part = _match_string_part(body, offset + 1)
    assert part is not None  # it matches nothing at all too
    end = part.end()
    if end >= len(body):
        if what == "name" and end == offset + 1:
            unended = ": was expecting closing '\"' for name"
        return end_of_input(body, unended, token)
    if body[end:] == b"\\":
        return end_of_input(body, " in character escape sequence", token)
    if body[end] < 0x20:
        reason = (
            f"Illegal unquoted character ((CTRL-CHAR, code {body[end]})): has to be escaped using backslash "
            f"to be included in {what}"
        )
        return syntax_error(body, end, reason, token)
    escaped = body[end + 1]
    if escaped != ord("u"):
        shown = _character(escaped)
        return syntax_error(body, end + 1, f"Unrecognized character escape {shown}", token)
    digit = end + 2
    while body[digit : digit + 1].isalnum() and body[digit : digit + 1] in b"0123456789abcdefABCDEF":
        digit += 1
    if digit >= len(body):
        return end_of_input(body, " in character escape sequence", token)
    return _unexpected(body, digit, ": expected a hex-digit for character escape sequence", token)


def bad_utf8(body: bytes, offset: int, token: int | None) -> ParseError:
    """Return the fault of the byte at `offset`, up to which the body is UTF-8."""
    where = "middle" if offset and body[offset - 1] >= 0xC0 else "start"
    return syntax_error(body, offset + 1, f"Invalid UTF-8 {where} byte 0x{body[offset]:x}", token)


def duplicate_name(body: bytes, offset: int, name: str, token: int) -> ParseError:
    return syntax_error(body, offset, f"Duplicate field '{name}'", token)


def too_deep(token: int) -> ParseError:
    return _beyond_constraint(f"Document nesting depth ({MAX_DEPTH + 1})", MAX_DEPTH, "NestingDepth", token)


def too_many_digits(digits: int, token: int) -> ParseError:
    return _beyond_constraint(f"Number value length ({digits})", MAX_DIGITS, "NumberLength", token)


def trailing(body: bytes, offset: int, kind: str) -> ParseError:
    """Return the fault of text after the document."""
    here = body[offset : offset + 1]
    if here in (b"}", b"]"):
        due = "]" if here == b"}" else "}"  # the other one
        root = f"[Source: (byte[]){source_of(body)}; line: 1, column: 0]"
        reason = f"Unexpected close marker '{here.decode()}': expected '{due}' (for root starting at {root})"
        return syntax_error(body, offset, reason)
    line, column = line_column(body, offset)
    reason = f"Unexpected token [{kind}] found after the main object."
    return ParseError(Cause("parsing_exception", reason, {"line": line, "col": column}))


def too_many_values(limit: int, what: str) -> ElasticsearchError:
    """Refuse a body that would take too long to read; Elasticsearch has no such limit."""
    reason = f"rerank-proxy reads at most [{limit}] {what}, and this body has more"
    return illegal_argument(reason)


def _bad_number(body: bytes, offset: int, token: int) -> ParseError:
    part = _match_number_part(body, offset)
    assert part is not None  # it matches nothing at all too
    end = part.end()
    last = body[end - 1 : end]
    if body.startswith(b"-.", offset):
        return _unexpected(body, offset + 1, f": expected a valid value {_VALUES}", token)
    if last in (b"-", b"+") and end - 1 == offset:
        problem = "expected digit (0-9) to follow minus sign, for valid numeric value"
    elif last == b".":
        problem = "Decimal point not followed by a digit"
    elif last in b"eE+-":
        problem = "Exponent indicator not followed by a digit"
    else:
        return syntax_error(body, end, "Invalid numeric value: Leading zeroes not allowed", token)
    if end >= len(body) and last != b".":
        return end_of_input(body, " in FIELD_NAME", token)  # the last token that was whole
    end = min(end, len(body) - 1)
    reason = f"Unexpected character ({_character(body[end])}) in numeric value: {problem}"
    return syntax_error(body, end, reason, token)


def _bad_signed_word(body: bytes, offset: int, token: int) -> ParseError:
    """Return the fault of a sign before what may be meant as an infinite number."""
    third = body[offset + 2 : offset + 3]
    if not third:
        if body[offset:] == b"-":
            return _bad_number(body, offset, token)
        return end_of_input(body, " in a Number value", token)
    if third in _WORDS:
        return _bad_token(body, offset, token, chr(body[offset]) + _WORDS[third])
    if body[offset : offset + 1] == b"+":
        return _bad_plus(body, offset + 2, token)
    problem = "expected digit (0-9) to follow minus sign, for valid numeric value"
    return _unexpected(body, offset + 2, f" in numeric value: {problem}", token)


def _bad_plus(body: bytes, read: int, token: int) -> ParseError:
    enable = "enable `JsonReadFeature.ALLOW_LEADING_PLUS_SIGN_FOR_NUMBERS` to allow"
    problem = f"in numeric value: JSON spec does not allow numbers to have plus signs: {enable}"
    return syntax_error(body, read, f"Unexpected character ('+' (code 43)) {problem}", token)


def _bad_token(body: bytes, offset: int, token: int, word: str | None = None) -> ParseError:
    """Return the fault of a word.

    Args:
        word: The only word that Jackson could be told to accept here; without it, `NaN` and `Infinity`.
    """
    shown, end = _identifier_at(body, offset)
    if shown in (("NaN", "Infinity") if word is None else (word,)):
        enable = "enable `JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS` to allow"
        return syntax_error(body, end, f"Non-standard token '{shown}': {enable}", token)
    if len(shown) == _SHOWN_TOKEN:
        shown, read = shown + "...", end
    else:
        read = min(end + 1, len(body))  # the character that ends it
    return syntax_error(body, read, f"Unrecognized token '{shown}': was expecting {_VALUES}", token)


def _identifier_at(body: bytes, offset: int) -> tuple[str, int]:
    """Return as much as is shown of the word that begins at `offset`, its sign included, and
    where that ends.
    """
    characters = [chr(body[offset])]
    end = offset + 1
    while end < len(body) and len(characters) < _SHOWN_TOKEN:
        size = _utf8_size(body[end])
        try:
            character = body[end : end + size].decode()
        except UnicodeDecodeError:
            break
        character = chr(ord(character) & 0xFFFF)  # as Jackson casts it
        if not _is_part_of_identifier(character):
            break
        characters.append(character)
        end += size
    return "".join(characters), end


def _is_part_of_identifier(character: str) -> bool:
    """Tell what ``Character.isJavaIdentifierPart`` tells."""
    return unicodedata.category(character) in _OF_IDENTIFIERS or character in _IGNORED_IN_IDENTIFIERS


def _control_character(body: bytes, offset: int, token: int | None) -> ParseError:
    white = "only regular white space (\\r, \\n, \\t) is allowed between tokens"
    reason = f"Illegal character ((CTRL-CHAR, code {body[offset]})): {white}"
    return syntax_error(body, offset + 1, reason, token)


def _unexpected(body: bytes, offset: int, expected: str, token: int | None) -> ParseError:
    code = body[offset]
    if code < ord(" "):
        return _control_character(body, offset, token)
    if code == ord("/"):
        return _bad_comment(body, offset, token)
    return syntax_error(body, offset, f"Unexpected character ({_character(code)}){expected}", token)


def _bad_comment(body: bytes, offset: int, token: int | None) -> ParseError:
    if offset + 1 >= len(body) or body.startswith(b"/*", offset):
        return end_of_input(body, " in a comment", token)
    shown = _character(body[offset + 1])
    reason = f"Unexpected character ({shown}): was expecting either '*' or '/' for a comment"
    return syntax_error(body, offset + 1, reason, token)


def _utf8_size(first: int) -> int:
    return 1 if first < 0xC0 else 2 if first < 0xE0 else 3 if first < 0xF0 else 4


def _character(code: int) -> str:
    return f"'{chr(code)}' (code {code})" if code >= ord(" ") else f"(CTRL-CHAR, code {code})"


def _beyond_constraint(what: str, limit: int, name: str, token: int) -> ParseError:
    """Return a ``StreamConstraintsException``, which names no place."""
    reason = f"{what} exceeds the maximum allowed ({limit}, from `StreamReadConstraints.getMax{name}()`)"
    cause = Cause("stream_constraints_exception", reason)
    return ParseError(Cause("x_content_parse_exception", reason, caused_by=cause), token)


def _source(body: bytes, offset: int) -> str:
    """Describe a place as Jackson does."""
    line, column = line_column(body, offset)
    return f"[Source: (byte[]){source_of(body)}; line: {line}, column: {column}]"
