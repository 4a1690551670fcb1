"""Calls of remote services and their answers, on the wire."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import msgspec


@dataclass(frozen=True, slots=True)
class HttpCall:
    """A POST. Make it with `json_call` or `form_call`.

    Attributes:
        url: May hold secrets, and is never shown.
        shown: What people are shown of the URL; nothing secret is in it.
        secrets: What must not be shown, besides the secrets of the endpoint: a token, for example.
    """

    url: str = field(repr=False)
    shown: str
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    secrets: Sequence[str] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A whole answer. The body may be absent where the status is not a success: too long, or coded."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | bytearray = field(repr=False)


def json_call(url: str, body: Any, headers: Mapping[str, str], secrets: Sequence[str] = ()) -> HttpCall:
    """Return a POST of a JSON document, without the members of the outermost object that are None.

    Args:
        url: Made of settings that are shown, without secrets.
    """
    if isinstance(body, Mapping):
        body = {name: value for name, value in body.items() if value is not None}
    sent = {"Content-Type": "application/json", "Accept": "application/json", **headers}
    return HttpCall(url, url, msgspec.json.encode(body), sent, secrets)


def form_call(url: str, fields: Mapping[str, str]) -> HttpCall:
    """Return a POST of a form, for token endpoints.

    Args:
        url: Its query string is not shown.
    """
    headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
    shown = url.partition("?")[0]
    return HttpCall(url, shown, urlencode(fields).encode(), headers, tuple(fields.values()))


def bearer(token: str) -> dict[str, str]:
    """Return the header that carries a token or an API key."""
    return {"Authorization": f"Bearer {token}"}
