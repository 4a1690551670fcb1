"""What either side does wrong, and what the other side sees of it."""

import asyncio
import json
import socket

import pytest

from rerank_proxy.edge import connection as connection_module
from rerank_proxy.edge import server as server_module
from tests.edge.conftest import StartRelay
from tests.edge.samples import BULK, GET, SEARCH
from tests.support.raw_http import OK, TIMEOUT_S, Wire, answering, unconnectable
from tests.support.waiting import until_true


class TestUpstreamFails:
    async def test_refused(self, start_relay: StartRelay) -> None:
        with socket.socket() as unused:
            unused.bind(("127.0.0.1", 0))  # bound but not listening: connections are refused
            url = f"http://127.0.0.1:{unused.getsockname()[1]}"
            serve, _ = answering(OK)
            relay = await start_relay(serve, {"upstream": {"url": url}})
            client = await relay.connect()
            for sent in (GET, SEARCH, BULK):
                await client.send(sent)
                answer = await client.read_message()
                assert answer.status == 502
                assert answer.field("x-elastic-product") == "Elasticsearch"
                error = json.loads(answer.body)
                assert error["status"] == 502
                assert f"[{url}]: connection refused" in error["error"]["reason"]

    async def test_head_gets_no_body(self, start_relay: StartRelay) -> None:
        async def serve(wire: Wire) -> None:
            await wire.read_message()

        client = await (await start_relay(serve)).connect()
        await client.send(b"HEAD / HTTP/1.1\r\nConnection: close\r\n\r\n")
        answer = await client.read_to_end()
        assert answer.startswith(b"HTTP/1.1 502 ")
        assert answer.endswith(b"\r\n\r\n")

    async def test_connect_timeout(self, start_relay: StartRelay) -> None:
        with unconnectable() as port:
            serve, _ = answering(OK)
            relay = await start_relay(
                serve, {"upstream": {"url": f"http://127.0.0.1:{port}", "connect_timeout_s": 0.05}}
            )
            client = await relay.connect()
            await client.send(GET)
            answer = await client.read_message()
            assert answer.status == 502
            assert b"no connection within [upstream.connect_timeout_s: 0.05s]" in answer.body

    @pytest.mark.parametrize(
        "answer",
        [
            b"",
            b"HTTP/1.1 200 OK\r\nconte",
            b"220 smtp ready\r\n\r\n",
            b"HTTP/1.1 200 OK\nA: 1\n\n",
            b"HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nx",
            b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
            b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nA: " + b"x" * 300_000,
            b"\x15\x03\x03\x00\x02\x02\x0a\n",
        ],
        ids=lambda answer: answer[:12].decode("latin-1") + str(len(answer)),
    )
    async def test_an_invalid_answer_is_a_502(self, start_relay: StartRelay, answer: bytes) -> None:
        async def serve(wire: Wire) -> None:
            await wire.read_message()
            await wire.send(answer)
            wire.end_sending()
            await wire.ended()

        relay = await start_relay(serve)
        client = await relay.connect()
        for _ in range(2):  # the client's connection lives on
            await client.send(GET)
            reply = await client.read_message()
            assert reply.status == 502
            assert relay.upstream.url in json.loads(reply.body)["error"]["reason"]

    @pytest.mark.parametrize("end", ["close", "reset"])
    @pytest.mark.parametrize("framing", [b"content-length: 100", b"transfer-encoding: chunked"])
    async def test_dies_in_the_middle_of_an_answer(
        self, start_relay: StartRelay, end: str, framing: bytes
    ) -> None:
        part = b"HTTP/1.1 200 OK\r\n" + framing + b"\r\n\r\n5\r\nhello\r\n"
        received = asyncio.Event()

        async def serve(wire: Wire) -> None:
            await wire.read_message()
            await wire.send(part)
            await asyncio.wait_for(received.wait(), TIMEOUT_S)
            if end == "reset":
                wire.reset()

        client = await (await start_relay(serve)).connect()
        await client.send(GET)
        assert await client.read(len(part)) == part
        received.set()
        assert await client.read_to_end() == b""

    async def test_malformed_chunk_in_the_middle_of_an_answer(self, start_relay: StartRelay) -> None:
        part = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n"
        received = asyncio.Event()

        async def serve(wire: Wire) -> None:
            await wire.read_message()
            await wire.send(part)
            await asyncio.wait_for(received.wait(), TIMEOUT_S)
            await wire.send(b"zz\r\n")
            await wire.ended()

        client = await (await start_relay(serve)).connect()
        await client.send(GET)
        assert await client.read(len(part)) == part
        received.set()
        assert await client.read_to_end() == b""

    async def test_reset_of_an_answer_until_close_is_a_reset_for_the_client(
        self, start_relay: StartRelay
    ) -> None:
        """Nothing else tells it from a complete answer."""
        received = asyncio.Event()

        async def serve(wire: Wire) -> None:
            await wire.read_message()
            await wire.send(b"HTTP/1.1 200 OK\r\n\r\nhalf")
            await asyncio.wait_for(received.wait(), TIMEOUT_S)
            wire.reset()

        client = await (await start_relay(serve)).connect()
        await client.send(GET)
        await client.read_head()
        assert await client.read(4) == b"half"
        received.set()
        with pytest.raises(ConnectionResetError):
            await client.read_to_end()

    async def test_dies_while_the_request_is_still_sent(self, start_relay: StartRelay) -> None:
        async def serve(wire: Wire) -> None:
            await wire.read_head()
            wire.reset()

        client = await (await start_relay(serve)).connect()
        await client.send(b"POST /_bulk HTTP/1.1\r\ncontent-length: 4000000\r\n\r\n")
        sending = asyncio.create_task(client.send(*[b"x" * 100_000] * 40))
        assert (await client.read_message()).status == 502
        await sending
        assert await client.read_to_end() == b""


