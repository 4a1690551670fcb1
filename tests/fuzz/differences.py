"""Where the grammar of heads here and llhttp's differ, and why that is meant."""

import re
from collections.abc import Mapping
from typing import Final

Differences = Mapping[str, re.Pattern[bytes]]
"""A reason, and a pattern that finds in a head (or a message) what it is about."""


def explained(differences: Differences, message: bytes) -> bool:
    """Return whether a listed difference is about this message."""
    return any(pattern.search(message) for pattern in differences.values())


def _about(pattern: bytes) -> re.Pattern[bytes]:
    return re.compile(pattern, re.IGNORECASE | re.DOTALL)


ONLY_HERE: Final[Differences] = {
    "Elasticsearch answers methods that it does not know, with the ones that it knows": _about(
        rb"\A(?!(?-i:GET|HEAD|POST|PUT|DELETE|OPTIONS|PATCH|TRACE|CONNECT) )[^ ]+ "
    ),
    "Elasticsearch reads bytes from 0x80 in a target": _about(rb"\A[^ ]+ [^ ]*[\x80-\xff]"),
    "a target of no known form is for Elasticsearch to refuse": _about(rb"\A[^ ]+ (?![/*])"),
    "white space around extensions of a chunk is to be parsed all the same (RFC 9112, 7.1.1)": _about(
        rb"chunked\r\n.*\r\n[0-9a-f]+[^\r\n]*[\t ][^\r\n]*\r\n"
    ),
}
"""Accepted here, refused by llhttp."""

ONLY_THERE: Final[Differences] = {
    "one space stands between the parts of a request line, which ends with HTTP/1.0 or 1.1": _about(
        rb"\A(?!HTTP/)(?![^ \r\n]+ [^ \r\n]+ HTTP/1\.[01]\r\n)"
    ),
    "HTTP/1.0 and 1.1 are spoken": _about(rb"\A(?=HTTP/)(?!HTTP/1\.[01] )"),
    "no status is below 100": _about(rb"\AHTTP/1\.[01] 0"),
    "empty lines before a message are skipped before its head is read": _about(rb"\A[\r\n]"),
    "no control characters stand in a head, the reason phrase included": _about(
        rb"\AHTTP/1\.[01] [0-9]{3} [^\r\n]*[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]"
    ),
    "one coding, chunked, is understood, once": _about(
        rb"\r\ntransfer-encoding:(?![\t ]*chunked[\t ]*\r\n)|\r\ntransfer-encoding:.*\r\ntransfer-encoding:"
    ),
    "recipients read a tab beside the coding differently": _about(rb"\r\ntransfer-encoding:[^\r]*\t"),
    "HTTP/1.0 knows no chunks, whose end another recipient would not find": _about(
        rb"HTTP/1\.0.*\r\ntransfer-encoding:"
    ),
    "two hosts may be routed differently": _about(rb"\r\nhost:.*\r\nhost:"),
    "a field that a Connection lists is dropped, and some decide on framing": _about(
        rb"\r\nconnection:[^\r]*(?:content-|transfer-encoding|host)"
    ),
    "no body has 10^18 bytes": _about(rb"\r\ncontent-length:[\t ]*[0-9]{19}"),
}
"""Accepted by llhttp, refused here."""
