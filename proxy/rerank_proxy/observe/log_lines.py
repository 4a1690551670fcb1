"""Text from outside in lines of the log: escaped and bounded, so that none can be taken for a record."""

import logging
import reprlib
import traceback
from typing import Any, Final

MAX_LINE: Final = 4096
"""The most characters of a line."""
MAX_TRACEBACK: Final = 100
"""The most lines of a traceback: the outermost and innermost frames are kept."""
MAX_VALUE: Final = 256
"""The most characters of a value that a client sends."""


def printable(text: str) -> str:
    """Return the text in one line that is safe to print on a terminal.

    Unprintable characters are escaped as in Python: control characters, line separators, characters that
    change the direction of writing, and halves of surrogate pairs.
    """
    return text if text.isprintable() else "".join(map(_readable, text))


def flattened(text: str) -> str:
    """Return the text in one line, with a single blank for each run of white space and unprintable
    characters.
    """
    return " ".join("".join(each if each.isprintable() else " " for each in text).split())


def one_line(text: str) -> str:
    """Return the text as `printable` does, but not longer than `MAX_LINE`."""
    shown = printable(text[:MAX_LINE])[:MAX_LINE]
    return shown if len(text) <= MAX_LINE else f"{shown} … ({len(text)} characters)"


def short(text: str, most: int = MAX_VALUE) -> str:
    """Return the text as `printable` does, but not longer than so many characters and an ellipsis."""
    shown = printable(text[:most])[:most]
    return shown if len(text) <= most else f"{shown}…"


def _readable(character: str) -> str:
    return character if character.isprintable() else character.encode("unicode_escape").decode("ascii")


def message_of(record: logging.LogRecord) -> str:
    """Return the message of a record, also of one that cannot be formatted."""
    try:
        return record.getMessage()
    except Exception:  # raised by an argument that does not fit, or by its own methods
        return f"{reprlib.repr(record.msg)} % {reprlib.repr(record.args)}"


def exception_text(info: Any) -> str:
    """Return the traceback of an exception, whatever its methods do."""
    try:
        return "".join(traceback.format_exception(*info))
    except Exception as error:  # raised by the exception's own methods
        return f"{info[0].__name__}, whose traceback cannot be shown: {type(error).__name__}"


def traceback_lines(record: logging.LogRecord) -> list[str]:
    """Return the lines of a record's traceback and of its stack, each bounded, and their number as well."""
    lines: list[str] = []
    if record.exc_info:
        lines += bounded_lines(exception_text(record.exc_info))
    if record.stack_info:
        lines += bounded_lines(record.stack_info)
    return lines


def bounded_lines(text: str) -> list[str]:
    """Return the lines of a text; of many, the first and the last."""
    lines = text.rstrip("\n").split("\n")
    left_out = len(lines) - MAX_TRACEBACK
    if left_out > 0:
        half = MAX_TRACEBACK // 2
        lines[half : half + left_out] = [f"… ({left_out} lines)"]
    return [one_line(line) for line in lines]
