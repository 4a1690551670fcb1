"""Searches: what is buffered, inspected, and sent to the application."""

import asyncio
import gzip
import json
import random
import zlib
from pathlib import Path
from urllib.parse import quote

import pytest

from tests.edge.conftest import Relay, StartRelay
from tests.support.raw_http import OK, TIMEOUT_S, Message, Serve, Wire, answering, raw_server
from tests.support.waiting import until_true

OURS = b'{"retriever":{"text_similarity_reranker":{"field":"plot"}}}'
ESCAPED = OURS.replace(b"_", rb"\u005f", 1)
NOT_OURS = b'{"query":{"match":{"plot":"caf\\u00e9"}}}'
RERANKED = b"HTTP/1.1 200 OK\r\nX-Rerank: applied\r\ncontent-length: 8\r\n\r\nreranked"
PASS = b"HTTP/1.1 421 Misdirected Request\r\nX-Rerank-Proxy: pass\r\ncontent-length: 0\r\n\r\n"


def post(body: bytes, path: bytes = b"/films/_search", *fields: bytes) -> bytes:
    lines = (b"POST " + path + b" HTTP/1.1", *fields, b"content-length: %d" % len(body))
    return b"\r\n".join(lines) + b"\r\n\r\n" + body


def chunked(body: bytes, path: bytes = b"/films/_search", size: int = 7) -> bytes:
    pieces = [body[i : i + size] for i in range(0, len(body), size)]
    chunks = b"".join(b"%x;x=y\r\n%b\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\nT: 1\r\n\r\n"
    return b"POST " + path + b" HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks


def noise(size: int) -> bytes:
    """Bytes that do not compress."""
    return random.Random(size).randbytes(size)


@pytest.mark.parametrize(
    "sent",
    [
        post(OURS),
        post(ESCAPED),
        post(OURS, b"/_search"),
        post(OURS, b"/a,b/_search/?size=3"),
        post(OURS).replace(b"POST", b"GET", 1),
        post(b"{}\n" + OURS + b"\n", b"/_msearch"),
        post(OURS, b"/films/_async_search"),
        post(OURS, b"/_search/template"),
        post(gzip.compress(OURS), b"/_search", b"Content-Encoding: gzip"),
        post(gzip.compress(ESCAPED), b"/_search", b"content-encoding: GZIP"),
        post(zlib.compress(OURS), b"/_search", b"Content-Encoding: deflate"),
        post(gzip.compress(noise(100_000) + OURS), b"/_search", b"Content-Encoding: gzip"),
        post(b" " * 3_000_000 + OURS),
        chunked(OURS),
        chunked(b" " * 200_000 + OURS, size=1000),
        b"GET /_search?source=" + quote(OURS).encode() + b" HTTP/1.1\r\n\r\n",
        post(b"{}", b"/_search?source=" + quote(OURS).encode()),
    ],
    ids=lambda sent: f"{sent[:28].decode()} {len(sent)}",
)
async def test_what_mentions_the_retriever_goes_to_the_application_as_it_came(
    start_relay: StartRelay, sent: bytes
) -> None:
    serve, at_upstream = answering(OK)
    app, at_app = answering(RERANKED)
    relay = await start_relay(serve, app=app)
    client = await relay.connect()
    for _ in range(2):
        await client.send(sent)
        assert (await client.read_message()).raw == RERANKED
    assert [request.raw for request in at_app] == [sent, sent]
    assert at_upstream == []
    assert relay.metric("rerank_proxy_requests_total", kind="rerank", code="200") == 2
    assert relay.metric("rerank_proxy_buffered_bytes") == 0


@pytest.mark.parametrize(
    "sent",
    [
        post(NOT_OURS),
        post(b""),
        b"POST /_search HTTP/1.1\r\n\r\n",
        b"GET /films/_search?q=title:x HTTP/1.1\r\n\r\n",
        post(b"not JSON at all \xff\xfe"),
        post(gzip.compress(NOT_OURS), b"/_search", b"Content-Encoding: gzip"),
        post(b"corrupt", b"/_search", b"Content-Encoding: gzip"),
        post(gzip.compress(OURS), b"/_search"),
        post(b" " * 3_000_000),
        chunked(NOT_OURS),
        chunked(b" " * 200_000, size=1000),
        post(OURS, b"/films/_doc"),
        post(OURS, b"/films/_bulk"),
        post(OURS, b"/films/_search").replace(b"POST", b"PUT", 1),
        post(OURS, b"/_search/scroll"),
        post(b'{"query": "FROM films | RERANK \\"crime\\" ON plot"}', b"/_query"),
        post(b'{"query": "FROM films | RERANK \\"crime\\" ON plot"}', b"/_query/async"),
        post(OURS, b"//films/_search"),
    ],
    ids=lambda sent: f"{sent[:28].decode()} {len(sent)}",
)
async def test_everything_else_goes_upstream_as_it_came(start_relay: StartRelay, sent: bytes) -> None:
    serve, at_upstream = answering(OK)
    app, at_app = answering(RERANKED)
    relay = await start_relay(serve, app=app)
    client = await relay.connect()
    for _ in range(2):
        await client.send(sent)
        assert (await client.read_message()).raw == OK
    assert [request.raw for request in at_upstream] == [sent, sent]
    assert at_app == []
    assert relay.metric("rerank_proxy_buffered_bytes") == 0


@pytest.mark.parametrize(
    "passed",
    [
        PASS,
        PASS.replace(b"content-length: 0\r\n\r\n", b"content-length: 2\r\n\r\nno"),
        PASS.replace(b"content-length: 0\r\n\r\n", b"Transfer-Encoding: chunked\r\n\r\n"),
    ],
    ids=["empty", "sized", "unfinished"],
)
async def test_what_the_application_passes_goes_upstream_as_it_came(
    start_relay: StartRelay, passed: bytes
) -> None:
    serve, at_upstream = answering(OK)
    app, at_app = answering(passed)
    relay = await start_relay(serve, {"upstream": {"host_header": "upstream"}}, app=app)
    client = await relay.connect()
    sent = post(OURS, b"/_search", b"Host: client.example")
    for _ in range(2):
        await client.send(sent)
        assert (await client.read_message()).raw == OK
    assert [request.raw for request in at_app] == [sent, sent]
    own = sent.replace(b"client.example", b"127.0.0.1:%d" % relay.upstream.port)
    assert [request.raw for request in at_upstream] == [own, own]
    assert relay.metric("rerank_proxy_requests_total", kind="search", code="200") == 2
    assert relay.metric("rerank_proxy_requests_total", kind="rerank", code="421") == 0


async def test_a_421_without_the_mark_is_the_answer(start_relay: StartRelay) -> None:
    serve, _ = answering(OK)
    answer = b"HTTP/1.1 421 x\r\ncontent-length: 2\r\n\r\nno"
    app, _ = answering(answer)
    client = await (await start_relay(serve, app=app)).connect()
    await client.send(post(OURS))
    assert (await client.read_message()).raw == answer


async def test_answers_of_the_application_may_stream(start_relay: StartRelay) -> None:
    serve, _ = answering(OK)
    answer = (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
        + b"186a0\r\n"
        + b"x" * 100_000
        + b"\r\n0\r\n\r\n"
    )
    app, _ = answering(answer)
    client = await (await start_relay(serve, app=app)).connect()
    await client.send(post(OURS))
    assert (await client.read_message()).raw == answer


class TestApplicationAbsent:
    async def check_unavailable(self, relay: Relay) -> None:
        client = await relay.connect()
        await client.send(post(OURS, b"/_search", b"X-Opaque-Id: me"))
        answer = await client.read_message()
        assert answer.status == 503
        assert answer.field("retry-after") == "1"
        assert answer.field("x-opaque-id") == "me"
        error = json.loads(answer.body)
        assert error["error"]["type"] == "status_exception"
        assert "reranking process" in error["error"]["reason"]
        await client.send(post(NOT_OURS))  # on the same connection: plain searches go on
        assert (await client.read_message()).raw == OK

    async def test_not_there_yet(self, start_relay: StartRelay) -> None:
        serve, _ = answering(OK)
        await self.check_unavailable(await start_relay(serve))

    async def test_socket_without_a_process(self, start_relay: StartRelay, app_socket: Path) -> None:
        serve, _ = answering(OK)
        async with raw_server(serve, path=app_socket):
            pass
        relay = await start_relay(serve)
        await self.check_unavailable(relay)

    async def test_killed_while_it_works(self, start_relay: StartRelay) -> None:
        async def app(wire: Wire) -> None:
            await wire.read_message()
            wire.reset()

        serve, at_upstream = answering(OK)
        relay = await start_relay(serve, app=app)
        await self.check_unavailable(relay)
        assert len(at_upstream) == 1

    async def test_killed_while_it_answers(self, start_relay: StartRelay) -> None:
        async def app(wire: Wire) -> None:
            await wire.read_message()
            await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf")

        serve, _ = answering(OK)
        client = await (await start_relay(serve, app=app)).connect()
        await client.send(post(OURS))
        assert await client.read_to_end() == b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"

    async def test_started_again(self, start_relay: StartRelay, app_socket: Path) -> None:
        serve, _ = answering(OK)
        relay = await start_relay(serve)
        client = await relay.connect()
        for round_ in range(2):
            app, _ = answering(RERANKED)
            async with raw_server(app, path=app_socket):
                await client.send(post(OURS))
                assert (await client.read_message()).raw == RERANKED, round_

    async def test_nothing_is_sent_to_it_twice(self, start_relay: StartRelay) -> None:
        """It may have had the texts scored by a vendor who is paid for it."""
        serve, at_upstream = answering(OK)
        app, asked = closing_when_used_again()
        relay = await start_relay(serve, app=app)
        client = await relay.connect()
        for expected in (200, 503):
            await client.send(post(OURS))
            assert (await client.read_message()).status == expected
        assert (len(asked), len(at_upstream)) == (2, 0)
        assert relay.metric("rerank_proxy_upstream_retries_total") == 0


def closing_when_used_again() -> tuple[Serve, list[Message]]:
    """An application that answers once on each connection, and ends it when it is used again."""
    asked: list[Message] = []

    async def serve(wire: Wire) -> None:
        asked.append(await wire.read_message())
        await wire.send(RERANKED)
        asked.append(await wire.read_message())

    return serve, asked


PERHAPS = [
    b'{"retriever":{"rrf":{"retrievers":[]}}}',
    b'{"retriever":{"linear":{"retrievers":[]}}}',
    b'{"retriever":{"pinned":{"ids":[]}}}',
]


class TestRetrieversThatUpstreamMayKnow:
    """The application is asked first; without it they are upstream's, not an error."""

    @pytest.mark.parametrize("body", PERHAPS)
    @pytest.mark.parametrize("answer", [PASS, RERANKED], ids=["passed on", "evaluated"])
    async def test_the_application_decides(self, start_relay: StartRelay, body: bytes, answer: bytes) -> None:
        serve, at_upstream = answering(OK)
        app, at_app = answering(answer)
        client = await (await start_relay(serve, app=app)).connect()
        for sent in (post(body), post(gzip.compress(body), b"/_search", b"Content-Encoding: gzip")):
            await client.send(sent)
            assert (await client.read_message()).raw == (OK if answer == PASS else RERANKED)
            assert at_app.pop().raw == sent
            assert [request.raw for request in at_upstream] == ([sent] if answer == PASS else [])
            at_upstream.clear()

    async def check_upstream(self, relay: Relay, at_upstream: list[Message]) -> None:
        client = await relay.connect()
        for number, body in enumerate(PERHAPS, 1):
            await client.send(post(body))
            assert (await client.read_message()).raw == OK
            assert at_upstream[-1].raw == post(body)
            assert len(at_upstream) == number
        assert relay.metric("rerank_proxy_requests_total", kind="search", code="200") == len(PERHAPS)
        assert relay.metric("rerank_proxy_requests_total", kind="rerank", code="503") == 0
        assert relay.metric("rerank_proxy_buffered_bytes") == 0

    async def test_it_is_not_there_yet(self, start_relay: StartRelay) -> None:
        serve, at_upstream = answering(OK)
        await self.check_upstream(await start_relay(serve), at_upstream)

    async def test_the_socket_is_closed(self, start_relay: StartRelay, app_socket: Path) -> None:
        serve, at_upstream = answering(OK)
        async with raw_server(serve, path=app_socket):
            pass
        await self.check_upstream(await start_relay(serve), at_upstream)

    @pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\ncontent-le", b"no HTTP"])
    async def test_it_dies_before_it_answers(self, start_relay: StartRelay, begun: bytes) -> None:
        async def app(wire: Wire) -> None:
            await wire.read_message()
            await wire.send(begun)

        serve, at_upstream = answering(OK)
        relay = await start_relay(serve, app=app)
        await self.check_upstream(relay, at_upstream)

    async def test_a_kept_connection_that_it_closed(self, start_relay: StartRelay) -> None:
        serve, at_upstream = answering(OK)
        app, asked = closing_when_used_again()
        client = await (await start_relay(serve, app=app)).connect()
        for expected in (RERANKED, OK):
            await client.send(post(PERHAPS[0]))
            assert (await client.read_message()).raw == expected
        assert (len(asked), len(at_upstream)) == (2, 1)

    async def test_half_an_answer_stays_half_an_answer(self, start_relay: StartRelay) -> None:
        half = b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf"

        async def app(wire: Wire) -> None:
            await wire.read_message()
            await wire.send(half)

        serve, at_upstream = answering(OK)
        client = await (await start_relay(serve, app=app)).connect()
        await client.send(post(PERHAPS[0]))
        assert await client.read_to_end() == half
        assert at_upstream == []

    async def test_an_error_of_the_application_is_the_answer(self, start_relay: StartRelay) -> None:
        error = b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 2\r\n\r\n{}"
        serve, at_upstream = answering(OK)
        app, _ = answering(error)
        client = await (await start_relay(serve, app=app)).connect()
        await client.send(post(PERHAPS[0]))
        assert (await client.read_message()).raw == error
        assert at_upstream == []

    async def test_upstream_is_not_there_either(self, start_relay: StartRelay) -> None:
        async def serve(wire: Wire) -> None:
            await wire.read_message()
            wire.reset()

        client = await (await start_relay(serve)).connect()
        await client.send(post(PERHAPS[0]))
        answer = await client.read_message()
        assert answer.status == 502
        assert b"Elasticsearch at" in answer.body


class TestLimits:
    MAX_BODY = 10_000

    async def start(
        self, start_relay: StartRelay, max_buffered: int = 1 << 20
    ) -> tuple[Relay, list[Message]]:
        serve, requests = answering(OK)
        edge = {"max_body": self.MAX_BODY, "max_buffered": max_buffered}
        return await start_relay(serve, {"edge": edge}), requests

    @pytest.mark.parametrize("expect", [(), (b"Expect: 100-continue",)])
    async def test_announced_too_long(self, start_relay: StartRelay, expect: tuple[bytes, ...]) -> None:
        relay, requests = await self.start(start_relay)
        client = await relay.connect()
        sent = post(b"x" * (self.MAX_BODY + 1), b"/_search", *expect)
        await client.send(sent.partition(b"\r\n\r\n")[0] + b"\r\n\r\n")
        answer = await client.read_to_end()
        assert answer == (
            b"HTTP/1.1 413 Request Entity Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        )
        assert requests == []

    async def test_grown_too_long(self, start_relay: StartRelay) -> None:
        relay, requests = await self.start(start_relay)
        client = await relay.connect()
        sending = asyncio.create_task(client.send(chunked(b"x" * 5_000_000, size=5000)))
        assert (await client.read_message()).status == 413
        await sending
        assert await client.read_to_end() == b""
        assert requests == []
        assert relay.metric("rerank_proxy_buffered_bytes") == 0

    async def test_of_the_longest_size(self, start_relay: StartRelay) -> None:
        relay, requests = await self.start(start_relay)
        client = await relay.connect()
        await client.send(post(b"x" * self.MAX_BODY))
        assert (await client.read_message()).status == 200
        assert len(requests) == 1

    async def test_other_requests_than_searches_have_none(self, start_relay: StartRelay) -> None:
        relay, requests = await self.start(start_relay)
        client = await relay.connect()
        await client.send(post(b"x" * 3 * self.MAX_BODY, b"/_bulk"))
        assert (await client.read_message()).status == 200
        assert len(requests[0].body) == 3 * self.MAX_BODY

    async def test_of_all_together(self, start_relay: StartRelay) -> None:
        relay, requests = await self.start(start_relay, max_buffered=15_000)
        first = await relay.connect()
        await first.send(post(b"x" * 10_000)[:-1])  # all but the last byte
        await until_true(lambda: relay.metric("rerank_proxy_buffered_bytes") == 9_999)
        second = await relay.connect()
        await second.send(post(b"y" * 10_000, b"/_search", b"X-Opaque-Id: me"))
        answer = await second.read_message()
        assert answer.status == 429
        assert answer.field("x-opaque-id") == "me"
        assert json.loads(answer.body)["error"]["type"] == "es_rejected_execution_exception"
        await first.send(b"x")
        assert (await first.read_message()).status == 200
        third = await relay.connect()
        await third.send(post(b"z" * 10_000))
        assert (await third.read_message()).status == 200
        assert len(requests) == 2
        assert relay.metric("rerank_proxy_requests_total", kind="search", code="429") == 1

    @pytest.mark.parametrize("end", ["close", "reset"])
    async def test_bytes_of_a_client_that_left_count_no_longer(
        self, start_relay: StartRelay, end: str
    ) -> None:
        relay, _ = await self.start(start_relay)
        client = await relay.connect()
        await client.send(post(b"x" * 10_000)[:-1])
        await until_true(lambda: relay.metric("rerank_proxy_buffered_bytes") > 0)
        if end == "reset":
            client.reset()
        else:
            await client.close()
        await until_true(lambda: relay.metric("rerank_proxy_client_connections") == 0)
        assert relay.metric("rerank_proxy_buffered_bytes") == 0

    @pytest.mark.parametrize("size", [1_000_000, 60_000_000], ids=["small", "big"])
    async def test_decompression_bomb_is_upstreams_to_refuse(
        self, start_relay: StartRelay, size: int
    ) -> None:
        serve, requests = answering(OK)
        app, at_app = answering(RERANKED)
        relay = await start_relay(serve, {"edge": {"max_body": 500_000}}, app=app)
        client = await relay.connect()
        bomb = post(gzip.compress(b" " * size + OURS), b"/_search", b"Content-Encoding: gzip")
        await client.send(bomb)
        assert (await client.read_message()).raw == OK
        assert requests[0].raw == bomb
        assert at_app == []


async def test_plain_requests_are_served_while_a_long_body_is_looked_into(start_relay: StartRelay) -> None:
    serve, _ = answering(OK)
    relay = await start_relay(serve, {"edge": {"max_inflation": 2000}})
    searcher, other = await relay.connect(), await relay.connect()
    slow = gzip.compress(b" " * 90_000_000 + OURS)
    await searcher.send(post(slow, b"/_search", b"Content-Encoding: gzip"))
    answer = asyncio.create_task(searcher.read_message())
    served = 0
    while not answer.done():
        await other.send(b"GET / HTTP/1.1\r\n\r\n")
        assert (await other.read_message()).raw == OK
        served += 1
    assert (await asyncio.wait_for(answer, TIMEOUT_S)).status == 503
    assert served > 1
