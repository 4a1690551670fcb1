"""Invariant: plain requests and their answers pass with the same bytes."""

import gzip
import zlib

import pytest

from rerank_proxy.http.answer_reader import MAX_HEADS
from tests.edge.conftest import StartRelay
from tests.support.raw_http import OK, Wire, answering

TARGETS = [
    b"/%3Clogs-%7Bnow%2Fd%7D%3E/_doc/1",
    b"/<logs-{now/d}>/_doc/1",
    b"/i/_doc/a%2Fb%2fc",
    b"/a/../b/./c",
    b"//i//_search",
    b"/x?q=a%3Ab&%7e=%41&%zz",
    b"/x?pretty&a=1&a=2;b=3&&c=+%20",
    b"/_search?",
    b"/x?q=1#frag",
    b"/n\xc3\xb6p\xe2\x82\xac/_doc/\xff",
    b"*",
    b"http://elsewhere.example/p",
    b"/" + b"x" * 5000,
]


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target[:20].decode("latin-1"))
@pytest.mark.parametrize("method", [b"GET", b"OPTIONS", b"FOO", b"pOsT"])
async def test_target_and_method(start_relay: StartRelay, target: bytes, method: bytes) -> None:
    serve, requests = answering(OK)
    client = await (await start_relay(serve)).connect()
    sent = method + b" " + target + b" HTTP/1.1\r\nHost: h\r\n\r\n"
    await client.send(sent)
    assert (await client.read_message()).raw == OK
    assert [request.raw for request in requests] == [sent]


async def test_header_spelling_order_duplicates_and_odd_bytes(start_relay: StartRelay) -> None:
    answer = (
        b"HTTP/1.1 200 \xc4\xdch\r\nX-elastic-product: Elasticsearch\r\nWarning: 299 a\r\nwarning: 299 b\r\n"
        b"X-B:1\r\nX-b:  2  \r\nx-latin: \xe9\xff\r\nContent-Length: 3\r\nX-Empty:\r\n\r\nabc"
    )
    serve, requests = answering(answer)
    client = await (await start_relay(serve)).connect()
    sent = (
        b"PUT /i HTTP/1.1\r\nx-a: 1\r\nX-A: 2\r\nX-a:3\r\nUser-Agent: a\r\nuser-agent: b\r\nhOsT: h:1\r\n"
        b"Authorization: Basic \xe9\r\nACCEPT: */*\r\nX-Empty:\r\nX-Tab: a\tb\r\ncontent-length: 2\r\n\r\n{}"
    )
    await client.send(sent)
    assert (await client.read_message()).raw == answer
    assert requests[0].raw == sent


async def test_no_header_is_added(start_relay: StartRelay) -> None:
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n"
    serve, requests = answering(answer)
    client = await (await start_relay(serve)).connect()
    await client.send(b"POST / HTTP/1.1\r\n\r\n")
    assert (await client.read_message()).raw == answer
    assert requests[0].raw == b"POST / HTTP/1.1\r\n\r\n"


async def test_hop_by_hop_headers_stay_on_their_hop(start_relay: StartRelay) -> None:
    serve, requests = answering(
        b"HTTP/1.1 200 OK\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\nKeep-Alive: timeout=5\r\n"
        b"content-length: 2\r\n\r\nok"
    )
    client = await (await start_relay(serve)).connect()
    await client.send(
        b"POST /i/_doc HTTP/1.1\r\nA: 1\r\nConnection: Upgrade, HTTP2-Settings, x-mine\r\nUpgrade: h2c\r\n"
        b"HTTP2-Settings: AAMA\r\nX-Mine: 1\r\nTE: trailers\r\ncontent-length: 2\r\nB: 2\r\n\r\n{}"
    )
    assert (await client.read_message()).raw == b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    assert requests[0].raw == b"POST /i/_doc HTTP/1.1\r\nA: 1\r\ncontent-length: 2\r\nB: 2\r\n\r\n{}"


