"""What a remote service is asked, in Elasticsearch's terms and on the wire."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import msgspec


@dataclass(frozen=True, slots=True)
class RemoteCall:
    """One call: all texts of a request, or one batch of them.

    Attributes:
        top_n: How many results are wanted: of the request, else of the task settings.
        return_documents: Whether results carry their text; likewise.
    """

    query: str
    texts: Sequence[str]
    top_n: int | None
    return_documents: bool | None
    task_settings: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HttpCall:
    """One POST. Make it with `json_call` or `form_call`.

    Attributes:
        url: What is called. It may hold secrets, and is never shown.
        shown: What people are shown of the URL; nothing secret is in it.
        secrets: What must not be shown beside the secrets of the endpoint: a token, for example.
    """

    url: str = field(repr=False)
    shown: str
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    secrets: Sequence[str] = field(default=(), repr=False)


@dataclass(frozen=True, slots=True)
class HttpAnswer:
    """A whole answer. The body of one that is no success may be absent: it was too long, or coded."""

    status: int
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | bytearray = field(repr=False)


def json_call(url: str, body: Any, headers: Mapping[str, str], secrets: Sequence[str] = ()) -> HttpCall:
    """Return a POST of a JSON document; None in the outermost object is left out.

    Args:
        url: Made of settings that are shown: no secrets.
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
    return {"Authorization": f"Bearer {token}"}
