"""Answers of `_nodes`: they name the proxy where upstream names its nodes, and are otherwise the same."""

import gzip
import json
import re
import zlib

import pytest

from rerank_proxy.edge.node_addresses import MAX_HELD
from tests.edge.conftest import Relay, StartRelay
from tests.support.raw_http import Message, Wire, answering

UPSTREAM = b"127.0.0.1:9200"
NODE = (
    b'"%b":{"transport":{"publish_address":"127.0.0.1:9300"},'
    b'"http":{"bound_address":["%b"],"publish_address":"%b"}}'
)
BODY = b'{"nodes":{%b}}' % NODE % (b"a", UPSTREAM, UPSTREAM)
JSON = b"HTTP/1.1 200 OK\r\nX-elastic-product: Elasticsearch\r\ncontent-type: application/json\r\n"


def sized(body: bytes, fields: bytes = b"", head: bytes = JSON) -> bytes:
    return b"%b%bCONTENT-LENGTH:  %d\r\nx-last: 1\r\n\r\n%b" % (head, fields, len(body), body)


def chunked(*pieces: bytes, head: bytes = JSON) -> bytes:
    chunks = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
    return head + b"transfer-encoding: chunked\r\n\r\n" + chunks + b"0\r\n\r\n"


def dechunked(body: bytes) -> bytes:
    content = b""
    while size := int(body.partition(b"\r\n")[0], 16):
        _, _, body = body.partition(b"\r\n")
        content += body[:size]
        body = body[size + 2 :]
    return content


def moved(body: bytes, address: bytes) -> bytes:
    return body.replace(UPSTREAM, address)


async def asked(relay: Relay, target: bytes = b"/_nodes/http", fields: bytes = b"Host: p:1\r\n") -> Message:
    client = await relay.connect()
    await client.send(b"GET " + target + b" HTTP/1.1\r\n" + fields + b"\r\n")
    return await client.read_message()


TARGETS = [
    b"/_nodes",
    b"_nodes/",
    b"/_nodes?pretty",
    b"/_nodes/http",
    b"/_nodes/_all/http",
    b"/_nodes/a,b/http,settings?flat_settings=true",
    b"/_nodes/a/info/http",
    b"/_nodes/stats-node/http",
]
OTHER_TARGETS = [
    b"/_cluster/state",
    b"/_cat/nodes?h=http",
    b"/i/_doc/_nodes",
    b"/_nodes/stats",
    b"/_nodes/stats/http",
    b"/_nodes/a/stats/http?x",
    b"/_nodes/hot_threads",
    b"/_nodes/a/hotthreads",
    b"/_nodes/usage",
    b"/_nodes_other",
]


@pytest.mark.parametrize("target", TARGETS)
async def test_the_addresses_are_the_proxys(start_relay: StartRelay, target: bytes) -> None:
    serve, requests = answering(sized(BODY))
    answer = await asked(await start_relay(serve), target)
    assert answer.raw == sized(moved(BODY, b"p:1"))
    assert requests[0].raw == b"GET %b HTTP/1.1\r\nHost: p:1\r\n\r\n" % target


@pytest.mark.parametrize("target", OTHER_TARGETS)
async def test_other_answers_stay(start_relay: StartRelay, target: bytes) -> None:
    serve, _ = answering(sized(BODY))
    assert (await asked(await start_relay(serve), target)).raw == sized(BODY)


@pytest.mark.parametrize(
    "answer",
    [
        sized(BODY, head=JSON.replace(b"200 OK", b"404 Not Found")),
        sized(BODY, head=JSON.replace(b"json", b"smile")),
        sized(BODY, head=JSON.replace(b"application/json", b"text/plain")),
        sized(BODY, b"content-encoding: br\r\n"),
        sized(b""),
    ],
)
async def test_what_holds_no_addresses_or_cannot_be_read_stays(
    start_relay: StartRelay, answer: bytes
) -> None:
    serve, _ = answering(answer)
    assert (await asked(await start_relay(serve))).raw == answer


