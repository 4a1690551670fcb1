"""`_ml/trained_models`: the application's where clients may upload models, else Elasticsearch's."""

import pytest

from tests.edge.conftest import StartRelay
from tests.support.raw_http import OK, answering

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nours"
PASS = b"HTTP/1.1 421 Misdirected Request\r\nx-rerank-proxy: pass\r\ncontent-length: 0\r\n\r\n"
BODY = b"Host: a\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"

OURS = [
    b"GET /_ml/trained_models HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /_ml/trained_models/?size=1 HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /_ml/trained_models/mine/_stats HTTP/1.1\r\nHost: a\r\n\r\n",
    b"PUT /_ml/trained_models/mine HTTP/1.1\r\n" + BODY,
    b"PUT /_ml/trained_models/mine/definition/0 HTTP/1.1\r\n" + BODY,
    b"POST /_ml/trained_models/mine/deployment/_start?timeout=1s HTTP/1.1\r\nHost: a\r\n\r\n",
    b"DELETE /_ml/trained_models/mine?force HTTP/1.1\r\nHost: a\r\n\r\n",
]
THEIRS = [
    b"GET /_ml/info HTTP/1.1\r\nHost: a\r\n\r\n",
    b"GET /_ml/trained_models_of_others HTTP/1.1\r\nHost: a\r\n\r\n",
    b"PUT /_ml/anomaly_detectors/trained_models HTTP/1.1\r\n" + BODY,
    b"OPTIONS /_ml/trained_models HTTP/1.1\r\nHost: a\r\n\r\n",
]


@pytest.mark.parametrize("upload", [True, False])
async def test_where_requests_go(start_relay: StartRelay, *, upload: bool) -> None:
    serve, at_upstream = answering(OK)
    app, at_app = answering(ANSWER)
    relay = await start_relay(serve, {"trained_models": {"upload": upload}}, app=app)
    client = await relay.connect()
    for request in (*OURS, *THEIRS):
        await client.send(request)
        assert (await client.read_message()).status == 200
    assert [request.raw for request in at_app] == (OURS if upload else [])
    assert [request.raw for request in at_upstream] == (THEIRS if upload else [*OURS, *THEIRS])


async def test_what_is_upstreams_after_all_arrives_there_as_it_came(start_relay: StartRelay) -> None:
    serve, at_upstream = answering(OK)
    app, at_app = answering(PASS)
    relay = await start_relay(serve, {"trained_models": {"upload": True}}, app=app)
    client = await relay.connect()
    for request in OURS:
        await client.send(request)
        assert (await client.read_message()).status == 200
    assert [request.raw for request in at_app] == OURS
    assert [request.raw for request in at_upstream] == OURS


async def test_without_the_application_nothing_goes_astray(start_relay: StartRelay) -> None:
    serve, at_upstream = answering(OK)
    relay = await start_relay(serve, {"trained_models": {"upload": True}})
    client = await relay.connect()
    await client.send(OURS[3])
    assert (await client.read_message()).status == 503
    assert at_upstream == []
