"""The section about traces."""

import re
from pathlib import Path
from typing import Annotated
from urllib.parse import unquote, urlsplit

from pydantic import AfterValidator, Field, SecretStr
from pydantic_core import PydanticCustomError

from rerank_proxy.settings.values import SECRET, Reloaded, Secret, Section

_EXPECTED = "expected http://HOST:PORT or https://HOST:PORT, with or without a path"
_PATH = "/v1/traces"
"""Where a collector takes spans, unless it is told otherwise (OTLP/HTTP)."""
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE = re.compile(r"[\x20-\x7e]+")


def _check_endpoint(value: str) -> str:
    try:
        parts = urlsplit(value)
        _ = parts.port
    except ValueError:
        raise ValueError(_EXPECTED) from None
    if parts.username or parts.password or parts.query:  # Either may hold a secret.
        raise PydanticCustomError(SECRET, "must not hold credentials or a query: give [tracing.headers]")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.fragment:
        raise ValueError(_EXPECTED)
    return value if parts.path.strip("/") else f"{parts.scheme}://{parts.netloc}{_PATH}"


def parse_headers(text: str) -> dict[str, str]:
    """Read `NAME=VALUE,NAME=VALUE`, as the variable OTEL_EXPORTER_OTLP_HEADERS has it.

    Raises:
        ValueError: It is malformed. The message holds nothing of it.
    """
    headers: dict[str, str] = {}
    for pair in text.strip().split(","):
        name, separator, value = pair.partition("=")
        name, value = name.strip(), unquote(value.strip())
        if not separator or not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise ValueError("expected NAME=VALUE, or several with commas; a comma in a value is written %2C")
        headers[name] = value
    return headers


def _check_headers(value: SecretStr) -> SecretStr:
    try:
        parse_headers(value.get_secret_value())
    except ValueError as malformed:
        raise PydanticCustomError(SECRET, "{reason}", {"reason": str(malformed)}) from None
    return value


class TracingSettings(Section):
    endpoint: Annotated[str, AfterValidator(_check_endpoint)] | None = Field(
        None,
        description="Where spans of reranked searches are sent, by OTLP over HTTP: `http://HOST:4318`, or a "
        "URL with a path where it is not `/v1/traces`. Needs `rerank-proxy[tracing]`. Absent: there are no "
        "spans, and the trace context of clients goes upstream as it came.",
    )
    sample_ratio: Reloaded[float] = Field(
        1.0,
        ge=0,
        le=1,
        allow_inf_nan=False,
        description="The part of the requests without a trace context that are recorded. One with it is "
        "recorded if its `traceparent` says so.",
    )
    service_name: str = Field(
        "rerank-proxy", min_length=1, max_length=200, description="The `service.name` of the spans."
    )
    headers: Annotated[Secret, AfterValidator(_check_headers)] | None = Field(
        None,
        description="Headers for `endpoint`, such as `Authorization=Bearer%20TOKEN`: `NAME=VALUE`, several "
        "with commas, values percent-encoded where need be.",
    )
    ca_certs: Path | None = Field(
        None,
        description="PEM file of the certificate authorities to trust for `endpoint`. Absent: those that "
        "the Python package certifi brings.",
    )
