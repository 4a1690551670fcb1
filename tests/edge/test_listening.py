"""Taking in connections, and letting go of them."""

import asyncio
import socket
from contextlib import ExitStack
from pathlib import Path

import pytest

from rerank_proxy.edge.listener import ListenError
from rerank_proxy.edge.server import Edge
from rerank_proxy.settings import InvalidSettingsError, load
from tests.edge.conftest import Relay, StartRelay
from tests.edge.samples import GET, SEARCH
from tests.support.raw_http import OK, TIMEOUT_S, Wire, answering, connect, raw_server
from tests.support.waiting import until_true


class TestListening:
    async def test_connections_beyond_the_limit_wait(self, start_relay: StartRelay) -> None:
        serve, _ = answering(OK)
        relay = await start_relay(serve, {"edge": {"max_connections": 2}})
        first, second, third = [await relay.connect() for _ in range(3)]
        for client in (first, second):
            await client.send(GET)
            assert (await client.read_message()).raw == OK
        await third.send(GET)
        answer = asyncio.create_task(third.read_message())
        await first.send(GET)
        assert (await first.read_message()).raw == OK
        assert relay.metric("rerank_proxy_client_connections") == 2
        assert not answer.done()
        await first.close()
        assert (await asyncio.wait_for(answer, TIMEOUT_S)).raw == OK

    async def test_address_that_is_taken(self, start_relay: StartRelay, app_socket: Path) -> None:
        serve, _ = answering(OK)
        relay = await start_relay(serve)
        second = Edge(load(None, {"listen": str(relay.edge.address)}, {}), app_socket)
        with pytest.raises(ListenError) as caught:
            await second.start()
        assert str(caught.value) == f"cannot listen on {relay.edge.address}: address already in use"

    @pytest.mark.parametrize("host", ["192.0.2.1", "no-such-host.invalid"])
    async def test_address_of_another_machine(self, app_socket: Path, host: str) -> None:
        with pytest.raises(ListenError, match=f"^cannot listen on {host}:0: [^\n]+$"):
            await Edge(load(None, {"listen": f"{host}:0"}, {}), app_socket).start()

    async def test_every_address_of_a_name_has_the_same_port(self, app_socket: Path) -> None:
        serve, _ = answering(OK)
        async with raw_server(serve) as upstream:
            edge = Edge(load(None, {"listen": "localhost:0", "upstream": upstream.url}, {}), app_socket)
            await edge.start()
            try:
                for family, *_, where in socket.getaddrinfo("localhost", None, type=socket.SOCK_STREAM):
                    assert family in (socket.AF_INET, socket.AF_INET6)
                    async with connect(edge.address.port, str(where[0])) as client:
                        await client.send(GET)
                        assert (await client.read_message()).raw == OK
            finally:
                await edge.stop()

    async def test_unreadable_certificates_stop_the_start(self, app_socket: Path) -> None:
        values = {"listen": "127.0.0.1:0", "upstream": {"url": "https://es", "ca_certs": "/absent.pem"}}
        with pytest.raises(InvalidSettingsError, match=r"upstream\.ca_certs"):
            await Edge(load(None, values, {}), app_socket).start()