class TestClientLeaves:
    @pytest.mark.parametrize("end", ["close", "reset", "half"])
    @pytest.mark.parametrize("sent", [GET, SEARCH, b"POST /_bulk HTTP/1.1\r\ncontent-length: 9\r\n\r\nhalf"])
    async def test_upstreams_connection_is_closed_at_once(
        self, start_relay: StartRelay, end: str, sent: bytes
    ) -> None:
        arrived, closed = asyncio.Event(), asyncio.Event()

        async def serve(wire: Wire) -> None:
            await wire.read_head()
            await wire.read(len(sent.partition(b"\r\n\r\n")[2]))
            arrived.set()
            await wire.ended()
            closed.set()

        relay = await start_relay(serve)
        client = await relay.connect()
        await client.send(sent)
        await asyncio.wait_for(arrived.wait(), TIMEOUT_S)
        if end == "close":
            await client.close()
        elif end == "reset":
            client.reset()
        else:
            client.end_sending()
        await asyncio.wait_for(closed.wait(), TIMEOUT_S)
        kind = "search" if sent == SEARCH else "plain"
        assert relay.metric("rerank_proxy_requests_total", kind=kind, code="499") == 1
        assert relay.metric("rerank_proxy_upstream_connections", state="idle") == 0

    async def test_in_the_middle_of_an_answer(self, start_relay: StartRelay) -> None:
        closed = asyncio.Event()

        async def serve(wire: Wire) -> None:
            await wire.read_message()
            try:
                await wire.send(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
                while True:
                    await wire.send(b"10000\r\n" + b"x" * 65536 + b"\r\n")
            except ConnectionError:
                closed.set()

        client = await (await start_relay(serve)).connect()
        await client.send(GET)
        await client.read(1_000_000)
        client.reset()
        await asyncio.wait_for(closed.wait(), TIMEOUT_S)

    async def test_while_the_application_works(self, start_relay: StartRelay) -> None:
        arrived, closed = asyncio.Event(), asyncio.Event()

        async def app(wire: Wire) -> None:
            await wire.read_message()
            arrived.set()
            await wire.ended()
            closed.set()

        serve, _ = answering(OK)
        client = await (await start_relay(serve, app=app)).connect()
        body = b'{"text_similarity_reranker":0}'
        await client.send(b"POST /_search HTTP/1.1\r\ncontent-length: %d\r\n\r\n" % len(body) + body)
        await asyncio.wait_for(arrived.wait(), TIMEOUT_S)
        await client.close()
        await asyncio.wait_for(closed.wait(), TIMEOUT_S)

    async def test_with_half_a_head(self, start_relay: StartRelay) -> None:
        serve, requests = answering(OK)
        relay = await start_relay(serve)
        client = await relay.connect()
        await client.send(b"GET / HTTP/1.1\r\nA: ")
        await until_true(lambda: relay.metric("rerank_proxy_client_connections") == 1)
        await client.close()
        await until_true(lambda: relay.metric("rerank_proxy_client_connections") == 0)
        assert requests == []

    async def test_while_a_connection_is_made(self, start_relay: StartRelay) -> None:
        """The connection is made all the same, and serves the next client."""
        serve, requests = answering(OK)
        relay = await start_relay(serve)
        client = await relay.connect()
        await client.send(BULK)
        await client.close()
        other = await relay.connect()
        await other.send(GET)
        assert (await other.read_message()).raw == OK
        assert requests[-1].raw == GET


class TestSlowClients:
    @pytest.fixture(autouse=True)
    def impatient(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(server_module, "_SWEEP_S", 0.01)
        monkeypatch.setattr(server_module, "ARRIVAL_S", 0.05)
        monkeypatch.setattr(connection_module, "LINGER_S", 0.05)

    @pytest.mark.parametrize("sent", [b"GET / HT", b"GET / HTTP/1.1\r\nA: 1\r\n", SEARCH[:-1]])
    async def test_half_a_request_is_given_up(self, start_relay: StartRelay, sent: bytes) -> None:
        serve, requests = answering(OK)
        relay = await start_relay(serve)
        client = await relay.connect()
        await client.send(sent)
        answer = await client.read_message()
        assert answer.status == 408
        assert json.loads(answer.body)["error"]["type"] == "timeout_exception"
        assert await client.read_to_end() == b""
        assert requests == []
        assert relay.metric("rerank_proxy_buffered_bytes") == 0
        kind = "search" if sent.startswith(b"POST") else "plain"
        assert relay.metric("rerank_proxy_requests_total", kind=kind, code="408") == 1
        assert relay.metric("rerank_proxy_requests_total", kind=kind, code="499") == 0

    async def test_idle_client_is_not(self, start_relay: StartRelay) -> None:
        serve, _ = answering(OK)
        relay = await start_relay(serve)
        client, impatient = await relay.connect(), await relay.connect()
        await client.send(GET)
        assert (await client.read_message()).raw == OK
        await impatient.send(b"GET")
        assert (await impatient.read_message()).status == 408  # so the time is over
        await client.send(GET)
        assert (await client.read_message()).raw == OK

    async def test_client_that_never_stops_sending_is_cut_off(self, start_relay: StartRelay) -> None:
        serve, _ = answering(OK)
        relay = await start_relay(serve)
        client = await relay.connect()
        await client.send(b"NONSENSE\r\n\r\n")
        assert (await client.read_message()).status == 400

        async def send_on() -> None:
            while True:
                await client.send(b"x" * 1000)
                await asyncio.sleep(0)

        with pytest.raises(ConnectionError):
            await asyncio.wait_for(send_on(), TIMEOUT_S)
