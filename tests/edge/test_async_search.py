"""Asynchronous searches: the application keeps its own, Elasticsearch keeps the others."""

import pytest

from rerank_proxy.async_search_id import new_id
from tests.edge.conftest import StartRelay
from tests.support.raw_http import OK, Wire, answering

OURS = new_id().encode()
THEIRS = b"FmRldE8zREVEUzA2ZVpUeGs2ejJFUFEaMkZ5QTVrSTZSaVN3WlNFVmtlWHJsdzoxMDc="
KEPT = b"HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nkept"


def requests_for(search: bytes) -> list[bytes]:
    return [
        b"GET /_async_search/" + search + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /_async_search/" + search + b"?wait_for_completion_timeout=1s HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /_async_search/status/" + search + b"/ HTTP/1.1\r\nHost: a\r\n\r\n",
        b"DELETE /_async_search/" + search + b" HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET /_async_search/" + search + b" HTTP/1.1\r\nContent-Length: 2\r\n\r\n{}",
    ]


async def test_ours_are_the_applications(start_relay: StartRelay) -> None:
    serve, at_upstream = answering(OK)
    app, at_app = answering(KEPT)
    relay = await start_relay(serve, app=app)
    client = await relay.connect()
    for sent in requests_for(OURS):
        await client.send(sent)
        assert (await client.read_message()).raw == KEPT
    assert [request.raw for request in at_app] == requests_for(OURS)
    assert at_upstream == []


@pytest.mark.parametrize("method", [b"POST", b"HEAD", b"PUT"])
async def test_theirs_and_other_methods_are_elasticsearchs(start_relay: StartRelay, method: bytes) -> None:
    serve, at_upstream = answering(OK)
    app, at_app = answering(KEPT)
    relay = await start_relay(serve, app=app)
    sent = [*requests_for(THEIRS), requests_for(OURS)[0].replace(b"GET", method, 1)]
    for request in sent:
        client = await relay.connect()
        await client.send(request)
        assert (await client.read_message(has_body=not request.startswith(b"HEAD"))).status == 200
    assert [request.raw for request in at_upstream] == sent
    assert at_app == []


async def test_a_deletion_that_may_have_been_carried_out_is_not_sent_again(start_relay: StartRelay) -> None:
    asked = []

    async def app(wire: Wire) -> None:
        asked.append(await wire.read_message())
        await wire.send(KEPT)
        asked.append(await wire.read_message())
        wire.reset()

    serve, at_upstream = answering(OK)
    client = await (await start_relay(serve, app=app)).connect()
    get, delete = requests_for(OURS)[0], requests_for(OURS)[3]
    await client.send(get)
    assert (await client.read_message()).raw == KEPT
    await client.send(delete)
    assert (await client.read_message()).status == 503
    assert [request.raw for request in asked] == [get, delete]
    assert at_upstream == []
