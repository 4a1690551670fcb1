"""The application's HTTP server: what the edge lets through is taken, and no page is a library's."""

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from rerank_proxy.app.listener import Listener
from rerank_proxy.http.head import parse_request
from rerank_proxy.http.messages import Request, Response
from tests.support.raw_http import TIMEOUT_S, Message, connect

BODY = b'{"a":1}'
SIZED = b"Content-Length: %d\r\n" % len(BODY)
CHUNKED = b'3 ; a="b;\xff"\r\n{"a\r\n04\r\n":1}\r\n0;x\r\nX-Trailer: 1\r\n\r\n'


@asynccontextmanager
async def serving(
    handle: Callable[[Request], Awaitable[Response]], shutdown_timeout_s: float = 10
) -> AsyncIterator[tuple[Listener, int]]:
    listener = Listener(handle, shutdown_timeout_s)
    sock = socket.create_server(("127.0.0.1", 0))
    await listener.start(sock)
    try:
        yield listener, sock.getsockname()[1]
    finally:
        await listener.close()


class Echo:
    """Keeps what it is asked."""

    def __init__(self) -> None:
        self.requests: list[Request] = []

    async def __call__(self, request: Request) -> Response:
        self.requests.append(request)
        return Response(200, [("X-Opaque-Id", request.headers.get("X-Opaque-Id", ""))], b"ok")


def head(target: bytes = b"/_search", fields: bytes = SIZED, version: bytes = b"1.1") -> bytes:
    return b"POST %b HTTP/%b\r\n%b\r\n" % (target, version, fields)


ODD = {
    "no host": head(),
    "HTTP/1.0": head(version=b"1.0"),
    "bytes beyond ASCII in the target": head(b"/caf\xe9/_search?\xff=%0a#?"),
    "an absolute target": head(b"http://[::x/_search"),
    "no slash": head(b"_search"),
    "a long target": head(b"/" + b"a" * 60_000 + b"/_search"),
    "thousands of fields": head(fields=b"a: b\r\n" * 10_000 + SIZED),
    "a long field": head(fields=b"a: " + b"b" * 60_000 + b"\r\n" + SIZED),
    "two types": head(fields=b"Content-Type: a\r\ncontent-type: b\r\n" + SIZED),
    "two agents": head(fields=b"User-Agent: a\r\nUser-Agent: b\r\nETag: a\r\nETag: b\r\n" + SIZED),
    "an old web socket": head(fields=b"Sec-WebSocket-Key1: a\r\n" + SIZED),
    "a range": head(fields=b"Range: x\r\nContent-Range: y\r\nMax-Forwards: z\r\n" + SIZED),
    "no text": head(fields=b"A: \xff\xfe\r\nB:\r\nCookie: \xe9=;;\r\n" + SIZED),
    "an unknown coding": head(fields=b"Content-Encoding: br\r\n" + SIZED),
    "chunks": head(fields=b"Transfer-Encoding: chunked\r\n"),
}


@pytest.mark.parametrize("sent", ODD.values(), ids=ODD.keys())
async def test_what_the_edge_lets_through_is_taken(sent: bytes) -> None:
    edge = parse_request(sent)  # else it never comes here
    echo = Echo()
    async with serving(echo) as (_, port), connect(port) as wire:
        await wire.send(sent + (CHUNKED if edge.chunked else BODY))
        answer = await wire.read_message()
    assert (answer.status, answer.body) == (200, b"ok")
    (request,) = echo.requests
    assert (request.method, request.target.encode("latin-1")) == ("POST", edge.target)
    assert request.body == BODY
    lines = [name + b": " + value for name, value in request.raw_headers]
    assert [line.rstrip() for line in sent.split(b"\r\n")[1:-2]] == [line.rstrip() for line in lines] or (
        b"B:" in sent  # which has no space
    )


def check_error(answer: Message, status: int) -> str:
    """It is one of Elasticsearch's; returns its reason."""
    error = json.loads(answer.body)
    assert answer.status == error["status"] == status
    assert answer.field("content-type") == "application/json"
    assert answer.field("server") is answer.field("date") is None
    reason: str = error["error"]["reason"]
    return reason


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"\x16\x03\x01\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\n\r\n", 400),
        (b"GET /a b HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nA : b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: gzip\r\n\r\n", 501),
        (b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", 400),
    ],
)
async def test_what_is_not_a_request_is_refused_in_elasticsearchs_shape(sent: bytes, status: int) -> None:
    async with serving(Echo()) as (_, port), connect(port) as wire:
        await wire.send(sent)
        check_error(await wire.read_message(), status)
        assert await wire.read_to_end() == b""


