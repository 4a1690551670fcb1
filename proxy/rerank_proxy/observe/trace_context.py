"""The trace that a request belongs to, as its client says (W3C Trace Context, section 3.2)."""

import re
from collections.abc import Iterable
from typing import Final

TRACEPARENT: Final = b"traceparent"

_TRACEPARENT: Final = re.compile(
    rb"(?!ff)(?P<version>[0-9a-f]{2})-(?!0{32})(?P<trace>[0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}"
    rb"(?P<more>-.*)?"
)


def trace_id(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the id of the trace; None where the header is absent, repeated or malformed.

    Later versions may have more after the four parts of version 00.

    Args:
        headers: Of the request, as they came.
    """
    values = [value for name, value in headers if name.lower() == TRACEPARENT]
    if len(values) != 1:
        return None
    match = _TRACEPARENT.fullmatch(values[0].strip(b" \t"))
    if match is None or (match["version"] == b"00" and match["more"] is not None):
        return None
    return match["trace"].decode()