@pytest.mark.parametrize("path", [b"/i/_doc", b"/i/_search"])
@pytest.mark.parametrize(
    ("coding", "body"),
    [
        (b"gzip", gzip.compress(b'{"query":{"match_all":{}}}')),
        (b"deflate", zlib.compress(b"{}")),
        (b"gzip", b"corrupt"),
        (b"br", b"\x8b\x00\x80{}\x03"),
        (b"identity", bytes(range(256))),
    ],
)
async def test_bodies_are_not_decoded_on_the_way(
    start_relay: StartRelay, path: bytes, coding: bytes, body: bytes
) -> None:
    packed = gzip.compress(b'{"hits":[]}')
    answer = b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(packed) + packed
    serve, requests = answering(answer)
    client = await (await start_relay(serve)).connect()
    sent = b"POST %b HTTP/1.1\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n" % (
        path,
        coding,
        len(body),
    )
    await client.send(sent + body)
    assert (await client.read_message()).raw == answer
    assert requests[0].raw == sent + body


@pytest.mark.parametrize("path", [b"/_bulk", b"/i/_search", b"/_msearch"])
async def test_chunks_extensions_and_trailers_pass_as_they_are(start_relay: StartRelay, path: bytes) -> None:
    chunks = b'00a;x=y;z="q;"\r\n{"a":"b"}\n\r\n1\r\n\n\r\n0;last\r\nX-Trailer: t\r\nx-trailer:u\r\n\r\n'
    answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\nTrailer: X-Trailer\r\n\r\n" + chunks
    serve, requests = answering(answer)
    client = await (await start_relay(serve)).connect()
    sent = b"POST %b HTTP/1.1\r\nTransfer-Encoding: Chunked\r\nTrailer: X-Trailer\r\n\r\n" % path + chunks
    await client.send(sent)
    assert (await client.read_message()).raw == answer
    assert requests[0].raw == sent


@pytest.mark.parametrize("method", [b"GET", b"DELETE", b"PUT", b"POST", b"PATCH"])
async def test_any_method_may_have_a_body(start_relay: StartRelay, method: bytes) -> None:
    serve, requests = answering(OK)
    client = await (await start_relay(serve)).connect()
    sent = method + b" /_search/scroll HTTP/1.1\r\ncontent-length: 19\r\n\r\n" + b'{"scroll_id":"abc"}'
    await client.send(sent)
    assert (await client.read_message()).raw == OK
    assert requests[0].raw == sent


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 204 No Content\r\nX-a: b\r\n\r\n",
        b"HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n",
        b"HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\n{}",
        b"HTTP/1.1 503\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
        b"HTTP/1.1 421 Misdirected Request\r\nx-rerank-proxy: pass\r\ncontent-length: 2\r\n\r\nno",
    ],
)
async def test_answers_with_and_without_a_body(start_relay: StartRelay, answer: bytes) -> None:
    serve, _ = answering(answer, OK)
    client = await (await start_relay(serve)).connect()
    for expected in (answer, OK):  # the second one shows that the first one's end was found
        await client.send(b"GET / HTTP/1.1\r\n\r\n")
        assert (await client.read_message()).raw == expected


@pytest.mark.parametrize("framing", [b"content-length: 353", b"transfer-encoding: chunked", b"x: y"])
async def test_answer_to_head_keeps_its_framing_and_has_no_body(
    start_relay: StartRelay, framing: bytes
) -> None:
    answer = b"HTTP/1.1 404 Not Found\r\n" + framing + b"\r\n\r\n"
    serve, _ = answering(answer)
    client = await (await start_relay(serve)).connect()
    for _ in range(2):
        await client.send(b"HEAD /i HTTP/1.1\r\n\r\n")
        assert (await client.read_message(has_body=False)).raw == answer


