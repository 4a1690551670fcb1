"""Which headers of a caller go along with the inner searches made in its name, and which come back."""

import re
from collections.abc import Iterable
from typing import Final

from multidict import CIMultiDict

from proxy.errors import error

_HOP_BY_HOP: Final = frozenset(
    {
        "connection", "http2-settings", "keep-alive", "proxy-authenticate", "proxy-authorization",
        "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade",
    }
)  # fmt: skip
_VERSIONED_JSON: Final = re.compile(
    r"\s*application/vnd\.elasticsearch\+json\s*;\s*compatible-with\s*=\s*\d+\s*", re.IGNORECASE
)
_OF_THE_MESSAGE: Final = frozenset({"accept-encoding", "content-encoding", "content-length", "expect"})
"""Speak of the client's own body or answer, not of the inner ones."""


def for_upstream(raw: Iterable[tuple[bytes, bytes]]) -> CIMultiDict[str]:
    """The caller's headers for an inner search: credentials, media types, trace and opaque ids, all others.

    Names that differ only in case are given the first spelling, else aiohttp would keep the last value only.

    Raises:
        ElasticsearchError: 400 for a value that HTTP libraries cannot carry; it is never altered or dropped.
    """
    headers: CIMultiDict[str] = CIMultiDict()
    spelling: dict[str, str] = {}
    raw = list(raw)
    dropped = _HOP_BY_HOP | _OF_THE_MESSAGE | _named_in_connection(raw)
    for raw_name, raw_value in raw:
        name = raw_name.decode("ascii")
        lower = name.lower()
        if lower in dropped:
            continue
        try:
            value = raw_value.decode("utf-8")
        except UnicodeDecodeError:
            reason = f"the value of header [{name}] is neither ASCII nor UTF-8"
            raise error(400, "illegal_argument_exception", reason) from None
        headers.add(spelling.setdefault(lower, name), value)
    return headers


def content_type_beside(accept: str | None) -> str:
    """The type of a JSON body of ours: with the version that the answer is asked for in, as Elasticsearch
    wants it in both headers or in none.
    """
    return accept if accept is not None and _VERSIONED_JSON.fullmatch(accept) else "application/json"


def for_client(raw: Iterable[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    """Upstream's headers for an answer whose body is made anew."""
    raw = list(raw)
    dropped = _HOP_BY_HOP | _OF_THE_MESSAGE | _named_in_connection(raw)
    return [
        (name, value.decode("utf-8", "surrogateescape"))
        for raw_name, value in raw
        if (name := raw_name.decode("ascii")).lower() not in dropped
    ]


def _named_in_connection(raw: Iterable[tuple[bytes, bytes]]) -> frozenset[str]:
    """The further hop-by-hop headers that `Connection` lists (RFC 9110, 7.6.1)."""
    lists = (value.decode("latin-1") for name, value in raw if name.lower() == b"connection")
    return frozenset(token.strip().lower() for value in lists for token in value.split(","))
