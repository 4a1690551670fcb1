"""Separators of the recursive chunker: Java regular expressions, run by PCRE2.

PCRE2 bounds what a pattern may cost, before and while it matches, which matters for patterns of clients. Of
what Java means otherwise, `.`, `^` and `$` are translated. The rest is written alike in both, but for rare
forms: `&&` within a class, a `.` under ``(?s)``, and names of properties that only Java has.
"""

import re
import time
from functools import lru_cache
from typing import Any, Final

import pcre2

from proxy.errors import error

TIME_LIMIT: Final = 0.5
"""Seconds of a processor for one separator in one text. Elasticsearch counts the characters it reads."""

_TOKEN = re.compile(r"\\Q.*?(?:\\E|\Z)|\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|(?P<form>[.^$])", re.DOTALL)
_NO_SETTINGS: Final = "(?#)"  # PCRE2 takes settings from the very start of a pattern


def split_offsets(text: str, separator: str) -> list[int]:
    """Where `text` is cut: the start of each match, which begins the part behind it.

    Raises:
        ElasticsearchError: 400, where the separator is no regular expression or takes too long.
    """
    end = time.thread_time() + TIME_LIMIT
    offsets: list[int] = []
    try:
        for match in _matches(text, separator):
            offsets.append(match.start())
            if time.thread_time() > end:
                raise TimeoutError
    except (pcre2.PatternError, UnicodeEncodeError) as failure:
        # In the shape of Java's ``PatternSyntaxException``; what is wrong is said in other words.
        raise error(400, "pattern_syntax_exception", f"{failure}\n{separator}") from None
    except (pcre2.LibraryError, TimeoutError):
        reason = f"Chunk separator regex [{separator}] has exceeded the character read limit"
        raise error(400, "illegal_argument_exception", reason) from None
    return offsets


def _matches(text: str, separator: str) -> Any:
    """Bytes where they will do: in a str, each match costs a walk through the text."""
    if text.isascii() and separator.isascii() and not re.search(r"\\[ux]", separator):
        return _compiled(separator, as_bytes=True).finditer(text.encode())
    return _compiled(separator, as_bytes=False).finditer(text)


@lru_cache(maxsize=64)
def _compiled(separator: str, *, as_bytes: bool) -> Any:
    forms = _java_forms(r"\n\r" if as_bytes else r"\n\r\u0085\u2028\u2029")
    pattern = _NO_SETTINGS + _TOKEN.sub(lambda token: forms.get(token["form"], token[0]), separator)
    return pcre2.compile(pattern.encode()) if as_bytes else pcre2.compile(pattern, pcre2.ASCII)


def _java_forms(terminators: str) -> dict[str, str]:
    """What Java means by a form that depends on line terminators; CR LF is one of them."""
    return {
        ".": rf"[^{terminators}]",
        "^": rf"(?:\A|(?<=[{terminators}])(?!(?<=\r)\n)(?!\z))",
        "$": rf"(?:\z|(?=[{terminators}])(?!(?<=\r)\n))",
    }
