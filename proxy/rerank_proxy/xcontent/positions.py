"""Places in a request body, as Jackson counts and prints them."""

import re
from typing import Final

_SHOWN_BYTES: Final = 500
_control: Final = re.compile(r"[\x00-\x09\x0b\x0c\x0e-\x1f\x7f-\x9f]")
_line_end: Final = re.compile(rb"\r\n|\n|\r")


def line_column(body: bytes, offset: int) -> tuple[int, int]:
    """Return the 1-based line and column of a byte, in bytes: lines end in LF, CR or both."""
    line_feeds, returns = body.count(b"\n", 0, offset), body.count(b"\r", 0, offset)
    lines = line_feeds + returns - (body.count(b"\r\n", 0, offset) if returns else 0)
    start = max(body.rfind(b"\n", 0, offset), body.rfind(b"\r", 0, offset)) + 1
    return lines + 1, offset - start + 1


def offset_of(body: bytes, line: int, column: int) -> int:
    """Return the offset of the byte at a line and column, the inverse of `line_column`."""
    start = 0
    for _ in range(line - 1):
        end = _line_end.search(body, start)
        if end is None:
            break
        start = end.end()
    return start + column - 1


def source_of(body: bytes) -> str:
    """Describe a body as Jackson's ``ContentReference`` does: at most its first 500 bytes, in quotes."""
    shown = body[:_SHOWN_BYTES].decode("utf-8", "replace")
    shown = _control.sub(lambda match: f"\\u{ord(match[0]):04X}", shown)
    hidden = len(body) - _SHOWN_BYTES
    return f'"{shown}"' + (f"[truncated {hidden} bytes]" if hidden > 0 else "")


def position(body: bytes, offset: int) -> str:
    """Return the `[line:column]` that begins Elasticsearch's parse errors."""
    line, column = line_column(body, offset)
    return f"[{line}:{column}]"
