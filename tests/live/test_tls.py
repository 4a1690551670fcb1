"""TLS to a real Elasticsearch that requires client certificates, and from the official client."""

import asyncio
from pathlib import Path
from typing import Any

import elasticsearch
import pytest

from rerank_proxy.edge.server import Edge
from rerank_proxy.settings import load
from testbed import Reporter, sources
from testbed.node import Node
from testbed.source import Unpacked
from tests.support.tls import Authority, Certificate, with_authority

PASSWORD = "kept-secret"
_SSL = "xpack.security.http.ssl"


def _node(authority: Authority, shown: Certificate, client: Certificate) -> Node:
    source = sources()[0]
    if not isinstance(source, Unpacked):
        pytest.skip("Elasticsearch is not started by the test bed itself here")
    return Node(
        source.obtain(Reporter()),
        password=PASSWORD,
        files={
            "http.pem": shown.path.read_bytes(),
            "http.key": shown.key_path.read_bytes(),
            "ca.pem": authority.path.read_bytes(),
        },
        settings={
            f"{_SSL}.enabled": "true",
            f"{_SSL}.certificate": "http.pem",
            f"{_SSL}.key": "http.key",
            f"{_SSL}.certificate_authorities": "ca.pem",
            f"{_SSL}.client_authentication": "required",
        },
        tls=authority.client(client),
    )


async def test_certificates_of_both_sides_on_both_sides(tmp_path: Path, pytestconfig: pytest.Config) -> None:
    if not pytestconfig.getoption("long"):
        pytest.skip("it starts an Elasticsearch of its own: run this test with --long")
    authority = Authority(tmp_path)
    shown, client = with_authority(authority.issue(), authority), authority.issue("client")
    own = with_authority(authority.issue("proxy"), authority)

    def client_info(port: int) -> Any:
        url = f"https://127.0.0.1:{port}"
        with elasticsearch.Elasticsearch(
            url, basic_auth=("elastic", PASSWORD), ssl_assert_fingerprint=authority.fingerprint
        ) as calls:
            assert calls.security.authenticate()["username"] == "elastic"
            calls.indices.refresh()
            return calls.cluster.health()["cluster_name"]

    async def through(port: int, upstream: dict[str, str]) -> Any:
        values = {
            "listen": "127.0.0.1:0",
            "tls": {"cert": str(own.path), "key": str(own.key_path)},
            "upstream": {"url": f"https://127.0.0.1:{port}", **upstream},
        }
        edge = Edge(load(None, values, {}), tmp_path / "app.sock")
        await edge.start()
        try:
            name = await asyncio.to_thread(client_info, edge.address.port)
            # One connection served all of it: what TLS 1.3 sends between answers does not end it.
            assert edge.metrics.upstream_idle() == 1
            return name
        finally:
            await edge.stop()

    with _node(authority, shown, client) as running:
        port = int(running.url.rpartition(":")[2])
        identity = {"client_cert": str(client.path), "client_key": str(client.key_path)}
        for trust in ({"ca_certs": str(authority.path)}, {"ca_fingerprint": authority.fingerprint}):
            assert await through(port, {**trust, **identity}) == "testbed"
        with pytest.raises(elasticsearch.ApiError) as refused:
            await through(port, {"ca_certs": str(authority.path)})
    assert refused.value.status_code == 502
    assert "[upstream.client_cert]" in str(refused.value)
