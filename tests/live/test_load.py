"""Many requests at a time, and large ones, through the whole proxy: each answer is what it would be alone."""

import asyncio
import json
import re
import socket
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from testbed import RunningElasticsearch, Server
from testbed.proxy import RunningProxy
from tests.live.conftest import MakeIndex
from tests.support.bulk_upstream import drop_body, read_head
from tests.support.edge_process import edge_process
from tests.support.raw_http import TIMEOUT_S, Message, connect
from tests.support.searches import reranking

CONNECTIONS = 64
REQUESTS, REQUESTS_LONG = 1_000, 10_000
LARGE = 100_000_000
MOST_MIB = 32


def request(method: str, path: str, *bodies: Any) -> bytes:
    """Return a request; several bodies, or one that is a list, are lines."""
    data = b"".join(json.dumps(body).encode() + b"\n" for body in bodies)
    media = b"application/x-ndjson" if len(bodies) > 1 else b"application/json"
    head = b"%b %b HTTP/1.1\r\nHost: a\r\nContent-Type: %b\r\n" % (method.encode(), path.encode(), media)
    if not bodies:
        head = head.replace(b"Content-Type: application/json\r\n", b"")
    return head + b"Content-Length: %d\r\n\r\n" % len(data) + data


def mixed(index: str) -> list[bytes]:
    by_id = {"query": {"match": {"text": "crime"}}, "sort": ["n"], "size": 3}
    document = {"index": {"_index": index, "_id": "9"}}
    return [
        request("GET", f"/{index}/_doc/1"),
        request("POST", f"/{index}/_search", by_id),
        request("POST", f"/{index}/_search", reranking()),
        request("POST", f"/{index}/_search?search_type=query_then_fetch", reranking(rank_window_size=3)),
        request("POST", "/_msearch", {"index": index}, by_id, {"index": index}, reranking()),
        request("POST", "/_bulk", document, {"text": "peace", "n": 9}),
        request("GET", f"/{index}/_count"),
        request("GET", f"/{index}/_doc/none"),
        request("POST", f"/{index}/_search", {"query": {"nonsense": {}}}),
        request("POST", f"/{index}/_search", reranking(rank_window_size=-1)),
        request("GET", "/none/_search"),
    ]


def comparable(answer: Message) -> tuple[int, bytes]:
    """Return what does not differ from one time to the next."""
    varying = rb'"(?:took|_version|_seq_no|result)" ?: ?(?:\d+|"[^"]*")'
    return answer.status, re.sub(varying, b"_", answer.content)


async def ask(server: Server, sent: bytes) -> tuple[int, bytes]:
    async with connect(urlsplit(server.url).port or 0) as client:
        await client.send(sent)
        return comparable(await client.read_message())


async def test_many_at_once(
    proxy: RunningProxy,
    elasticsearch: RunningElasticsearch,
    make_index: MakeIndex,
    pytestconfig: pytest.Config,
) -> None:
    count = REQUESTS_LONG if pytestconfig.getoption("long") else REQUESTS
    crimes = [{"text": f"crime {n}", "n": n} for n in range(9)]
    index = make_index([*crimes, {"text": "peace", "n": 9}])
    requests = mixed(index)
    expected = [await ask(proxy.server, each) for each in requests]
    for sent, answer in zip(requests, expected, strict=True):
        if b"text_similarity_reranker" not in sent:
            assert answer == await ask(elasticsearch.server, sent)
    assert [status for status, _ in expected] == [200] * 7 + [404, 400, 400, 404]
    numbers = iter(range(count))

    async def client() -> None:
        async with connect(urlsplit(proxy.server.url).port or 0) as wire:
            for number in numbers:
                which = number % len(requests)
                await wire.send(requests[which])
                answer = comparable(await wire.read_message())
                assert answer == expected[which], requests[which]

    await asyncio.gather(*(client() for _ in range(CONNECTIONS)))
    assert next(numbers, None) is None
    assert proxy.metric("rerank_proxy_upstream_connections", state="busy") == 0
    assert proxy.metric("rerank_proxy_buffered_bytes") == 0


def test_a_large_bulk(
    elasticsearch: RunningElasticsearch, make_index: MakeIndex, tmp_path: Path, pytestconfig: pytest.Config
) -> None:
    """`tests/edge/test_size.py` has the same before a double, always."""
    if not pytestconfig.getoption("long"):
        pytest.skip("Elasticsearch takes long over it: run this test with --long")
    index = make_index(mappings={"enabled": False})
    lines = b'{"index":{}}\n{"text":"%b"}\n' % (b"x" * 99_970)
    body = lines * (LARGE // len(lines))
    address = f"POST /{index}/_bulk?filter_path=errors HTTP/1.1\r\nHost: a\r\n".encode()
    headers = b"Content-Type: application/x-ndjson\r\nContent-Length: %d\r\n\r\n" % len(body)
    with (
        edge_process(elasticsearch.url, tmp_path) as edge,
        socket.create_connection(("127.0.0.1", edge.port), timeout=TIMEOUT_S) as client,
    ):
        edge.forget_peak()
        before = edge.memory()
        client.sendall(address + headers + body)
        answer = read_head(client)
        assert answer.startswith(b"HTTP/1.1 200 OK")
        drop_body(client, answer)
        assert edge.memory("VmHWM") - before < MOST_MIB
    elasticsearch.server.call("POST", f"/{index}/_refresh")
    assert elasticsearch.server.call("GET", f"/{index}/_count").json()["count"] == LARGE // len(lines)