class TestDrain:
    async def test_requests_under_way_finish_and_idle_connections_close(
        self, start_relay: StartRelay
    ) -> None:
        arrived, answer = asyncio.Event(), asyncio.Event()

        async def serve(wire: Wire) -> None:
            while True:
                message = await wire.read_message()
                if message.raw == SEARCH:
                    arrived.set()
                    await asyncio.wait_for(answer.wait(), TIMEOUT_S)
                await wire.send(OK)

        relay = await start_relay(serve)
        idle, busy, unused = [await relay.connect() for _ in range(3)]
        await idle.send(GET)
        await idle.read_message()
        await busy.send(SEARCH)
        await asyncio.wait_for(arrived.wait(), TIMEOUT_S)
        await until_true(lambda: relay.metric("rerank_proxy_client_connections") == 3)
        relay.edge.announce_end()
        draining = asyncio.create_task(relay.edge.drain(TIMEOUT_S))
        assert await idle.read_to_end() == b""
        assert await unused.read_to_end() == b""
        with pytest.raises(ConnectionRefusedError):
            await relay.connect()
        assert not draining.done()
        answer.set()
        assert await busy.read_to_end() == (
            b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"
        )
        await busy.close()
        assert await draining

    async def test_clients_that_go_on_are_all_answered(self, start_relay: StartRelay) -> None:
        """Each until an answer has told it that its connection closes."""
        serve, _ = answering(OK)
        relay = await start_relay(serve)
        clients = [await relay.connect() for _ in range(20)]

        async def ask(client: Wire, turns: int) -> int:
            asked = 0
            while True:
                await client.send(GET)
                asked += 1
                if (await client.read_message()).field("connection") == "close":
                    return asked
                for _ in range(turns):  # so that each is idle at another moment
                    await asyncio.sleep(0)

        asking = asyncio.gather(*(ask(client, turns) for turns, client in enumerate(clients)))
        await until_true(lambda: relay.metric("rerank_proxy_requests_total", code="200", kind="plain") > 60)
        draining = asyncio.create_task(relay.edge.drain(TIMEOUT_S))
        assert min(await asking) > 1
        assert await draining

    async def test_answers_say_that_the_end_is_near_before_the_port_is_closed(
        self, start_relay: StartRelay
    ) -> None:
        serve, _ = answering(OK)
        relay = await start_relay(serve)
        relay.edge.announce_end()
        for _ in range(2):
            client = await relay.connect()
            await client.send(GET)
            assert (await client.read_message()).field("connection") == "close"
            assert await client.read_to_end() == b""

    async def test_connections_in_the_queue_are_accepted(self, start_relay: StartRelay) -> None:
        """Their clients see an open connection and may have sent a request."""
        serve, _ = answering(OK)
        relay = await start_relay(serve)
        where = (relay.edge.address.host, relay.edge.address.port)
        with ExitStack() as stack:
            waiting = [stack.enter_context(socket.create_connection(where)) for _ in range(100)]
            for each in waiting:
                each.sendall(GET)
            assert await relay.edge.drain(TIMEOUT_S)
            for each in waiting:
                each.settimeout(TIMEOUT_S)
                assert each.recv(1024).startswith(b"HTTP/1.1 200 OK\r\n")

    async def test_one_that_was_opened_a_moment_ago_is_answered(self, start_relay: StartRelay) -> None:
        """Long after the end was announced: while the port is open clients go on to connect."""
        serve, _ = answering(OK)
        relay = await start_relay(serve)
        relay.edge.announce_end()
        relay.edge._announced_at -= 60
        client = await relay.connect()
        draining = asyncio.create_task(relay.edge.drain(TIMEOUT_S))
        for _ in range(50):
            await asyncio.sleep(0)
        await client.send(GET)
        assert (await client.read_message()).field("connection") == "close"
        assert await draining

    @pytest.mark.parametrize("turns", range(12))
    async def test_stops_while_connections_are_made(self, start_relay: StartRelay, turns: int) -> None:
        serve, _ = answering(OK)
        relay = await start_relay(serve)
        client = await relay.connect()
        await client.send(GET)
        for _ in range(turns):
            await asyncio.sleep(0)
        await asyncio.wait_for(relay.edge.stop(), TIMEOUT_S)
        assert await client.ended()

    async def test_does_not_wait_for_ever(self, start_relay: StartRelay) -> None:
        closed = asyncio.Event()

        async def serve(wire: Wire) -> None:
            await wire.read_message()
            await wire.ended()
            closed.set()

        relay = await start_relay(serve)
        client = await relay.connect()
        await client.send(GET)
        assert not await relay.edge.drain(0.05)
        await relay.edge.stop()
        await asyncio.wait_for(closed.wait(), TIMEOUT_S)
        assert await client.ended()


async def test_metrics_of_traffic(start_relay: StartRelay) -> None:
    serve, _ = answering(OK, b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n")
    relay: Relay = await start_relay(serve)
    client = await relay.connect()
    for sent in (GET, GET, SEARCH, b"NONSENSE\r\n\r\n"):
        await client.send(sent)
        await client.read_message()
    assert relay.metric("rerank_proxy_requests_total", kind="plain", code="200") == 1
    assert relay.metric("rerank_proxy_requests_total", kind="plain", code="404") == 1
    assert relay.metric("rerank_proxy_requests_total", kind="search", code="404") == 1
    assert relay.metric("rerank_proxy_requests_total", kind="plain", code="400") == 1
    assert relay.metric("rerank_proxy_upstream_first_byte_seconds_count") == 3
    assert relay.metric("rerank_proxy_client_connections") == 1