@pytest.mark.parametrize(
    ("content_type", "before", "after"),
    [
        (
            b"application/vnd.elasticsearch+yaml;compatible-with=9",
            b'---\nnodes:\n  a:\n    http:\n      publish_address: "x:1"\n',
            b'---\nnodes:\n  a:\n    http:\n      publish_address: "p:1"\n',
        ),
        (
            b"application/cbor",
            b"\xbf\x65nodes\xbf\x61a\xbf\x64http\xbf\x6fpublish_address\x63x:1\xff\xff\xff\xff",
            b"\xbf\x65nodes\xbf\x61a\xbf\x64http\xbf\x6fpublish_address\x63p:1\xff\xff\xff\xff",
        ),
    ],
)
async def test_other_formats(
    start_relay: StartRelay, content_type: bytes, before: bytes, after: bytes
) -> None:
    head = JSON.replace(b"application/json", content_type)
    serve, _ = answering(sized(before, head=head))
    assert (await asked(await start_relay(serve))).raw == sized(after, head=head)


async def test_the_setting_switches_it_off(start_relay: StartRelay) -> None:
    serve, _ = answering(sized(BODY))
    relay = await start_relay(serve, {"edge": {"rewrite_node_addresses": False}})
    assert (await asked(relay)).raw == sized(BODY)


@pytest.mark.parametrize("address", ["search.example:443", "[2001:db8::1]:9200"])
async def test_the_setting_names_the_address(start_relay: StartRelay, address: str) -> None:
    serve, _ = answering(sized(BODY))
    relay = await start_relay(serve, {"edge": {"public_address": address}})
    assert (await asked(relay)).raw == sized(moved(BODY, address.encode()))


@pytest.mark.parametrize(
    ("fields", "address"),
    [
        (b"Host: p\r\n", b"p:80"),
        (b"Host: p\r\nX-Forwarded-Proto: https\r\n", b"p:443"),
        (b"host: 10.0.0.1:65535\r\n", b"10.0.0.1:65535"),
        (b"Host: [::1]:9201\r\n", b"[::1]:9201"),
        (b"Host: [::1]\r\n", b"[::1]:80"),
        (b"Host: under_score.Example:09201\r\n", b"under_score.Example:9201"),
    ],
)
async def test_the_address_is_the_hosts(start_relay: StartRelay, fields: bytes, address: bytes) -> None:
    serve, _ = answering(sized(BODY))
    assert (await asked(await start_relay(serve), fields=fields)).raw == sized(moved(BODY, address))


@pytest.mark.parametrize(
    "fields",
    [
        b"",
        b"Host:\r\n",
        b"Host: :9200\r\n",
        b'Host: x","y":"z:1\r\n',
        b"Host: x\\u0022:1\r\n",
        b"Host: user@p:1\r\n",
        b"Host: p/q:1\r\n",
        b"Host: p\xc3\xa9:1\r\n",
        b"Host: p:0\r\n",
        b"Host: p:65536\r\n",
        b"Host: p:1, q:2\r\n",
        b"Host: [x]:1\r\n",
        b"Host: [12]:1\r\n",
        b"Host: -p:1:2\r\n",
        b"Host: " + b"p" * 300 + b":1\r\n",
    ],
)
async def test_a_host_that_is_none_gets_the_address_of_the_connection(
    start_relay: StartRelay, fields: bytes
) -> None:
    serve, _ = answering(sized(BODY))
    relay = await start_relay(serve)
    own = b"127.0.0.1:%d" % relay.edge.address.port
    assert (await asked(relay, fields=fields)).raw == sized(moved(BODY, own))


