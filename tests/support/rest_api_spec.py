"""Requests for every API of Elasticsearch, from its own descriptions (`org.elasticsearch:rest-api-spec`).

Of each path and method there is one request without parameters. The parameters of an API are spread over
further requests, in groups, so that each is sent once with a value of its type. Those that only make
Elasticsearch wait for something (`wait_for_…`) are left out.
"""

import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

GROUP: Final = 16
"""Parameters of one request."""
_PART: Final = re.compile(r"\{(\w+)\}")
_VALUES: Final = {
    "boolean": "true",
    "boolean|long": "true",
    "time": "10s",
    "list": "a,b",
    "string": "a",
    "int": "1",
    "long": "1",
    "number": "1",
    "double": "0.5",
    "number|string": "1",
    "date": "2020-01-01",
}
_OF_ALL: Final = "pretty&human&error_trace=false&filter_path=-took"
"""The parameters that every API has."""


@dataclass(frozen=True)
class ApiRequest:
    """A request.

    Attributes:
        api: Its name in the descriptions, such as `indices.create`.
        body: JSON, or lines of it; None for an API without one.
    """

    api: str
    method: str
    target: str
    content_type: str | None
    body: bytes | None

    def raw(self, host: str) -> bytes:
        """Return its bytes."""
        lines = [f"{self.method} {self.target} HTTP/1.1", f"Host: {host}"]
        if self.body is not None:
            lines += [f"Content-Type: {self.content_type}", f"Content-Length: {len(self.body)}"]
        return "\r\n".join(lines).encode() + b"\r\n\r\n" + (self.body or b"")


def requests(archive: Path, parts: Mapping[str, str]) -> Iterator[ApiRequest]:
    """Yield all requests.

    Args:
        archive: The file of the descriptions.
        parts: The values of parts of paths, such as `index`; others have the value of `name`.
    """
    with zipfile.ZipFile(archive) as opened:
        names = [name for name in sorted(opened.namelist()) if re.fullmatch(r".*/api/[^/]+\.json", name)]
        for name in names:
            if not name.endswith("/_common.json"):
                ((api, description),) = json.loads(opened.read(name)).items()
                yield from _requests_of(api, description, parts)


def _requests_of(api: str, description: Any, parts: Mapping[str, str]) -> Iterator[ApiRequest]:
    content_type, body = _body(description)
    groups = list(_groups(description.get("params", {})))
    for path in description["url"]["paths"]:
        target = _PART.sub(lambda match: parts.get(match[1], parts["name"]), path["path"])
        for method in path["methods"]:
            has_body = body is not None and method != "HEAD"
            for query in ("", *groups):
                yield ApiRequest(
                    api,
                    method,
                    f"{target}?{query}" if query else target,
                    content_type if has_body else None,
                    body if has_body else None,
                )
            groups = []  # once for an API: parameters do not depend on the path


def _body(description: Any) -> tuple[str | None, bytes | None]:
    if "body" not in description:
        return None, None
    if "application/x-ndjson" in description.get("headers", {}).get("content_type", ()):
        return "application/x-ndjson", b"{}\n{}\n"
    return "application/json", b"{}"


def _groups(params: Mapping[str, Any]) -> Iterator[str]:
    pairs = [f"{name}={_value(param)}" for name, param in params.items() if not name.startswith("wait_for")]
    pairs.append(_OF_ALL)
    for start in range(0, len(pairs), GROUP):
        yield "&".join(pairs[start : start + GROUP])


def _value(param: Any) -> str:
    if param["type"] == "enum":
        return str(param["options"][0])
    return _VALUES[param["type"]]
