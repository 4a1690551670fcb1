"""Clients that vanish or dawdle at any byte of any request: nothing of them is left, others are served."""

import asyncio
from collections.abc import Callable

import pytest

from tests.edge.conftest import StartRelay
from tests.edge.samples import GET, SEARCH
from tests.support.left_behind import LeftBehind
from tests.support.raw_http import OK, TIMEOUT_S, Wire, answering

CHUNKED = b"POST /_bulk HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"
RERANKED_BODY = b'{"retriever":{"text_similarity_reranker":{}}}'
RERANKED = b"POST /_search HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(RERANKED_BODY) + RERANKED_BODY
REQUESTS = {"get": GET, "search": SEARCH, "bulk": CHUNKED, "reranked": RERANKED}
LARGE = b"HTTP/1.1 200 OK\r\ncontent-length: 3000000\r\n\r\n" + bytes(3_000_000)

Leave = Callable[[Wire], object]
WAYS: dict[str, Leave] = {"reset": Wire.reset, "end": Wire.end_sending}


async def dawdling(wire: Wire) -> None:
    """Read requests, and answer none."""
    while True:
        await wire.read_message()


@pytest.mark.parametrize("kind", REQUESTS)
@pytest.mark.parametrize("way", WAYS)
async def test_vanishing_within_a_request_or_while_waiting(
    start_relay: StartRelay, kind: str, way: str
) -> None:
    request = REQUESTS[kind]
    relay = await start_relay(dawdling, app=dawdling)
    left = await LeftBehind().begin()
    for sent in (0, 1, *range(7, len(request), 7), len(request) - 1, len(request)):
        client = await relay.connect()
        await client.send(request[:sent])
        WAYS[way](client)
        assert await client.ended()
        await client.close()
        await left.settled()
    await left.assert_nothing()


@pytest.mark.parametrize("kind", ["get", "reranked"])
async def test_vanishing_within_an_answer(start_relay: StartRelay, kind: str) -> None:
    relay = await start_relay(answering(LARGE)[0], app=answering(LARGE)[0])
    left = await LeftBehind().begin()
    for got in (1, 20, 100, 1_000_000):
        client = await relay.connect()
        await client.send(REQUESTS[kind])
        assert await client.read(got) == LARGE[:got]
        client.reset()
        await left.settled()
    await left.assert_nothing()


@pytest.mark.parametrize("kind", REQUESTS)
async def test_byte_by_byte(start_relay: StartRelay, kind: str) -> None:
    serve, requests = answering(OK)
    relay = await start_relay(serve, app=serve)
    left = await LeftBehind().begin()
    slow, quick = await relay.connect(), await relay.connect()
    for at in range(len(REQUESTS[kind])):
        await slow.send(REQUESTS[kind][at : at + 1])
        if at % 20 == 0:
            await quick.send(GET)
            assert (await quick.read_message()).raw == OK
    assert (await slow.read_message()).raw == OK
    assert [each.raw for each in requests if each.raw != GET or kind == "get"][-1] == REQUESTS[kind]
    for client in (slow, quick):
        await client.close()
    await left.assert_nothing()


async def test_many_that_stall_do_not_hold_up_one(start_relay: StartRelay) -> None:
    relay = await start_relay(answering(OK)[0])
    left = await LeftBehind().begin()
    stalled = [await relay.connect() for _ in range(100)]
    for number, client in enumerate(stalled):
        request = [*REQUESTS.values()][number % len(REQUESTS)]
        await client.send(request[: number % len(request)])
    client = await relay.connect()
    await client.send(GET)
    assert (await asyncio.wait_for(client.read_message(), TIMEOUT_S)).raw == OK
    for each in (*stalled, client):
        each.reset()
    await left.assert_nothing()