@pytest.mark.parametrize("address", [b"p:1", b"a-much-longer-name.of.the-proxy.example:12345"])
async def test_chunks(start_relay: StartRelay, address: bytes) -> None:
    serve, _ = answering(chunked(*(BODY[at : at + 1] for at in range(len(BODY)))))
    answer = await asked(await start_relay(serve), fields=b"Host: %b\r\n" % address)
    assert answer.head == JSON + b"transfer-encoding: chunked\r\n\r\n"
    assert dechunked(answer.body) == moved(BODY, address)


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
@pytest.mark.parametrize("in_chunks", [False, True])
async def test_a_compressed_answer_is_compressed_again(
    start_relay: StartRelay, coding: str, in_chunks: bool
) -> None:
    packed = gzip.compress(BODY, 3) if coding == "gzip" else zlib.compress(BODY, 3)
    fields = b"content-encoding: %b\r\n" % coding.encode()
    upstreams = chunked(packed[:9], packed[9:], head=JSON + fields) if in_chunks else sized(packed, fields)
    serve, _ = answering(upstreams)
    answer = await asked(await start_relay(serve))
    content = dechunked(answer.body) if in_chunks else answer.body
    assert (gzip if coding == "gzip" else zlib).decompress(content) == moved(BODY, b"p:1")
    head = upstreams.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"
    assert answer.head == re.sub(rb"(LENGTH:  )\d+", rb"\g<1>%d" % len(content), head)


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
async def test_an_answer_until_the_end_of_the_connection(start_relay: StartRelay, version: bytes) -> None:
    async def serve(wire: Wire) -> None:
        await wire.read_message()
        await wire.send(JSON + b"\r\n" + BODY[:40], BODY[40:])

    client = await (await start_relay(serve)).connect()
    await client.send(b"GET /_nodes/http HTTP/%b\r\nHost: p:1\r\n\r\n" % version)
    assert (await client.read_to_end()).partition(b"\r\n\r\n")[2] == moved(BODY, b"p:1")


@pytest.mark.parametrize("upstreams", [sized(BODY), chunked(BODY[:9], BODY[9:])])
async def test_http_1_0(start_relay: StartRelay, upstreams: bytes) -> None:
    serve, _ = answering(upstreams)
    client = await (await start_relay(serve)).connect()
    await client.send(b"GET /_nodes/http HTTP/1.0\r\nHost: p:1\r\n\r\n")
    assert (await client.read_to_end()).partition(b"\r\n\r\n")[2] == moved(BODY, b"p:1")


def of_many_nodes() -> bytes:
    count = 3 * MAX_HELD // len(NODE)
    return b'{"nodes":{%b}}' % b",".join(NODE % (b"n%d" % n, UPSTREAM, UPSTREAM) for n in range(count))


async def test_a_large_answer_is_sent_in_chunks(start_relay: StartRelay) -> None:
    """Its new length is not known before all of it has come, and not all of it is held."""
    large = of_many_nodes()
    serve, _ = answering(sized(large))
    relay = await start_relay(serve)
    answer = await asked(relay)
    assert answer.head == JSON + b"transfer-encoding: chunked\r\nx-last: 1\r\n\r\n"
    assert dechunked(answer.body) == moved(large, b"p:1")
    assert json.loads(moved(large, b"p:1"))

    client = await relay.connect()
    await client.send(b"GET /_nodes/http HTTP/1.0\r\nHost: p:1\r\n\r\n")
    head, _, body = (await client.read_to_end()).partition(b"\r\n\r\n")
    assert head + b"\r\n\r\n" == JSON + b"x-last: 1\r\n\r\n"
    assert body == moved(large, b"p:1")


@pytest.mark.parametrize(
    ("upstreams", "reason"),
    [
        (sized(gzip.compress(BODY)[:-1], b"content-encoding: gzip\r\n"), "it ends too early"),
        (sized(b"no gzip", b"content-encoding: gzip\r\n"), "corrupt"),
        (sized(BODY)[:-1], "closed the connection"),
    ],
)
async def test_an_answer_that_cannot_be_completed_is_one_error(
    start_relay: StartRelay, upstreams: bytes, reason: str
) -> None:
    async def serve(wire: Wire) -> None:
        await wire.read_message()
        await wire.send(upstreams)

    answer = await asked(await start_relay(serve))
    assert answer.status == 502
    assert reason in answer.body.decode()


async def test_the_connections_are_used_again(start_relay: StartRelay) -> None:
    serve, requests = answering(sized(BODY), chunked(BODY), sized(BODY))
    relay = await start_relay(serve)
    client = await relay.connect()
    for _ in range(3):
        await client.send(b"GET /_nodes HTTP/1.1\r\nHost: p:1\r\n\r\n")
        assert moved(BODY, b"p:1") in (await client.read_message()).body
    assert len(requests) == 3
    assert len(relay.upstream.wires) == 1


async def test_head_has_no_body(start_relay: StartRelay) -> None:
    head = sized(BODY)[: -len(BODY)]
    serve, _ = answering(head)
    client = await (await start_relay(serve)).connect()
    await client.send(b"HEAD /_nodes/http HTTP/1.1\r\nHost: p:1\r\n\r\n")
    assert (await client.read_message(has_body=False)).raw == head
