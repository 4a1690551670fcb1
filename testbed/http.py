"""Small blocking HTTP calls to servers of the test bed, with the standard library."""

import base64
import json
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from testbed.errors import TestbedError

# No system proxy: an `http_proxy` in the environment would take requests for 127.0.0.1 elsewhere.
_opener = build_opener(ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Reply:
    """A whole answer, of any status."""

    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Server:
    """An HTTP server: its address without credentials, and the credentials to show it.

    Attributes:
        url: scheme, host and port, without a slash at the end.
        authorization: value of the `Authorization` header, or None.
    """

    url: str
    authorization: str | None = None

    @classmethod
    def parse(cls, url: str) -> "Server":
        """From `http[s]://[USER:PASSWORD@]HOST[:PORT]`. Raises: TestbedError: it is none of that."""
        parts = urlsplit(url)
        if (
            parts.scheme not in ("http", "https")
            or not parts.hostname
            or parts.path.strip("/")
            or parts.query
        ):
            raise TestbedError(f"[{_without_credentials(url)}] is not http://[USER:PASSWORD@]HOST:PORT")
        authorization = None
        if parts.username is not None:
            authorization = basic(unquote(parts.username), unquote(parts.password or ""))
        return cls(f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", authorization)

    def call(
        self,
        method: str,
        path: str,
        body: Any = None,
        *,
        headers: dict[str, str] | None = None,
        timeout_s: float = 30.0,
    ) -> Reply:
        """Send one request. `body`: JSON lines as bytes, or anything that `json` can print.

        Raises: OSError: no answer, or not in time.
        """
        sent = dict(headers or {})
        if self.authorization:
            sent["Authorization"] = self.authorization
        data = body if isinstance(body, bytes) or body is None else json.dumps(body).encode()
        if data is not None:
            sent.setdefault(
                "Content-Type", "application/x-ndjson" if isinstance(body, bytes) else "application/json"
            )
        request = Request(self.url + path, data, sent, method=method)
        try:
            with _opener.open(request, timeout=timeout_s) as response:
                return _reply(response.status, response.headers.items(), response.read())
        except HTTPError as error:
            with error:
                return _reply(error.code, error.headers.items(), error.read())
        except HTTPException as error:
            raise OSError(f"no valid HTTP answer: {error!r}") from error


def basic(user: str, password: str) -> str:
    """The `Authorization` header of RFC 7617."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _reply(status: int, headers: list[tuple[str, str]], body: bytes) -> Reply:
    return Reply(status, {name.lower(): value for name, value in headers}, body)


def _without_credentials(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return scheme + separator + rest.rpartition("@")[2]
