"""What one line of a file of clicks says."""

from collections.abc import Mapping
from typing import Any, Final

from rerank_proxy.relevance.clicks import Click
from rerank_proxy.relevance.formats.lines import Line

_MOST: Final = 10**12
"""The largest count, and the last position."""


def click_of(line: Line, values: Mapping[str, Any]) -> Click:
    """Make a click of a line's values. Without counts, the line is one impression that was clicked. With a
    count of clicks alone, it is not known how often the document was shown.

    Raises:
        FormatError: A value is missing, or is not what it should be.
    """
    query = line.query_text(line.member(dict(values), "query"))
    document = line.id(line.member(dict(values), "document"), "id of the document")
    position = _whole(line, "position", line.member(dict(values), "position"), 1)
    given = values.get("clicks", values.get("clicked", 1))
    impressions = None
    if "impressions" in values or "clicks" not in values:
        impressions = _whole(line, "impressions", values.get("impressions", 1), 1)
    clicks = _whole(line, "clicks", {"true": 1, "false": 0}.get(str(given).lower(), given), 0)
    if impressions is not None and clicks > impressions:
        raise line.fault(f"has {clicks} clicks and only {impressions} impressions")
    return Click(query, document, position, impressions, clicks)


def _whole(line: Line, name: str, value: Any, least: int) -> int:
    if isinstance(value, str) and value.strip().isascii() and value.strip().isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= _MOST:
        raise line.fault(f'"{name}" must be a whole number of at least {least}')
    return value
