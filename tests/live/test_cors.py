"""CORS: what the proxy answers itself has the headers that upstream gives to the same origin.

The nodes have settings of their own, and what they answer to a plain request is compared with.
"""

import json
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import pytest

from rerank_proxy.edge.server import Edge
from testbed import RunningElasticsearch
from testbed.http import basic
from tests.support.accounts import PASSWORD
from tests.support.proxied import proxied
from tests.support.raw_http import Message, connect
from tests.support.search_app import ENDPOINT
from tests.support.searches import reranking

GOOD: Final = "http://good.example:8080"
BAD: Final = "http://bad.example"
NODES: Final = ("some origins, with credentials", "every origin, with security", "no CORS")
INDEX: Final = "films-of-other-origins"


@dataclass(frozen=True)
class Upstream:
    """
    Attributes:
        authorization: Of who may do everything.
    """

    elasticsearch: RunningElasticsearch
    authorization: str | None

    @property
    def port(self) -> int:
        return urlsplit(self.elasticsearch.url).port or 0


@pytest.fixture(scope="module", params=NODES)
def upstream(
    request: pytest.FixtureRequest,
    elasticsearch: RunningElasticsearch,
    native: RunningElasticsearch,
    secured: RunningElasticsearch,
) -> Iterator[Upstream]:
    """Take the nodes of other tests, each with other settings about CORS."""
    with ExitStack() as stack:
        authorization = None
        if request.param == "no CORS":
            running = elasticsearch
        elif request.param == "every origin, with security":
            running = secured
            authorization = basic("elastic", PASSWORD)
        else:
            running = native
        for number in (1, 3, 2):
            document = {"text": f"crime {number}"}
            reply = running.server.call("PUT", f"/{INDEX}/_doc/{number}?refresh=true", document)
            assert reply.status == 201, reply.body
        stack.callback(running.server.call, "DELETE", f"/{INDEX}")
        yield Upstream(running, authorization)


@pytest.fixture
async def proxy(upstream: Upstream, tmp_path: Path) -> AsyncIterator[Edge]:
    async with proxied(upstream.elasticsearch.url, tmp_path) as edge:
        yield edge


async def ask(
    port: int,
    method: str,
    target: str,
    origin: str | None,
    body: bytes = b"",
    fields: Mapping[str, str] | None = None,
) -> Message:
    lines = {"Host": "es.example:9200", "Content-Type": "application/json", **(fields or {})}
    if not body:
        del lines["Content-Type"]
    if origin is not None:
        lines["Origin"] = origin
    head = f"{method} {target} HTTP/1.1\r\n" + "".join(
        f"{name}: {value}\r\n" for name, value in lines.items()
    )
    async with connect(port) as wire:
        await wire.send(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        return await wire.read_message()


def of_the_origin(answer: Message) -> list[str]:
    """Return the lines of an answer's head that are about the origin."""
    lines = answer.head.decode("latin-1").split("\r\n")
    return sorted(line for line in lines if line.lower().startswith(("access-control-", "vary:")))


EXPOSED: Final = "access-control-expose-headers: X-Rerank"
ORIGINS: Final = (GOOD, "https://good.example", BAD, "null", "", "http://es.example:9200", None)

SEARCH: Final = json.dumps(reranking()).encode()
TWO_STAGES: Final = json.dumps({**reranking(), "aggs": {"n": {"value_count": {"field": "_index"}}}}).encode()
MANY: Final = b"{}\n%b\n" % SEARCH
LOCAL: Final = {"model_id": "numbers", "num_allocations": 1, "num_threads": 1}
PUT: Final = json.dumps({"service": "elasticsearch", "service_settings": LOCAL}).encode()
BROKEN: Final = json.dumps(reranking(min_score="much")).encode()
REQUESTS: Final[Mapping[str, tuple[str, str, bytes, int]]] = {
    "a search": ("POST", f"/{INDEX}/_search", SEARCH, 200),
    "a search in two stages": ("POST", f"/{INDEX}/_search", TWO_STAGES, 200),
    "many searches": ("POST", f"/{INDEX}/_msearch", MANY, 200),
    "an asynchronous search": ("POST", f"/{INDEX}/_async_search", SEARCH, 200),
    "a search that cannot be read": ("POST", f"/{INDEX}/_search", BROKEN, 400),
    "a search of nothing": ("POST", "/nothing/_search", SEARCH, 404),
    "an unknown parameter": ("POST", f"/{INDEX}/_search?nope", SEARCH, 400),
    "endpoints": ("GET", "/_inference/_all", b"", 200),
    "no endpoint": ("GET", "/_inference/rerank/none", b"", 404),
    "an endpoint that is there": ("PUT", f"/_inference/rerank/{ENDPOINT}", PUT, 400),
    "an endpoint used": ("POST", f"/_inference/{ENDPOINT}", b'{"query":"q","input":["a 1"]}', 200),
    "nothing to remove": ("DELETE", "/_inference/rerank/mine", b"", 404),
    "a plain search": ("POST", f"/{INDEX}/_search", b'{"query":{"match_all":{}}}', 200),
    "a retriever merely mentioned": (
        "POST",
        f"/{INDEX}/_search?preference=text_similarity_reranker",
        b"{}",
        200,
    ),
}


@pytest.mark.parametrize("name", REQUESTS)
async def test_answers_of_the_proxy(upstream: Upstream, proxy: Edge, name: str) -> None:
    method, target, body, status = REQUESTS[name]
    credentials = {} if upstream.authorization is None else {"Authorization": upstream.authorization}
    for origin in ORIGINS:
        native = await ask(upstream.port, "GET", "/_cluster/health", origin, b"", credentials)
        for _ in range(2):  # not known to the proxy, and known
            ours = await ask(proxy.address.port, method, target, origin, body, credentials)
            if native.status == 403:
                assert ours.head == native.head
                assert ours.body == native.body
                continue
            assert ours.status == status, ours.body
            expected = of_the_origin(native)
            if expected and ours.field("x-rerank") is not None:
                expected = sorted([*expected, EXPOSED])
            assert of_the_origin(ours) == expected


@pytest.mark.parametrize("name", REQUESTS)
async def test_credentials_that_are_missing(upstream: Upstream, proxy: Edge, name: str) -> None:
    """A refusal is upstream's, but comes through the proxy's inner requests."""
    if upstream.authorization is None:
        pytest.skip("upstream has no security")
    method, target, body, _ = REQUESTS[name]
    native = await ask(upstream.port, "GET", "/_cluster/health", GOOD)
    ours = await ask(proxy.address.port, method, target, GOOD, body)
    if ours.status == 401:
        assert of_the_origin(ours) == of_the_origin(native) != []
    else:
        assert name in ("a search that cannot be read", "endpoints", "no endpoint")


@pytest.mark.parametrize("origin", [GOOD, BAD])
@pytest.mark.parametrize("target", ["/_search", "/_inference/rerank/mine", "/_async_search/x"])
async def test_preflights(upstream: Upstream, proxy: Edge, target: str, origin: str) -> None:
    asked = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}
    native, ours = [
        await ask(port, "OPTIONS", target, origin, b"", asked) for port in (upstream.port, proxy.address.port)
    ]
    assert ours.status == native.status
    assert of_the_origin(ours) == of_the_origin(native)
