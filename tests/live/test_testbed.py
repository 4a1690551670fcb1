"""The real Elasticsearch of the other live tests behaves as a client expects."""

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from elasticsearch import Elasticsearch

from testbed import Reporter, RunningElasticsearch, Server, TestbedError, sources
from testbed.node import Node
from testbed.source import Unpacked
from tests.live.conftest import MakeIndex
from tests.support.waiting import until

_REPOSITORY = Path(__file__).parents[2]


def _own_node(*, port: int = 0, password: str | None = None) -> Node:
    """A node of its own, where there is a distribution to start (rather than ES_URL or a container)."""
    source = sources()[0]
    if not isinstance(source, Unpacked):
        pytest.skip("Elasticsearch is not started by the test bed itself here")
    return Node(source.obtain(Reporter()), port=port, password=password)


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


def test_security_can_be_switched_on() -> None:
    with _own_node(password="kept ' secret") as node:
        anonymous = Server(node.url)
        assert anonymous.call("GET", "/").status == 401
        reply = node.server.call("GET", "/_security/_authenticate")
        assert (reply.status, reply.json()["username"]) == (200, "elastic")


def test_nothing_outlives_a_starter_that_is_killed(tmp_path: Path) -> None:
    """SIGKILL runs no `finally`: the guard has to stop the node and remove its data."""
    _own_node()  # skips where there is nothing to start
    program = """
        import sys
        from testbed import Reporter, sources
        from testbed.node import Node
        node = Node(sources()[0].obtain(Reporter()))
        elasticsearch = node.start()
        print(elasticsearch.url, node.directory, flush=True)
        sys.stdin.read()
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=_REPOSITORY,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as starter:
        assert starter.stdout is not None
        url, directory = starter.stdout.readline().split()
        assert Server(url).call("GET", "/").status == 200
        starter.kill()
    until(lambda: None if Path(directory).exists() else True, "the node's directory is gone")
    with pytest.raises(OSError, match="refused"):
        Server(url).call("GET", "/")


def test_a_taken_port_is_one_line_with_the_remedy(elasticsearch: RunningElasticsearch) -> None:
    port = int(elasticsearch.url.rpartition(":")[2])
    with pytest.raises(TestbedError, match=rf"^port {port} cannot be used .*: choose another.*$"):
        _own_node(port=port).start()
