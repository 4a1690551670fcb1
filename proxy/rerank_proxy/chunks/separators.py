"""Separators of the recursive chunker: Java regular expressions, run by the module `regex`.

The module lets other threads run meanwhile and takes a time limit, which matters for expressions of clients.
Where Java's syntax or meaning differs, `.`, `^`, `$` and some escapes are translated, and forms that only
this module knows are refused. What still differs is rare, such as a `.` under ``(?s)``, and names of
properties that only Java has.
"""

import re
import time
from functools import lru_cache
from math import prod
from typing import Any, Final

import regex

from rerank_proxy.concurrency.steps import Steps
from rerank_proxy.errors import ElasticsearchError, error, illegal_argument

SEARCH_LIMIT_S: Final = 0.5
"""Seconds of processor time to find a separator's next match. Elasticsearch counts characters instead."""

MAX_LENGTH: Final = 10_000
"""Characters of a separator. Compiling it costs some microseconds for each."""

MAX_COPIES: Final = 65_535
"""How often nested counts such as ``{9}`` may repeat something in all."""


def split_offsets(text: str, separator: str) -> Steps[list[int]]:
    """Return where `text` is cut: the start of each match, with which the next part begins.

    Raises:
        ElasticsearchError: 400, if the separator is not a regular expression or takes too long.
    """
    pattern = _compiled(separator)
    offsets: list[int] = []
    position = 0
    while position <= len(text) and (match := _search(pattern, text, position)) is not None:
        offsets.append(match.start())
        position = match.end() + (match.start() == match.end())
        yield
    return offsets


def _search(pattern: Any, text: str, position: int) -> Any:
    """Return the next match. The module's clock counts all threads, so what others used is added."""
    began = time.thread_time()
    allowed = SEARCH_LIMIT_S
    while True:
        try:
            return pattern.search(text, position, timeout=allowed)
        except TimeoutError:
            if time.thread_time() - began >= SEARCH_LIMIT_S:
                reason = f"Chunk separator regex [{pattern.source}] has exceeded the character read limit"
                raise illegal_argument(reason) from None
            allowed *= 2


class _Pattern:
    """A compiled separator that knows its Java source."""

    def __init__(self, source: str) -> None:
        self.source = source
        self.search = regex.compile(_translated(source), regex.VERSION1 | regex.ASCII).search


@lru_cache(maxsize=64)
def _compiled(separator: str) -> _Pattern:
    try:
        return _Pattern(separator)
    except regex.error as failure:
        raise _syntax_error(str(failure), separator) from None
    except RecursionError:
        raise _syntax_error("the expression is nested too deeply", separator) from None


def _syntax_error(description: str, separator: str) -> ElasticsearchError:
    """Return an error like Java's ``PatternSyntaxException``; its description has other words."""
    return error(400, "pattern_syntax_exception", f"{description}\n{separator}")


_TOKEN: Final = re.compile(
    r"""
      \\Q(?P<quoted>.*?)(?:\\E|\Z)
    | (?P<escape>\\(?:x\{[0-9A-Fa-f]{1,6}\}|k<\w+>|[pP]\{[^}]*\}|N\{[^}]*\}|c.|.))
    | (?P<set>\[\^?\]?(?:\\.|[^\]\\])*\])
    | (?P<group>\([?*])(?P<kind>[:=!>]|<[=!A-Za-z]|[imsx]*(?:-[imsx]+)?[:)])?
    | \{(?P<least>[0-9]+)(?:,[0-9]*)?\}
    | (?P<brace>\{)
    | (?P<form>[.^$])
    """,
    re.DOTALL | re.VERBOSE,
)
_ESCAPE: Final = re.compile(r"\\(?:x\{[0-9A-Fa-f]{1,6}\}|c.|.)", re.DOTALL)
_JAVA_ESCAPES: Final = frozenset("tnrfaecxu0dDhHsSvVwWRXbBAGZzkpPEN123456789")

_TERMINATORS: Final = r"\n\r\u0085\u2028\u2029"
_NOT_WITHIN_CRLF: Final = r"(?!(?<=\r)\n)"
_VERTICAL: Final = r"\n\x0b\f\r\x85\u2028\u2029"
_FORMS: Final = {
    ".": rf"[^{_TERMINATORS}]",
    "^": rf"(?:\A|(?<=[{_TERMINATORS}]){_NOT_WITHIN_CRLF}(?!\z))",
    "$": rf"(?:\z|(?=[{_TERMINATORS}]){_NOT_WITHIN_CRLF})",
    r"\Z": rf"(?={_NOT_WITHIN_CRLF}(?:\r\n|[{_TERMINATORS}])?\z)",
    r"\e": r"\x1b",
    r"\v": f"[{_VERTICAL}]",
    r"\V": f"[^{_VERTICAL}]",
    r"\E": "",
}
"""What Java means by forms that depend on line terminators, of which CR LF is one, and by some escapes."""


def _translated(separator: str) -> str:
    """Translate a separator from Java's syntax.

    Raises:
        regex.error: It is too large, or has forms that Java does not know.
    """
    if len(separator) > MAX_LENGTH:
        raise regex.error(f"the expression has more than {MAX_LENGTH} characters")
    counts = (int(token["least"]) for token in _TOKEN.finditer(separator) if token["least"])
    if prod(filter(None, counts)) > MAX_COPIES:
        raise regex.error("the expression repeats too much")
    return _TOKEN.sub(_in_place_of, separator)


def _in_place_of(token: re.Match[str]) -> str:
    text = token[0]
    if token["quoted"] is not None:
        return regex.escape(token["quoted"], special_only=True, literal_spaces=True)
    if token["set"]:
        return _ESCAPE.sub(lambda escape: _escape(escape[0]), text)
    if token["escape"]:
        return _escape(text)
    if token["brace"] or (token["group"] and token["kind"] is None):
        raise regex.error(f"unknown construct at position {token.start()}")
    return _FORMS.get(text, text)


def _escape(text: str) -> str:
    name = text[1]
    if name.isascii() and name.isalnum() and name not in _JAVA_ESCAPES:
        raise regex.error(f"unknown escape {text}")
    if text.startswith(r"\x{"):
        return rf"\U{text[3:-1]:0>8}"
    if name == "c" and len(text) > 2:
        return regex.escape(chr(ord(text[2]) ^ 64))
    if name == "k" and len(text) > 2:
        return f"(?P={text[3:-1]})"
    return _FORMS.get(text, text)
