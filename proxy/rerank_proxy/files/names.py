"""What clients are told of the proxy's files: their names, not where on its machine they are."""

import re
from typing import Final

_PATH: Final = re.compile(
    r"(?P<open>\[)(?P<listed>~?/[^\]\r\n]*)\]"
    r"|(?P<quote>['\"])(?P<quoted>~?/[^'\"\r\n]*)(?P=quote)"
    r"|(?<![\w:/.~%>=?&-])(?P<bare>~?(?:/[^\s/:,;()\[\]'\"]+)+/?)"
)
"""An absolute path: in brackets, as this project's messages have it, in quotes, as Python's, or bare. No URL,
which has a colon before its slashes.
"""


def without_directories(text: str) -> str:
    """A message with the last part of each absolute path in the place of the whole."""
    return _PATH.sub(_named, text)


def _named(match: re.Match[str]) -> str:
    if match["open"]:
        return f"[{_name(match['listed'])}]"
    if match["quote"]:
        return f"{match['quote']}{_name(match['quoted'])}{match['quote']}"
    return _name(match["bare"])


def _name(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]
