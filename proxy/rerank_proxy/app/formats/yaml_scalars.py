"""Scalars and names of YAML 1.1, by the rules of Jackson and SnakeYAML."""

import json
import re
from typing import Final

from rerank_proxy.errors import Cause, ElasticsearchError

_TAGS: Final = "tag:yaml.org,2002:"
_CONSTANTS: Final = {
    **dict.fromkeys(("yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), "true"),
    **dict.fromkeys(("no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), "false"),
    **dict.fromkeys(("~", "null", "Null", "NULL", ""), "null"),
}
_DECIMAL: Final = re.compile(r"[-+]?(?:0|[1-9][0-9_]*+)")
_OTHER_BASES: Final = (
    (re.compile(r"([-+]?)0b_*+([01][01_]*+)"), 2),
    (re.compile(r"([-+]?)0x_*+([0-9a-fA-F][0-9a-fA-F_]*+)"), 16),
    (re.compile(r"([-+]?)0_*+([0-7][0-7_]*+)"), 8),
)
_FLOAT: Final = re.compile(
    r"(?P<sign>[-+]?)(?:(?P<whole>[0-9][0-9_]*+)(?:\.(?P<part>[0-9_]*+))?|\.(?P<only>[0-9][0-9_]*+))"
    r"(?P<exponent>[eE][-+]?[0-9]++)?"
)
_UNREADABLE: Final = re.compile(
    r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)|[-+]?[0-9][0-9_]*+(?::[0-5]?[0-9])++\.[0-9_]*+"
)
_MAX_DIGITS: Final = 1000
"""Jackson's ``StreamReadConstraints``."""
_FIRST_OF: Final = {"bool": "tf", "int": "-0123456789", "float": "-0123456789"}
_RESERVED_NAMES: Final = frozenset(_CONSTANTS) | {"n", "N", "y", "Y"}


def scalar_to_json(text: str, tag: str | None, *, plain: bool) -> str:
    """Return a scalar of a request body as JSON (``YAMLParser#_decodeScalar``).

    Numbers keep their spelling where JSON allows it.

    Args:
        tag: The explicit tag, resolved.
        plain: Whether it stands without quotes.

    Raises:
        ElasticsearchError: 400 for an infinity, NaN or sexagesimal fraction, which Jackson cannot read.
    """
    if tag is None or tag == "!":
        return _resolved(text) if plain else _string(text)
    kind = tag.removeprefix(_TAGS)
    if kind == "null":
        return "null"
    if kind in _FIRST_OF and (found := _resolved(text))[0] in _FIRST_OF[kind]:
        return found
    return _string(text)


def needs_quotes(name: str) -> bool:
    """Return whether a name in an answer is quoted though it need not be (``StringQuotingChecker``)."""
    return name in _RESERVED_NAMES or name[:1] in tuple("~+-.0123456789") or "\n" in name


def _resolved(text: str) -> str:
    """Return a plain scalar without a tag as the JSON that it looks like."""
    return _CONSTANTS.get(text) or _integer(text) or _float(text) or _string(text)


def _integer(text: str) -> str | None:
    if len(text) > _MAX_DIGITS:
        return None
    if _DECIMAL.fullmatch(text):
        return text.lstrip("+").replace("_", "")
    for pattern, base in _OTHER_BASES:
        if match := pattern.fullmatch(text):
            return str(int(match[1] + match[2].replace("_", ""), base))
    return None


def _float(text: str) -> str | None:
    if _UNREADABLE.fullmatch(text):
        reason = f"Malformed numeric value '{text}'"
        inner = Cause("json_parse_exception", reason)
        raise ElasticsearchError(400, Cause("x_content_parse_exception", reason, caused_by=inner))
    match = _FLOAT.fullmatch(text)
    if match is None or len(text) > _MAX_DIGITS:
        return None
    if match["part"] is None and match["only"] is None and match["exponent"] is None:
        return None  # not an integer after all, such as 08
    whole = (match["whole"] or "0").replace("_", "").lstrip("0") or "0"
    part = (match["part"] or match["only"] or "").replace("_", "")
    sign = match["sign"].replace("+", "")
    exponent = match["exponent"] or ""
    return sign + whole + (f".{part}" if part else "" if exponent else ".0") + exponent


def _string(text: str) -> str:
    return json.dumps(text, ensure_ascii=False)
