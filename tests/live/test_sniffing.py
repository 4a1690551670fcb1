"""A client that looks for the cluster's nodes stays with the proxy."""

from collections.abc import Mapping
from typing import Any

import pytest
from elasticsearch import Elasticsearch

from testbed import RunningElasticsearch
from testbed.proxy import RunningProxy

SNIFFED = (
    "/_nodes/http",
    "/_nodes/_all/http",
    "/_nodes",
    "/_nodes/_local",
    "/_nodes/http,settings?flat_settings=true",
    "/_nodes/http?timeout=1000ms&pretty",
    "/_nodes/_all/http?human&filter_path=nodes.*.http.publish_address",
    "/_nodes?filter_path=**.publish_address",
    "/_nodes?filter_path=nodes.*.version,nodes.*.http.publish_address,nodes.*.ip",
    "/_nodes/transport,http?filter_path=-_nodes",
)


@pytest.mark.parametrize("accept", [None, "application/vnd.elasticsearch+json; compatible-with={major}"])
@pytest.mark.parametrize("target", SNIFFED)
@pytest.mark.every_version
def test_only_the_addresses_differ(
    elasticsearch: RunningElasticsearch, proxy: RunningProxy, target: str, accept: str | None
) -> None:
    headers = {} if accept is None else {"Accept": accept.format(major=elasticsearch.major)}
    direct, proxied = (
        server.call("GET", target, headers=headers) for server in (elasticsearch.server, proxy.server)
    )
    there, here = (server.url.removeprefix("http://") for server in (elasticsearch.server, proxy.server))
    assert direct.status == 200
    assert there.encode() in direct.body
    assert proxied.body == direct.body.replace(f'"{there}"'.encode(), f'"{here}"'.encode())
    changing = ("content-length",)
    assert _without(proxied.headers, changing) == _without(direct.headers, changing)
    assert int(proxied.headers.get("content-length", len(proxied.body))) == len(proxied.body)


@pytest.mark.parametrize("name", ["yaml", "cbor"])
def test_only_the_addresses_differ_in_other_formats(
    elasticsearch: RunningElasticsearch, proxy: RunningProxy, name: str
) -> None:
    direct, proxied = (
        server.call("GET", f"/_nodes?format={name}").body for server in (elasticsearch.server, proxy.server)
    )
    there, here = (server.url.removeprefix("http://") for server in (elasticsearch.server, proxy.server))
    written = (lambda text: b'"%b"' % text) if name == "yaml" else in_cbor
    assert direct.count(written(there.encode())) == 2
    expected = direct.replace(written(there.encode()), written(here.encode()))
    assert proxied == expected


def in_cbor(text: bytes) -> bytes:
    """Return a short text."""
    return bytes((0x60 + len(text),)) + text


@pytest.mark.parametrize("target", ["/_cluster/state", "/_cat/nodes?format=json", "/_nodes/stats/http"])
def test_other_answers_name_no_address_that_clients_would_go_to(
    elasticsearch: RunningElasticsearch, target: str
) -> None:
    assert b'"publish_address"' not in elasticsearch.server.call("GET", target).body


@pytest.mark.parametrize("compressed", [False, True])
def test_the_python_client_stays(
    elasticsearch: RunningElasticsearch, proxy: RunningProxy, compressed: bool
) -> None:
    options: dict[str, Any] = {
        "sniff_on_start": True,
        "sniff_before_requests": True,
        "min_delay_between_sniffing": 0,
    }
    with Elasticsearch(proxy.server.url, http_compress=compressed, **options) as client:
        for _ in range(3):
            assert client.info()["version"]["number"] == elasticsearch.version
        hosts = [f"{node.config.host}:{node.config.port}" for node in client.transport.node_pool.all()]
    assert hosts == [proxy.server.url.removeprefix("http://")]


def _without(headers: Mapping[str, str], names: tuple[str, ...]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name not in names}
