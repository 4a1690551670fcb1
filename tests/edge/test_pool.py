"""Connections to upstream: how many, how long, how secret."""

import asyncio
import socket
from pathlib import Path

import pytest

from rerank_proxy.edge import server as server_module
from rerank_proxy.edge.connection import ClientConnection
from rerank_proxy.edge.server import Edge
from rerank_proxy.settings import load
from tests.edge.conftest import StartRelay
from tests.edge.samples import BULK, COUNT, GET, SEARCH
from tests.support.raw_http import OK, TIMEOUT_S, Message, RawServer, Wire, answering, connect, raw_server
from tests.support.tls import Authority
from tests.support.waiting import until_true


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


class TestPool:
    async def test_each_request_under_way_has_a_connection_of_its_own(self, start_relay: StartRelay) -> None:
        arrived = asyncio.Semaphore(0)
        answer = asyncio.Event()

        async def serve(wire: Wire) -> None:
            while True:
                await wire.read_message()
                arrived.release()
                await asyncio.wait_for(answer.wait(), TIMEOUT_S)
                await wire.send(OK)

        relay = await start_relay(serve)
        clients = [await relay.connect() for _ in range(5)]
        for client in clients:
            await client.send(GET)
        for _ in clients:
            await asyncio.wait_for(arrived.acquire(), TIMEOUT_S)
        assert len(relay.upstream.wires) == 5
        assert relay.metric("rerank_proxy_upstream_connections", state="busy") == 5
        answer.set()
        for client in clients:
            assert (await client.read_message()).raw == OK
        assert relay.metric("rerank_proxy_upstream_connections", state="idle") == 5
        for client in clients:
            await client.send(GET)
            assert (await client.read_message()).raw == OK
        assert len(relay.upstream.wires) == 5

    async def test_no_more_idle_connections_are_kept_than_set(self, start_relay: StartRelay) -> None:
        arrived = asyncio.Semaphore(0)
        answer = asyncio.Event()

        async def serve(wire: Wire) -> None:
            await wire.read_message()
            arrived.release()
            await asyncio.wait_for(answer.wait(), TIMEOUT_S)
            await wire.send(OK)
            await wire.ended()

        relay = await start_relay(serve, {"upstream": {"max_idle_connections": 2}})
        clients = [await relay.connect() for _ in range(4)]
        for client in clients:
            await client.send(GET)
            await asyncio.wait_for(arrived.acquire(), TIMEOUT_S)
        answer.set()
        for client in clients:
            assert (await client.read_message()).raw == OK
        assert relay.metric("rerank_proxy_upstream_connections", state="idle") == 2

    async def test_unused_connections_are_closed(
        self, start_relay: StartRelay, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(server_module, "_SWEEP_S", 0.01)
        closed = asyncio.Event()

        async def serve(wire: Wire) -> None:
            await wire.read_message()
            await wire.send(OK)
            await wire.ended()
            closed.set()

        relay = await start_relay(serve, {"upstream": {"idle_timeout_s": 0.05}})
        client = await relay.connect()
        await client.send(GET)
        assert (await client.read_message()).raw == OK
        await asyncio.wait_for(closed.wait(), TIMEOUT_S)
        assert relay.metric("rerank_proxy_upstream_connections", state="idle") == 0
        await client.send(GET)
        assert (await client.read_message()).raw == OK

    async def test_unsolicited_bytes_end_an_idle_connection(self, start_relay: StartRelay) -> None:
        first = True

        async def serve(wire: Wire) -> None:
            nonlocal first
            await wire.read_message()
            await wire.send(OK)
            if first:
                first = False
                await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\npoison")
                await wire.ended()
            await wire.ended()

        relay = await start_relay(serve)
        client = await relay.connect()
        await client.send(GET)
        assert (await client.read_message()).raw == OK
        await until_true(lambda: relay.metric("rerank_proxy_upstream_connections", state="idle") == 0)
        await client.send(GET)
        assert (await client.read_message()).raw == OK

    async def test_options_of_the_sockets(self, start_relay: StartRelay) -> None:
        serve, _ = answering(OK)
        relay = await start_relay(serve)
        client = await relay.connect()
        await client.send(GET)
        await client.read_message()
        state = relay.edge._shared
        assert state is not None
        (ours,) = state.clients
        assert isinstance(ours, ClientConnection)
        transports = [
            ours._transport,
            *(idle.transport for node in state.upstream.nodes for idle in node.idle),
        ]
        for transport in transports:
            sock: socket.socket = transport.get_extra_info("socket")
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)


class StaleOnce:
    """An upstream whose first connection answers once and breaks when it is used again."""

    def __init__(self) -> None:
        self.requests: list[Message] = []
        self._connections = 0

    async def serve(self, wire: Wire) -> None:
        self._connections += 1
        number = self._connections
        while True:
            self.requests.append(await wire.read_message())
            if number == 1 and len(self.requests) == 2:
                wire.reset()
                return
            await wire.send(OK)