async def test_a_defect_is_an_error_in_elasticsearchs_shape(caplog: pytest.LogCaptureFixture) -> None:
    async def fail(request: Request) -> Response:
        raise AssertionError("a defect")

    async with serving(fail) as (_, port), connect(port) as wire:
        await wire.send(head(fields=b"X-Opaque-Id: \xe9\r\n" + SIZED) + BODY)
        answer = await wire.read_message()
    assert check_error(answer, 500) == "rerank-proxy failed; its log has the details"
    assert answer.field("x-opaque-id") == "\xe9"
    assert "a defect" in caplog.text


@pytest.mark.parametrize("value", ["a\r\nX: y", "a\nb", "\x00"])
async def test_no_header_can_end_its_line(value: str, caplog: pytest.LogCaptureFixture) -> None:
    async def inject(request: Request) -> Response:
        return Response(200, [("X-Rerank", value)])

    async with serving(inject) as (_, port), connect(port) as wire:
        await wire.send(head() + BODY)
        check_error(await wire.read_message(), 500)


async def test_requests_one_after_the_other_in_any_pieces() -> None:
    echo = Echo()
    async with serving(echo) as (_, port), connect(port) as wire:
        sent = b"".join(head(b"/%d" % number) + BODY for number in range(3))
        await wire.send(*(sent[at : at + 1] for at in range(len(sent))))
        for _ in range(3):
            assert (await wire.read_message()).body == b"ok"
    assert [request.target for request in echo.requests] == ["/0", "/1", "/2"]


async def test_requests_ahead_of_their_turn_wait() -> None:
    echo = Echo()
    async with serving(echo) as (_, port), connect(port) as wire:
        size = 100_000
        await wire.send(*[head(fields=b"Content-Length: %d\r\n" % size) + bytes(size)] * 3)
        for _ in range(3):
            assert (await wire.read_message()).body == b"ok"
    assert [len(request.body) for request in echo.requests] == [size] * 3


async def test_a_client_that_leaves_ends_its_request() -> None:
    begun, ended = asyncio.Event(), asyncio.Event()

    async def never(request: Request) -> Response:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()
        raise AssertionError

    async with serving(never) as (_, port):
        async with connect(port) as wire:
            await wire.send(head() + BODY)
            await asyncio.wait_for(begun.wait(), TIMEOUT_S)
        await asyncio.wait_for(ended.wait(), TIMEOUT_S)


async def test_the_end_waits_for_answers_under_way() -> None:
    begun, may_end = asyncio.Event(), asyncio.Event()
    long = bytes(10_000_000)

    async def slow(request: Request) -> Response:
        begun.set()
        await may_end.wait()
        return Response(200, (), long)

    async with serving(slow) as (listener, port), connect(port) as idle, connect(port) as wire:
        await wire.send(head() + BODY)
        await begun.wait()
        closing = asyncio.create_task(listener.close())
        assert await idle.read_to_end() == b""
        may_end.set()
        answer = await wire.read_message()
        assert (answer.field("connection"), answer.body) == ("close", long)
        await closing


async def test_the_end_does_not_wait_for_ever() -> None:
    begun = asyncio.Event()

    async def never(request: Request) -> Response:
        begun.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with serving(never, shutdown_timeout_s=0.01) as (listener, port), connect(port) as wire:
        await wire.send(head() + BODY)
        await begun.wait()
        await listener.close()
        assert await wire.ended()


async def test_what_a_head_announces_is_sent() -> None:
    async def empty(request: Request) -> Response:
        return Response(421, [("x-rerank-proxy", "pass")])

    async with serving(empty) as (_, port), connect(port) as wire:
        await wire.send(head() + BODY)
        answer = await wire.read_message()
    expected = b"HTTP/1.1 421 Misdirected Request\r\nx-rerank-proxy: pass\r\ncontent-length: 0\r\n\r\n"
    assert answer.raw == expected
