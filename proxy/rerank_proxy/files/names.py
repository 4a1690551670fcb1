"""Hide the proxy's directories from clients: messages name files, not where they are."""

import re
from typing import Final

_PATH: Final = re.compile(
    r"(?P<open>\[)(?P<listed>~?/[^\]\r\n]*)\]"
    r"|(?P<quote>['\"])(?P<quoted>~?/[^'\"\r\n]*)(?P=quote)"
    r"|(?<![\w:/.~%>=?&-])(?P<bare>~?(?:/[^\s/:,;()\[\]'\"]+)+/?)"
)
"""An absolute path: in brackets, as in this project's messages, in quotes, as in Python's, or bare. A URL,
which has a colon before its slashes, is not one.
"""


def without_directories(text: str) -> str:
    """Return a message with each absolute path cut to its last part."""
    return _PATH.sub(_named, text)


def _named(match: re.Match[str]) -> str:
    if match["open"]:
        return f"[{_name(match['listed'])}]"
    if match["quote"]:
        return f"{match['quote']}{_name(match['quoted'])}{match['quote']}"
    return _name(match["bare"])


def _name(path: str) -> str:
    return path.rstrip("/").rpartition("/")[2]