class TestRetry:
    @pytest.mark.parametrize("sent", [GET, SEARCH, COUNT, b"OPTIONS * HTTP/1.1\r\n\r\n"])
    async def test_what_reads_is_sent_again_when_a_kept_connection_broke(
        self, start_relay: StartRelay, sent: bytes
    ) -> None:
        upstream = StaleOnce()
        relay = await start_relay(upstream.serve)
        client = await relay.connect()
        await client.send(GET)
        await client.read_message()
        await client.send(sent)
        assert (await client.read_message()).raw == OK
        assert [request.raw for request in upstream.requests] == [GET, sent, sent]
        assert relay.metric("rerank_proxy_upstream_retries_total") == 1

    @pytest.mark.parametrize(
        "sent",
        [
            BULK,
            b"PUT /i HTTP/1.1\r\n\r\n",
            b"DELETE /i HTTP/1.1\r\n\r\n",
            b"GET /_search/scroll?scroll_id=x HTTP/1.1\r\n\r\n",
            b"GET /i/_search?scroll=1m HTTP/1.1\r\n\r\n",
            b"POST /i/_close#/_count HTTP/1.1\r\n\r\n",
            b"POST /i/_pit?keep_alive=1m HTTP/1.1\r\n\r\n",
        ],
    )
    async def test_what_may_change_something_never_is(self, start_relay: StartRelay, sent: bytes) -> None:
        upstream = StaleOnce()
        relay = await start_relay(upstream.serve)
        client = await relay.connect()
        await client.send(GET)
        await client.read_message()
        await client.send(sent)
        answer = await client.read_message()
        assert answer.status == 502
        assert [request.raw for request in upstream.requests] == [GET, sent]
        await client.send(GET)
        assert (await client.read_message()).raw == OK

    async def test_nothing_is_sent_again_on_a_new_connection(self, start_relay: StartRelay) -> None:
        requests = []

        async def serve(wire: Wire) -> None:
            requests.append(await wire.read_message())

        client = await (await start_relay(serve)).connect()
        await client.send(GET)
        assert (await client.read_message()).status == 502
        assert len(requests) == 1

    async def test_nothing_is_sent_a_third_time(self, start_relay: StartRelay) -> None:
        requests: list[Message] = []

        async def serve(wire: Wire) -> None:
            while True:
                requests.append(await wire.read_message())
                if len(requests) > 1:
                    return
                await wire.send(OK)

        client = await (await start_relay(serve)).connect()
        await client.send(GET)
        await client.read_message()
        await client.send(GET)
        assert (await client.read_message()).status == 502
        assert len(requests) == 3

    async def test_nothing_is_sent_again_once_an_answer_began(self, start_relay: StartRelay) -> None:
        requests: list[Message] = []

        async def serve(wire: Wire) -> None:
            while True:
                requests.append(await wire.read_message())
                if len(requests) > 1:
                    await wire.send(b"HTTP/1.1 20")
                    return
                await wire.send(OK)

        client = await (await start_relay(serve)).connect()
        await client.send(GET)
        await client.read_message()
        await client.send(GET)
        assert (await client.read_message()).status == 502
        assert len(requests) == 2


class TestTls:
    async def ask(self, app_socket: Path, upstream: RawServer, **settings: object) -> list[Message]:
        values = {"url": f"https://localhost:{upstream.port}", **settings}
        edge = Edge(load(None, {"listen": "127.0.0.1:0", "upstream": values}, {}), app_socket)
        await edge.start()
        try:
            async with connect(edge.address.port) as client:
                answers = []
                for sent in (GET, SEARCH):
                    await client.send(sent)
                    answers.append(await client.read_message())
                return answers
        finally:
            await edge.stop()

    async def test_trusted_by_its_authority(self, app_socket: Path, authority: Authority) -> None:
        serve, requests = answering(OK)
        async with raw_server(serve, tls=authority.issue().server()) as upstream:
            answers = await self.ask(app_socket, upstream, ca_certs=str(authority.path))
            assert [answer.raw for answer in answers] == [OK, OK]
            assert [request.raw for request in requests] == [GET, SEARCH]
            assert len(upstream.wires) == 1

    async def test_certificates_are_not_looked_at_where_the_settings_say_so(
        self, app_socket: Path, authority: Authority
    ) -> None:
        serve, _ = answering(OK)
        async with raw_server(serve, tls=authority.issue().server()) as upstream:
            assert [answer.status for answer in await self.ask(app_socket, upstream)] == [502, 502]
            answers = await self.ask(app_socket, upstream, verify_certs=False)
            assert [answer.raw for answer in answers] == [OK, OK]
