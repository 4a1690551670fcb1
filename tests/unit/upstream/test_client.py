"""Inner requests on the wire: what is sent, what is sent again, and what is taken for an answer."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict
from prometheus_client import CollectorRegistry

from rerank_proxy.app.metrics import UpstreamMetrics
from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.http.answer_reader import AnswerReader
from rerank_proxy.settings import Settings
from rerank_proxy.upstream.client import ElasticsearchClient
from rerank_proxy.upstream.protocol import Reply
from tests.support.raw_http import TIMEOUT_S, Message, Serve, Wire, answering, raw_server

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}"
NO_HEADERS: CIMultiDict[str] = CIMultiDict()


@asynccontextmanager
async def client(
    serve: Serve, registry: CollectorRegistry | None = None
) -> AsyncIterator[ElasticsearchClient]:
    async with raw_server(serve) as server:
        settings = Settings.model_validate({"upstream": server.url})
        metrics = UpstreamMetrics(registry or CollectorRegistry())
        upstream = ElasticsearchClient(settings.upstream, settings.search, metrics.sent_again)
        try:
            yield upstream
        finally:
            await upstream.close()


async def ask(serve: Serve, method: str = "POST", target: str = "/_search", body: bytes = b"{}") -> Reply:
    async with client(serve) as upstream:
        return await upstream.request(method, target, body, NO_HEADERS)


@pytest.mark.parametrize(
    "target",
    [
        "/a/_search#/_flush", "/a#?b", "//a//_search", "/a/../b/./_search", "/caf\xe9/_search", "/%zz%0a%",
        "http://h/a", "*", "a", "?", "/a?b?c&&;=%", "/<a>{b}|\\^`\"'", "/" + "a" * 20_000,
    ],
)  # fmt: skip
async def test_a_target_is_sent_as_it_is(target: str) -> None:
    serve, requests = answering(OK)
    await ask(serve, target=target)
    assert requests[0].first_line == b"POST " + target.encode("latin-1") + b" HTTP/1.1"


async def test_headers_are_sent_as_they_are() -> None:
    serve, requests = answering(OK)
    headers = CIMultiDict([("host", "x"), ("A", "1"), ("a", "\udce9"), ("B", "é")])
    async with client(serve) as upstream:
        await upstream.request("POST", "/_search", b"{}", headers)
    lines = requests[0].head.split(b"\r\n")[1:-2]
    assert lines == [b"host: x", b"A: 1", b"a: \xe9", "B: é".encode(), b"Content-Length: 2"]


@pytest.mark.parametrize(("name", "value"), [("A", "b\r\nX: y"), ("A", "\n"), ("A\r\nB", "c"), ("A", "\x00")])
async def test_no_header_can_end_its_line(name: str, value: str) -> None:
    serve, requests = answering(OK)
    async with client(serve) as upstream:
        with pytest.raises(ElasticsearchError, match="control character"):
            await upstream.request("POST", "/_search", b"{}", CIMultiDict([(name, value)]))
    assert requests == []


class Stale:
    """Connections that answer the first request, and end when they are used again."""

    def __init__(self, begun: bytes = b"") -> None:
        self.requests: list[Message] = []
        self._begun = begun

    async def serve(self, wire: Wire) -> None:
        self.requests.append(await wire.read_message())
        await wire.send(OK)
        self.requests.append(await wire.read_message())
        await wire.send(self._begun)


async def sent_twice(stale: Stale, method: str, target: str) -> bool:
    """Whether a request is repeated that a kept connection has lost; it is counted then."""
    registry = CollectorRegistry()
    async with client(stale.serve, registry) as upstream:
        await upstream.request("GET", "/", b"", NO_HEADERS)
        try:
            await upstream.request(method, target, b"", NO_HEADERS)
        except ElasticsearchError as failure:
            repeats, status = 0, failure.status
        else:
            repeats, status = 1, 200
    assert status == (200 if repeats else 502)
    first_lines = [request.first_line for request in stale.requests[1:]]
    assert first_lines == [f"{method} {target} HTTP/1.1".encode()] * (1 + repeats)
    assert registry.get_sample_value("rerank_proxy_search_upstream_retries_total") == repeats
    return bool(repeats)


@pytest.mark.parametrize(
    ("method", "target", "twice"),
    [
        ("POST", "/_search", True),
        ("POST", "/a/_search?size=1", True),
        ("POST", "/_msearch", True),
        ("POST", "/_render/template", True),
        ("POST", "/_security/user/_has_privileges", True),
        ("GET", "/a/_mapping", True),
        ("GET", "/_inference/_all", True),
        ("DELETE", "/_pit", True),
        ("POST", "/a/_pit?keep_alive=5m", False),
        ("POST", "/_inference/rerank/a", False),
        ("POST", "/_search?scroll=1m", False),
        ("GET", "/_search?scroll=1m", False),
        ("POST", "/a/_close#/_count", False),
        ("DELETE", "/a", False),
        ("PUT", "/a", False),
    ],
)
async def test_what_is_sent_again(method: str, target: str, twice: bool) -> None:
    assert await sent_twice(Stale(), method, target) is twice


async def test_nothing_is_sent_again_once_an_answer_began() -> None:
    assert not await sent_twice(Stale(b"H"), "GET", "/")
    assert not await sent_twice(Stale(b"HTTP/1.1 100 Continue\r\n\r\n"), "GET", "/")


async def test_nothing_is_sent_again_on_a_new_connection() -> None:
    requests = []

    async def serve(wire: Wire) -> None:
        requests.append(await wire.read_message())

    with pytest.raises(ElasticsearchError, match=r"^Elasticsearch at .* closed the connection before"):
        await ask(serve, "GET", "/")
    assert len(requests) == 1


async def test_nothing_is_sent_a_third_time() -> None:
    requests = []

    async def serve(wire: Wire) -> None:
        requests.append(await wire.read_message())
        if len(requests) == 1:
            await wire.send(OK)
            requests.append(await wire.read_message())

    async with client(serve) as upstream:
        await upstream.request("GET", "/", b"", NO_HEADERS)
        with pytest.raises(ElasticsearchError, match="closed the connection"):
            await upstream.request("GET", "/", b"", NO_HEADERS)
    assert len(requests) == 3


async def test_connections_are_kept() -> None:
    connections = 0
    serve, requests = answering(OK)

    async def counted(wire: Wire) -> None:
        nonlocal connections
        connections += 1
        await serve(wire)

    async with client(counted) as upstream:
        for _ in range(3):
            await upstream.request("POST", "/a/_pit", b"", NO_HEADERS)
    assert (connections, len(requests)) == (1, 3)


async def test_who_gives_up_ends_the_connection() -> None:
    asked, ended = asyncio.Event(), asyncio.Event()

    async def serve(wire: Wire) -> None:
        await wire.read_message()
        asked.set()
        await wire.ended()
        ended.set()

    async with client(serve) as upstream:
        task = asyncio.create_task(upstream.request("GET", "/", b"", NO_HEADERS))
        await asyncio.wait_for(asked.wait(), TIMEOUT_S)
        task.cancel()
        await asyncio.wait_for(ended.wait(), TIMEOUT_S)


def head(status: int, rest: bytes = b"content-length: 2\r\n\r\n{}") -> bytes:
    return b"HTTP/1.1 %d X\r\n%b" % (status, rest)


@pytest.mark.parametrize(
    "answer",
    [
        head(103, b"Link: x\r\n\r\n") * 3 + OK,
        head(200, b"transfer-encoding: chunked\r\n\r\n1\r\n{\r\n1;x\r\n}\r\n0\r\n\r\n"),
        head(200, b"connection: close\r\n\r\n{}"),
        b"HTTP/1.0 200\r\n\r\n{}",
    ],
)
async def test_answers(answer: bytes) -> None:
    async def serve(wire: Wire) -> None:
        await wire.read_message()
        await wire.send(answer)

    assert (await ask(serve)).body == b"{}"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (head(100, b"a: b\r\n\r\n") * 20_000, "sent interim answers of more than 262144 bytes"),
        (head(101), "switched to another protocol, without being asked"),
        (b"", "closed the connection"),
        (b"HTTP/1.1 200", "broke off its answer"),
        (b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\n{}", "broke off its answer"),
        (b"HTTP/2 200 OK\r\n\r\n", "sent a malformed answer: its first line is malformed"),
        (b"<html>\r\n\r\n", "sent a malformed answer: its first line is malformed"),
        (b"SSH-2.0-x\n", "sent a malformed answer: its head holds a control character"),
        (b"HTTP/1.1 200 OK\r\na: " + b"b" * 300_000, "its head is longer than 262144 bytes"),
        (
            head(200, b"transfer-encoding: chunked\r\n\r\nx\r\n"),
            "sent a malformed answer: a chunk size is malformed",
        ),
        (head(200, b"content-length: 1\r\ncontent-length: 2\r\n\r\n{}"), "Content-Length is given twice"),
        (head(200, b"content-length: 2\r\ncontent-encoding: gzip\r\n\r\n{}"), "sent a malformed answer"),
        (head(204, b"\r\n"), "status [204], and not as Elasticsearch does"),
        (head(201), "status [201], and not as Elasticsearch does"),
        (head(302, b"location: /\r\ncontent-length: 0\r\n\r\n"), "status [302], and not as Elasticsearch"),
        (head(304, b"\r\n"), "status [304], and not as Elasticsearch does"),
        (head(600), "status [600], and not as Elasticsearch does"),
        (head(999), "status [999], and not as Elasticsearch does"),
    ],
)
async def test_what_is_not_an_answer(answer: bytes, reason: str) -> None:
    async def serve(wire: Wire) -> None:
        await wire.read_message()
        await wire.send(answer)

    with pytest.raises(ElasticsearchError) as raised:
        await ask(serve)
    assert raised.value.status == 502
    assert reason in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"[]", b"{}", b'"error"', b'{"error":', b"\xff", b"[" * 99_999]
)
@pytest.mark.parametrize("status", [400, 401, 403, 404, 429, 500, 502, 503])
async def test_an_error_of_something_else_keeps_its_status(body: bytes, status: int) -> None:
    rest = b"WWW-Authenticate: x\r\ncontent-length: %d\r\n\r\n" % len(body)
    serve, _ = answering(head(status, rest) + body)
    reply = await ask(serve, target="/a/_search?q=secret")
    error = json.loads(reply.body)
    assert reply.status == error["status"] == status
    assert ("WWW-Authenticate", "x") in reply.headers
    assert error["error"]["reason"] == (
        f"upstream answered [POST /a/_search] with status [{status}], and not as Elasticsearch does"
    )


@pytest.mark.parametrize(
    "body",
    [b'{"error":"no handler","status":400}', b'{"error":{"type":"x","reason":"\\ud800"},"status":400}'],
)
async def test_an_error_of_elasticsearch_stays(body: bytes) -> None:
    serve, _ = answering(head(400, b"content-length: %d\r\n\r\n" % len(body)) + body)
    assert (await ask(serve)).body == body


@given(st.data())
def test_an_answer_is_the_same_in_any_pieces(data: st.DataObject) -> None:
    chunks = data.draw(st.lists(st.binary(min_size=1, max_size=5), max_size=4))
    framed = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks)
    sent = (
        b"HTTP/1.1 100 X\r\n\r\nHTTP/1.1 200 X\r\ntransfer-encoding: chunked\r\n\r\n" + framed + b"0\r\n\r\n"
    )
    reader = AnswerReader(100)
    cuts = sorted(data.draw(st.sets(st.integers(1, len(sent) - 1), max_size=10)))
    for start, end in zip([0, *cuts], [*cuts, len(sent)], strict=True):
        assert not reader.done
        reader.feed(sent[start:end])
    assert reader.done
    assert reader.reusable
    assert b"".join(reader.pieces) == b"".join(chunks)
