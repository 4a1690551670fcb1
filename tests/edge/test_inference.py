"""Inference endpoints: the application is asked about all of them, and upstream about those that it does not
have.
"""

import gzip
import json

import pytest

from tests.edge.conftest import Relay, StartRelay
from tests.support.raw_http import OK, Message, Wire, answering

OURS = b"HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nours"
PASS = b"HTTP/1.1 421 Misdirected Request\r\nX-Rerank-Proxy: pass\r\ncontent-length: 0\r\n\r\n"


def sent(line: str, body: bytes = b"", *fields: bytes) -> bytes:
    """A request; without a body there is no length either."""
    length = [b"content-length: %d" % len(body)] if body else []
    return b"\r\n".join((line.encode() + b" HTTP/1.1", b"hOST: a", *fields, *length)) + b"\r\n\r\n" + body


CHUNKED = (
    b"PUT /_inference/rerank/x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"3;x=y\r\n{}\n\r\n0\r\nT: 1\r\n\r\n"
)
REQUESTS = [
    sent("GET /_inference"),
    sent("GET /_inference/_all?pretty", b"{}"),
    sent("GET /_inference/rerank/a%2Fb"),
    sent("PUT /_inference/rerank/x?timeout=1s", b'{"service": "cohere"}'),
    sent("PUT /_inference/x/_update", b"not JSON \xff"),
    sent("POST /_inference/x/_update", b"{}"),
    sent("POST /_inference/x", gzip.compress(b"{}"), b"Content-Encoding: gzip"),
    sent("POST /_inference/rerank/x/_stream", b" " * 100_000),
    sent("DELETE /_inference/x?dry_run=true"),
    sent("GET /_inference/_services/rerank/"),
    CHUNKED,
]
OTHERS = [
    sent("PUT /_inference/text_embedding/x", b"{}"),
    sent("GET /_inference/sparse_embedding/_all"),
    sent("DELETE /_inference/completion/x"),
    sent("POST /_inference/chat_completion/x/_stream", b"{}"),
    sent("POST /_inference/embedding/x", gzip.compress(b"{}"), b"Content-Encoding: gzip"),
]


@pytest.mark.parametrize("request_", [*REQUESTS, *OTHERS], ids=lambda raw: raw[:40].decode())
async def test_the_application_gets_it_as_it_came(start_relay: StartRelay, request_: bytes) -> None:
    serve, at_upstream = answering(OK)
    app, at_app = answering(OURS)
    relay = await start_relay(serve, app=app)
    client = await relay.connect()
    for _ in range(2):
        await client.send(request_)
        assert (await client.read_message()).raw == OURS
    assert [request.raw for request in at_app] == [request_] * 2
    assert at_upstream == []
    assert relay.metric("rerank_proxy_requests_total", kind="rerank", code="404") == 2
    assert relay.metric("rerank_proxy_buffered_bytes") == 0


@pytest.mark.parametrize("request_", [*REQUESTS, *OTHERS], ids=lambda raw: raw[:40].decode())
async def test_what_the_application_passes_goes_upstream_as_it_came(
    start_relay: StartRelay, request_: bytes
) -> None:
    serve, at_upstream = answering(OK)
    app, at_app = answering(PASS)
    relay = await start_relay(serve, app=app)
    client = await relay.connect()
    for _ in range(2):
        await client.send(request_)
        assert (await client.read_message()).raw == OK
    assert [request.raw for request in at_app] == [request_] * 2
    assert [request.raw for request in at_upstream] == [request_] * 2
    assert relay.metric("rerank_proxy_buffered_bytes") == 0


@pytest.mark.parametrize(
    "request_",
    [
        sent("HEAD /_inference/x"),
        sent("OPTIONS /_inference"),
        sent("PATCH /_inference/x", b"{}"),
        sent("GET /_inferences"),
        sent("POST //_inference/x", b"{}"),
        sent("PUT /i/_inference", b"{}"),
    ],
    ids=lambda raw: raw[:30].decode(),
)
async def test_other_methods_and_paths_are_upstreams(start_relay: StartRelay, request_: bytes) -> None:
    serve, at_upstream = answering(OK)
    app, at_app = answering(OURS)
    client = await (await start_relay(serve, app=app)).connect()
    await client.send(request_)
    assert (await client.read_message(has_body=not request_.startswith(b"HEAD"))).status == 200
    assert [request.raw for request in at_upstream] == [request_]
    assert at_app == []


class TestApplicationAbsent:
    async def check_ours(self, relay: Relay, at_upstream: list[Message]) -> None:
        for request in REQUESTS:
            client = await relay.connect()
            await client.send(request)
            answer = await client.read_message()
            assert answer.status == 503
            assert json.loads(answer.body)["error"]["type"] == "status_exception"
        assert at_upstream == []

    async def check_others(self, relay: Relay, at_upstream: list[Message]) -> None:
        client = await relay.connect()
        for request in OTHERS:
            await client.send(request)
            assert (await client.read_message()).raw == OK
            assert at_upstream[-1].raw == request
        assert len(at_upstream) == len(OTHERS)
        assert relay.metric("rerank_proxy_requests_total", kind="search", code="200") == len(OTHERS)

    async def test_it_is_not_there_yet(self, start_relay: StartRelay) -> None:
        serve, at_upstream = answering(OK)
        relay = await start_relay(serve)
        await self.check_ours(relay, at_upstream)

    async def test_other_tasks_are_upstreams_meanwhile(self, start_relay: StartRelay) -> None:
        serve, at_upstream = answering(OK)
        await self.check_others(await start_relay(serve), at_upstream)

    async def test_it_dies_before_it_answers(self, start_relay: StartRelay) -> None:
        async def app(wire: Wire) -> None:
            await wire.read_message()
            wire.reset()

        serve, at_upstream = answering(OK)
        relay = await start_relay(serve, app=app)
        await self.check_ours(relay, at_upstream)
        await self.check_others(relay, at_upstream)

    async def test_what_may_have_changed_something_is_not_sent_again(self, start_relay: StartRelay) -> None:
        asked = []

        async def app(wire: Wire) -> None:
            asked.append((await wire.read_message()).raw)
            await wire.send(OURS)
            asked.append((await wire.read_message()).raw)
            wire.reset()

        serve, at_upstream = answering(OK)
        client = await (await start_relay(serve, app=app)).connect()
        for request, status in ((REQUESTS[0], 404), (REQUESTS[3], 503)):
            await client.send(request)
            assert (await client.read_message()).status == status
        assert asked == [REQUESTS[0], REQUESTS[3]]
        assert at_upstream == []


async def test_a_body_beyond_the_limit(start_relay: StartRelay) -> None:
    serve, at_upstream = answering(OK)
    app, at_app = answering(OURS)
    client = await (await start_relay(serve, {"edge": {"max_body": 1000}}, app=app)).connect()
    await client.send(sent("POST /_inference/x", b" " * 1001))
    assert (await client.read_message()).status == 413
    assert at_app == at_upstream == []
