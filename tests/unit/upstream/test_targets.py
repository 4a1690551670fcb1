import ssl
from pathlib import Path

import pytest

from rerank_proxy.settings import InvalidSettingsError, UpstreamSettings
from rerank_proxy.upstream.targets import TcpTarget, node_targets


def target(url: str, **settings: object) -> TcpTarget:
    (only,) = node_targets(UpstreamSettings.model_validate({"url": url, **settings}))
    return only


@pytest.mark.parametrize(
    ("url", "host", "port"),
    [
        ("http://es", "es", 80),
        ("https://es", "es", 443),
        ("http://es:9200", "es", 9200),
        ("http://[::1]:9200", "::1", 9200),
    ],
)
def test_where_it_connects(url: str, host: str, port: int) -> None:
    made = target(url)
    assert (made.host, made.port, made.name) == (host, port, url)


@pytest.mark.parametrize(
    ("url", "host_header"),
    [
        ("https://abc.es.us-east-1.aws.found.io", b"abc.es.us-east-1.aws.found.io"),
        ("https://abc.example.com:9243", b"abc.example.com:9243"),
        ("http://abc.example.com:9243", None),
        ("https://localhost:9200", None),
        ("https://127.0.0.1:9200", None),
        ("https://[::1]:9200", None),
        ("https://es-http:9200", None),
        ("https://es-http.default.svc:9200", None),
        ("https://es-http.default.svc.cluster.local:9200", None),
    ],
)
def test_host_header_by_itself(url: str, host_header: bytes | None) -> None:
    assert target(url, host_header="auto").host_header == host_header
    assert target(url, host_header="client").host_header is None


@pytest.mark.parametrize(
    ("url", "host_header"),
    [
        ("http://localhost:9200", b"localhost:9200"),
        ("http://[::1]:9200", b"[::1]:9200"),
        ("http://münchen.example:9200", b"xn--mnchen-3ya.example:9200"),
        ("http://es", b"es"),
    ],
)
def test_host_header_of_upstream(url: str, host_header: bytes) -> None:
    assert target(url, host_header="upstream").host_header == host_header


def test_tls_checks_certificates_unless_told_otherwise() -> None:
    checked = target("https://es").tls
    assert checked is not None
    assert (checked.current.verify_mode, checked.current.check_hostname) == (ssl.CERT_REQUIRED, True)
    unchecked = target("https://es", verify_certs=False).tls
    assert unchecked is not None
    assert (unchecked.current.verify_mode, unchecked.current.check_hostname) == (ssl.CERT_NONE, False)
    assert target("http://es").tls is None


def test_unreadable_certificate_authorities(tmp_path: Path) -> None:
    with pytest.raises(InvalidSettingsError, match=r"upstream\.ca_certs.*[Nn]o such file"):
        target("https://es", ca_certs=tmp_path / "absent.pem")
    (tmp_path / "bad.pem").write_text("nothing")
    with pytest.raises(InvalidSettingsError, match=r"upstream\.ca_certs"):
        target("https://es", ca_certs=tmp_path / "bad.pem")


def test_the_dot_of_the_root_is_not_part_of_the_name_in_certificates() -> None:
    assert target("https://es.example.:9200").server_name == "es.example"
    assert target("https://es:9200", server_name="node.example.").server_name == "node.example"
