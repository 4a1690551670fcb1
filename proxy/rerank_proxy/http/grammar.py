"""The grammar of HTTP/1.1 heads (RFC 9112 §3 to §5) as patterns over bytes."""

import re
from collections.abc import Container

TOKEN = rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]++"
FIELD_VALUE = rb"[\t\x20-\x7e\x80-\xff]*+"
FIELD_LINE = TOKEN + rb":" + FIELD_VALUE + rb"\r\n"
END_OF_HEAD = b"\r\n\r\n"

# Bytes from 0x80 are let through in a target, though no URI may hold them: Elasticsearch accepts them.
_REQUEST_LINE = rb"(" + TOKEN + rb") ([^\x00-\x20\x7f]++) HTTP/1\.[01]\r\n"
# The reason phrase and, by custom, the space before it may be absent.
_STATUS_LINE = rb"HTTP/1\.([01]) ([1-9][0-9]{2})(?: " + FIELD_VALUE + rb")?\r\n"
_FIELDS = rb"(?:" + FIELD_LINE + rb")*+\r\n"

FIELDS = re.compile(_FIELDS)
RESPONSE = re.compile(_STATUS_LINE + _FIELDS)
REQUEST_LINE = re.compile(_REQUEST_LINE)
STATUS_LINE = re.compile(_STATUS_LINE)

_LINE = re.compile(rb"\r\n(" + TOKEN + rb"):[^\r]*+")
_NAME = re.compile(TOKEN)
_GOOD_FIELDS = re.compile(rb"(?:" + FIELD_LINE + rb")*+")
_NEVER_IN_A_HEAD = re.compile(rb"(?<!\r)\n|\r(?!\n|\Z)|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")


def lines_of(*names: bytes) -> re.Pattern[bytes]:
    """Return a pattern that finds the lines of these fields in a lower-cased head, with the line ends before
    them.

    Lower-casing a head first is far cheaper than a search that ignores case.
    """
    return re.compile(rb"\r\n(" + b"|".join(map(re.escape, names)) + rb"):[\t ]*([^\r]*)")


def without_fields(head: bytes, names: Container[bytes]) -> bytes:
    """Return the head without the lines of these fields, by lower-case names, and otherwise unchanged.

    Unlike `without_lines` it takes names that a message brings, of which no pattern is made.
    """
    kept = []
    position = 0
    for line in _LINE.finditer(head):
        if line[1].lower() in names:
            kept.append(head[position : line.start()])
            position = line.end()
    kept.append(head[position:])
    return b"".join(kept)


def without_line(head: bytes, name: bytes) -> bytes:
    """Return the head without the first line of the field of this lower-case name, which is in it."""
    start = head.lower().index(b"\r\n%b:" % name)
    return head[:start] + head[head.index(b"\r\n", start + 2) :]


def without_lines(head: bytes, lines: re.Pattern[bytes], count: int = -1) -> bytes:
    """Return the head without the matches of `lines`, and otherwise unchanged.

    Args:
        count: The number of matches that are in it, or a negative number for all.
    """
    lowered = head.lower()
    kept = []
    position = 0
    while count and (match := lines.search(lowered, position)):
        kept.append(head[position : match.start()])
        position = match.end()
        count -= 1
    kept.append(head[position:])
    return b"".join(kept)


def field_of(head: bytes, name: bytes) -> bytes | None:
    """Return the value of the first field of this lower-case name, or None."""
    match = lines_of(name).search(head.lower())
    return head[match.start(2) : match.end(2)].rstrip(b"\t ") if match else None


def cannot_begin_a_head(data: bytes | bytearray, start: int = 0) -> bool:
    """Return whether `data` holds, from `start`, a control character or half a line end.

    Its `END_OF_HEAD` may never come (that of a TLS handshake does not): waiting for it would hang the sender.
    """
    return _NEVER_IN_A_HEAD.search(data, start) is not None


def what_is_wrong(head: bytes, first_line: re.Pattern[bytes]) -> str:
    """Return why a head does not match the grammar. Lines are counted, not quoted: heads hold credentials."""
    first = first_line.match(head)
    if first is None:
        return "its first line is malformed"
    fields = _GOOD_FIELDS.match(head, first.end())
    wrong = fields.end() if fields else first.end()
    number = head.count(b"\r\n", 0, wrong) + 1
    where = f"line {number} of the head"
    if head[wrong : wrong + 1] in (b" ", b"\t"):
        return f"{where} continues the one before, which is obsolete"
    name = _NAME.match(head, wrong)
    if name and head[name.end() : name.end() + 1] in (b" ", b"\t"):
        return f"{where} has white space before its colon"
    return f"{where} is not a header field, or holds a control character"