async def test_big_bodies_stream_both_ways(start_relay: StartRelay) -> None:
    big = bytes(range(256)) * 40_000
    answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(big) + big
    serve, requests = answering(answer)
    client = await (await start_relay(serve)).connect()
    sent = b"POST /_bulk HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % len(big)
    await client.send(sent + big)
    assert (await client.read_message()).raw == answer
    assert requests[0].raw == sent + big


@pytest.mark.parametrize("path", [b"/i/_doc", b"/i/_search"])
async def test_every_byte_by_itself_both_ways(start_relay: StartRelay, path: bytes) -> None:
    """Chunks of one byte, and each byte of heads and framing in a piece of its own."""
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in b'{"a":"b"}') + b"0\r\nX-Trailer: t\r\n\r\n"
    answer = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + chunks
    sent = b"POST %b HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n" % path + chunks
    requests: list[bytes] = []

    async def serve(wire: Wire) -> None:
        while True:
            requests.append((await wire.read_message()).raw)
            await wire.send(*(b"%c" % byte for byte in answer))

    client = await (await start_relay(serve)).connect()
    for _ in range(2):
        await client.send(*(b"%c" % byte for byte in sent))
        assert (await client.read_message()).raw == answer
    assert requests == [sent, sent]


async def test_answers_before_the_answer(start_relay: StartRelay) -> None:
    interim = (
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\nX: 1\r\n\r\n"
        b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\nLink: </b>\r\n\r\nHTTP/1.1 199\r\n\r\n"
    )
    serve, _ = answering(interim + OK)
    client = await (await start_relay(serve)).connect()
    for _ in range(2):
        await client.send(b"GET / HTTP/1.1\r\n\r\n")
        assert await client.read(len(interim + OK)) == interim + OK


@pytest.mark.parametrize("fields", [1, 2000])
async def test_a_long_head_of_an_answer(start_relay: StartRelay, fields: int) -> None:
    lines = b"Warning: %b\r\n" % (b"w" * ((MAX_HEADS - 200) // fields - 11)) * fields
    answer = b"HTTP/1.1 200 OK\r\n%bcontent-length: 2\r\n\r\nok" % lines
    assert len(answer) > MAX_HEADS * 0.9
    serve, _ = answering(answer)
    client = await (await start_relay(serve)).connect()
    await client.send(b"GET / HTTP/1.1\r\n\r\n")
    assert await client.read(len(answer)) == answer


@pytest.mark.parametrize("end", [b"", b"\r\n\r\n"])
async def test_a_head_of_megabytes_is_upstreams_fault(start_relay: StartRelay, end: bytes) -> None:
    async def serve(wire: Wire) -> None:
        await wire.read_message()
        await wire.send(b"HTTP/1.1 200 OK\r\nX: " + b"x" * 16 * 1024 * 1024 + end)
        await wire.ended()

    client = await (await start_relay(serve)).connect()
    await client.send(b"GET / HTTP/1.1\r\n\r\n")
    answer = await client.read_message()
    assert answer.status == 502
    assert b"malformed answer" in answer.body


class TestHost:
    ASKED = b"GET / HTTP/1.1\r\nA: 1\r\nHOST: client.example:1\r\nB: 2\r\n\r\n"

    async def test_is_the_clients_for_a_local_upstream(self, start_relay: StartRelay) -> None:
        serve, requests = answering(OK)
        client = await (await start_relay(serve)).connect()
        await client.send(self.ASKED)
        await client.read_message()
        assert requests[0].raw == self.ASKED

    async def test_is_upstreams_on_demand(self, start_relay: StartRelay) -> None:
        serve, requests = answering(OK)
        relay = await start_relay(serve, {"upstream": {"host_header": "upstream"}})
        client = await relay.connect()
        await client.send(self.ASKED)
        await client.read_message()
        host = b"127.0.0.1:%d" % relay.upstream.port
        assert requests[0].raw == self.ASKED.replace(b"client.example:1", host)
