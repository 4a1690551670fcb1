"""The real Elasticsearch of the other live tests behaves as a client expects."""

import pytest
from elasticsearch import Elasticsearch

from testbed import RunningElasticsearch
from tests.live.conftest import MakeIndex


@pytest.mark.every_version
def test_get_root_tells_what_clients_ask_for(elasticsearch: RunningElasticsearch) -> None:
    reply = elasticsearch.server.call("GET", "/")
    assert reply.status == 200
    assert reply.headers["x-elastic-product"] == "Elasticsearch"
    assert reply.body.startswith(b"{\n  ")  # pretty-printed by default, as a complete Elasticsearch does
    info = reply.json()
    assert list(info) == ["name", "cluster_name", "cluster_uuid", "version", "tagline"]
    assert list(info["version"]) == [
        "number",
        "build_flavor",
        "build_type",
        "build_hash",
        "build_date",
        "build_snapshot",
        "lucene_version",
        "minimum_wire_compatibility_version",
        "minimum_index_compatibility_version",
    ]
    assert info["version"]["number"] == elasticsearch.version
    assert info["tagline"] == "You Know, for Search"
    health = elasticsearch.server.call("GET", "/_cluster/state/metadata").json()
    assert info["cluster_uuid"] == health["cluster_uuid"]


@pytest.mark.every_version
def test_head_root_has_the_headers_of_get(elasticsearch: RunningElasticsearch) -> None:
    get, head = (elasticsearch.server.call(method, "/?pretty=false") for method in ("GET", "HEAD"))
    assert (head.status, head.body) == (200, b"")
    assert head.headers == get.headers
    assert int(head.headers["content-length"]) == len(get.body)


def test_the_official_client_accepts_it(elasticsearch: RunningElasticsearch) -> None:
    if elasticsearch.major != 9:
        pytest.skip("elasticsearch-py 9 speaks to Elasticsearch 9 only")
    with Elasticsearch(elasticsearch.url) as client:
        assert client.info()["version"]["number"] == elasticsearch.version
        assert client.ping()


@pytest.mark.every_version
def test_an_index_is_filled_and_searched(elasticsearch: RunningElasticsearch, make_index: MakeIndex) -> None:
    index = make_index(
        [{"text": "one"}, {"text": "two"}], mappings={"properties": {"text": {"type": "text"}}}
    )
    reply = elasticsearch.server.call("POST", f"/{index}/_search", {"query": {"match": {"text": "two"}}})
    assert [hit["_id"] for hit in reply.json()["hits"]["hits"]] == ["1"]
