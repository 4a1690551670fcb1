"""Where spans go, and with which headers; no message repeats a secret."""

from pathlib import Path

import pytest

from rerank_proxy.settings import InvalidSettingsError, TracingSettings, load
from rerank_proxy.settings.sections.tracing import parse_headers


@pytest.mark.parametrize(
    ("given", "endpoint"),
    [
        ("http://c:4318", "http://c:4318/v1/traces"),
        ("https://c/", "https://c/v1/traces"),
        ("https://c/otlp/v1/traces", "https://c/otlp/v1/traces"),
        ("http://[::1]:4318", "http://[::1]:4318/v1/traces"),
    ],
)
def test_endpoints(given: str, endpoint: str) -> None:
    assert TracingSettings(endpoint=given).endpoint == endpoint


@pytest.mark.parametrize(
    "given", ["c:4318", "grpc://c", "http://", "http://c:99999", "http://c/#a", "http://[c"]
)
def test_other_addresses(given: str) -> None:
    with pytest.raises(InvalidSettingsError, match=r"\[tracing.endpoint\]: expected http://HOST:PORT"):
        load(overrides={"tracing": {"endpoint": given}}, environ={})


@pytest.mark.parametrize("given", ["http://u:s3cret@c", "http://c?key=s3cret"])
def test_no_secret_belongs_into_an_endpoint(given: str) -> None:
    with pytest.raises(InvalidSettingsError, match="must not hold credentials") as refused:
        load(overrides={"tracing": {"endpoint": given}}, environ={})
    assert "s3cret" not in str(refused.value)


def test_headers() -> None:
    assert parse_headers("Authorization=Bearer%20a%2Cb%3D, X-A = 1\n") == {
        "Authorization": "Bearer a,b=",
        "X-A": "1",
    }


@pytest.mark.parametrize("text", ["", "s3cret", "a=1,", "a=%0As3cret", "a b=s3cret", "a="])
def test_malformed_headers(text: str) -> None:
    with pytest.raises(ValueError, match="expected NAME=VALUE") as refused:
        parse_headers(text)
    assert "s3cret" not in str(refused.value)
    with pytest.raises(InvalidSettingsError) as refused_settings:
        load(environ={"RERANK_PROXY_TRACING__HEADERS": text or ","})
    assert "s3cret" not in str(refused_settings.value)


def test_headers_in_a_file(tmp_path: Path) -> None:
    file = tmp_path / "headers"
    file.write_text("Authorization=Bearer%20s3cret\n", encoding="utf-8")
    headers = load(overrides={"tracing": {"headers_file": str(file)}}, environ={}).tracing.headers
    assert headers is not None
    assert parse_headers(headers.get_secret_value()) == {"Authorization": "Bearer s3cret"}
    assert "s3cret" not in repr(headers)
