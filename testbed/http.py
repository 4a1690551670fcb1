"""Make blocking HTTP calls to servers of the test bed, with the standard library."""

import base64
import json
import ssl
from dataclasses import dataclass
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError
from urllib.parse import unquote, urlsplit
from urllib.request import HTTPSHandler, OpenerDirector, ProxyHandler, Request, build_opener

from testbed.errors import TestbedError

# No system proxy: an `http_proxy` in the environment would redirect requests for 127.0.0.1.
_opener = build_opener(ProxyHandler({}))


@dataclass(frozen=True, slots=True)
class Reply:
    """A complete answer, of any status."""

    status: int
    headers: dict[str, str]
    """Names in lower case."""
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True, slots=True)
class Server:
    """An HTTP server, and the credentials to send it.

    Attributes:
        url: Scheme, host and port, without credentials and without a trailing slash.
        authorization: The value of the `Authorization` header, or None.
    """

    url: str
    authorization: str | None = None
    tls: ssl.SSLContext | None = None
    """How its certificate is checked; None: as the system does."""

    @classmethod
    def parse(cls, url: str) -> "Server":
        """Parse `http[s]://[USER:PASSWORD@]HOST[:PORT]`.

        Raises:
            TestbedError: The URL does not have this form.
        """
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
        """Send a request, and return the answer.

        Args:
            body: JSON lines as bytes, or any value that `json` can print.

        Raises:
            OSError: There is no answer, or not in time.
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
            with self._opener().open(request, timeout=timeout_s) as response:
                return _reply(response.status, response.headers.items(), response.read())
        except HTTPError as error:
            with error:
                return _reply(error.code, error.headers.items(), error.read())
        except HTTPException as error:
            raise OSError(f"no valid HTTP answer: {error!r}") from error

    def _opener(self) -> OpenerDirector:
        if self.tls is None:
            return _opener
        return build_opener(ProxyHandler({}), HTTPSHandler(context=self.tls))


def basic(user: str, password: str) -> str:
    """Return the value of an `Authorization` header (RFC 7617)."""
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


def _reply(status: int, headers: list[tuple[str, str]], body: bytes) -> Reply:
    return Reply(status, {name.lower(): value for name, value in headers}, body)


def _without_credentials(url: str) -> str:
    scheme, separator, rest = url.partition("://")
    return scheme + separator + rest.rpartition("@")[2]
