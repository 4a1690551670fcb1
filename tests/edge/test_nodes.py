"""Several nodes behind the edge: which one gets a request, what goes to another one, and what is said."""

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Final

import pytest

from rerank_proxy.edge.server import Edge
from rerank_proxy.settings import load
from rerank_proxy.upstream import health
from rerank_proxy.upstream import pool as pool_module
from rerank_proxy.upstream.node import Node
from tests.edge.samples import BULK, GET, SEARCH
from tests.support.raw_http import (
    OK,
    TIMEOUT_S,
    Message,
    RawServer,
    Serve,
    Wire,
    answering,
    connect,
    raw_server,
    unconnectable,
)
from tests.support.tls import Authority
from tests.support.waiting import until_true

REFUSED: Final = "http://127.0.0.1:1"
ROOT: Final = b"GET / HTTP/1.1\r\n\r\n"
COUNT: Final = b"GET /_count HTTP/1.1\r\n\r\n"


class Fleet:
    """An edge with the nodes behind it."""

    def __init__(self, edge: Edge, servers: Sequence[RawServer], stack: AsyncExitStack) -> None:
        self.edge = edge
        self.servers = servers
        self._stack = stack

    async def connect(self) -> Wire:
        return await self._stack.enter_async_context(connect(self.edge.address.port))

    async def ask(self, request: bytes) -> Message:
        """Send a request on a connection of its own."""
        async with connect(self.edge.address.port) as wire:
            await wire.send(request)
            return await wire.read_message()

    @property
    def nodes(self) -> Sequence[Node]:
        assert self.edge._shared is not None
        return self.edge._shared.upstream.nodes

    def metric(self, name: str, url: str) -> float:
        labels = {"node": url.removeprefix("http://")}
        value = self.edge.metrics.registry.get_sample_value(f"rerank_proxy_upstream_node_{name}", labels)
        assert value is not None
        return value


@asynccontextmanager
async def fleet(path: Path, *serves: Serve | str, **settings: object) -> AsyncIterator[Fleet]:
    """Run an edge before nodes that run coroutines, or are at a URL."""
    async with AsyncExitStack() as stack:
        servers = [
            await stack.enter_async_context(raw_server(serve)) if not isinstance(serve, str) else serve
            for serve in serves
        ]
        urls = [server if isinstance(server, str) else server.url for server in servers]
        values = {"listen": "127.0.0.1:0", "upstream": {"urls": urls, **settings}}
        edge = Edge(load(None, values, {}), path / "app.sock")
        await edge.start()
        stack.push_async_callback(edge.stop)
        yield Fleet(edge, [server for server in servers if isinstance(server, RawServer)], stack)


def named(name: bytes) -> Serve:
    """Return a node that answers every request with its name."""

    async def serve(wire: Wire) -> None:
        while True:
            await wire.read_message()
            await wire.send(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(name), name))

    return serve


class Losing:
    """A node that takes requests, and closes the connection or resets it instead of answering.

    Attributes:
        lost: The requests.
    """

    def __init__(self, answers: int = 0) -> None:
        self.lost: list[Message] = []
        self._answers = answers

    async def serve(self, wire: Wire) -> None:
        while self._answers:
            await wire.read_message()
            self._answers -= 1
            await wire.send(OK)
        self.lost.append(await wire.read_message())
        wire.reset()


class TestChoice:
    async def test_equals_take_turns(self, tmp_path: Path) -> None:
        async with fleet(tmp_path, named(b"a"), named(b"b"), named(b"c")) as started:
            client = await started.connect()
            got = []
            for _ in range(9):
                await client.send(COUNT)
                got.append((await client.read_message()).body)
            assert sorted(got) == [b"a"] * 3 + [b"b"] * 3 + [b"c"] * 3

    async def test_the_least_busy_gets_the_next(self, tmp_path: Path) -> None:
        arrived, answer = asyncio.Semaphore(0), asyncio.Event()

        async def slow(wire: Wire) -> None:
            await wire.read_message()
            arrived.release()
            await asyncio.wait_for(answer.wait(), TIMEOUT_S)
            await wire.send(OK)
            await wire.ended()

        async with fleet(tmp_path, slow, named(b"quick")) as started:
            waiting = None
            while waiting is None:
                client = await started.connect()
                await client.send(COUNT)
                read = asyncio.create_task(client.read_message())
                held = asyncio.create_task(arrived.acquire())
                done, _ = await asyncio.wait({read, held}, return_when=asyncio.FIRST_COMPLETED)
                waiting = read if held in done else None
                held.cancel()
            slow_one = started.servers[0].url
            assert started.metric("requests", slow_one) == 1
            assert [(await started.ask(COUNT)).body for _ in range(6)] == [b"quick"] * 6
            answer.set()
            assert (await waiting).raw == OK

    async def test_a_clients_connection_keeps_to_one_node_for_what_that_answers_about_itself(
        self, tmp_path: Path
    ) -> None:
        local = b"GET /_nodes/_local HTTP/1.1\r\n\r\n"
        async with fleet(tmp_path, named(b"a"), named(b"b")) as started:
            seen = set()
            for _ in range(4):
                client = await started.connect()
                own = set()
                for request in (ROOT, COUNT, local, local, COUNT, ROOT):
                    await client.send(request)
                    answer = (await client.read_message()).body
                    if request != COUNT:
                        own.add(answer)
                assert len(own) == 1
                seen |= own
            assert seen == {b"a", b"b"}


class TestNodeFails:
    @pytest.mark.parametrize("request_", [GET, SEARCH, BULK])
    async def test_one_that_refuses_is_left_out_and_no_client_notices(
        self, tmp_path: Path, request_: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        async with fleet(tmp_path, REFUSED, named(b"a")) as started:
            answers = [await started.ask(request_) for _ in range(6)]
            assert {answer.body for answer in answers} == {b"a"}
            assert started.metric("up", REFUSED) == 0
            assert started.metric("left_out_total", REFUSED) == 1
            assert started.metric("connect_failures_total", REFUSED) == 1
            assert started.metric("up", started.servers[0].url) == 1
        said = [record.getMessage() for record in caplog.records if REFUSED in record.getMessage()]
        assert len(said) == 1
        assert said[0].startswith(f"cannot connect to Elasticsearch at [{REFUSED}]: connection refused; ")
        assert said[0].endswith(" (left out; 1 of 2 nodes remain)")

    async def test_one_that_says_nothing_is_passed_by(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """No request waits for `connect_timeout_s`, which is an hour here."""
        monkeypatch.setattr(pool_module, "STALLED_S", 0.01)
        with unconnectable() as port:
            silent = f"http://127.0.0.1:{port}"
            async with fleet(tmp_path, silent, named(b"a"), connect_timeout_s=3600) as started:
                answers = [await started.ask(COUNT) for _ in range(6)]
                assert {answer.body for answer in answers} == {b"a"}
                assert started.metric("requests", silent) >= 1  # the attempts that still wait

    async def test_without_a_node_that_lives_each_is_tried_and_named(self, tmp_path: Path) -> None:
        other = "http://127.0.0.1:2"
        async with fleet(tmp_path, REFUSED, other) as started:
            for _ in range(3):
                answer = await started.ask(GET)
                assert answer.status == 502
                for url in (REFUSED, other):
                    assert url.encode() in answer.body
            assert all(node.health.failures == 3 for node in started.nodes)

    async def test_one_that_is_back_gets_requests_again(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        """Without a request that tries it."""
        monkeypatch.setattr(health, "FIRST_S", 0.02)
        caplog.set_level(logging.INFO)
        async with raw_server(named(b"b")) as gone:
            pass
        async with fleet(tmp_path, named(b"a"), gone.url) as started:
            while started.metric("up", gone.url):
                await started.ask(COUNT)
            async with raw_server(named(b"b"), port=gone.port):
                await until_true(lambda: started.metric("up", gone.url) == 1)
                assert {(await started.ask(COUNT)).body for _ in range(4)} == {b"a", b"b"}
                node = next(node for node in started.nodes if node.target.name == gone.url)
                assert len(node.open) == 1  # the one that was made to try it
        said = [record.getMessage() for record in caplog.records if gone.url in record.getMessage()]
        assert len(said) == 2
        assert said[1] == f"Elasticsearch at [{gone.url}] can be reached again"

    async def test_one_with_a_wrong_certificate_is_left_out(self, tmp_path: Path) -> None:
        authority, stranger = Authority(tmp_path), Authority(tmp_path, "Stranger")
        good, bad = authority.issue().server(), stranger.issue("theirs").server()
        async with raw_server(named(b"a"), tls=good) as right, raw_server(named(b"b"), tls=bad) as wrong:
            urls = [server.url.replace("http:", "https:") for server in (right, wrong)]
            async with fleet(tmp_path, *urls, ca_certs=str(authority.path)) as started:
                assert {(await started.ask(BULK)).body for _ in range(4)} == {b"a"}
                reasons = [node.health.reason for node in started.nodes]
        assert reasons[0] == ""
        assert "its certificate is not trusted" in reasons[1]

    async def test_what_it_answers_does_not_leave_it_out(self, tmp_path: Path) -> None:
        unavailable = b"HTTP/1.1 503 x\r\ncontent-length: 0\r\n\r\n"
        serve, _ = answering(unavailable)
        async with fleet(tmp_path, serve, named(b"a")) as started:
            answers = [(await started.ask(COUNT)).status for _ in range(4)]
            assert sorted(answers) == [200, 200, 503, 503]
            assert all(started.metric("up", server.url) == 1 for server in started.servers)


class TestSentAgain:
    """What one node took and did not answer goes to another one if it only reads, and once."""

    @pytest.mark.parametrize("sent", [GET, SEARCH, COUNT])
    @pytest.mark.parametrize("answers", [0, 1])
    async def test_what_reads(self, tmp_path: Path, sent: bytes, answers: int) -> None:
        losing, (serve, taken) = Losing(answers), answering(OK)
        async with fleet(tmp_path, losing.serve, serve) as started:
            while not losing.lost:
                assert (await started.ask(sent)).raw == OK
            assert [request.raw for request in losing.lost] == [sent]
            assert {request.raw for request in taken} == {sent}
            assert started.edge.metrics.retries == 1

    @pytest.mark.parametrize("sent", [BULK, b"PUT /i HTTP/1.1\r\n\r\n", b"DELETE /i HTTP/1.1\r\n\r\n"])
    async def test_what_may_change_something_is_not(self, tmp_path: Path, sent: bytes) -> None:
        losing, (serve, taken) = Losing(), answering(OK)
        async with fleet(tmp_path, losing.serve, serve) as started:
            while not losing.lost:
                before = len(taken)
                answer = await started.ask(sent)
            assert (answer.status, len(taken)) == (502, before)
            assert started.servers[0].url.encode() in answer.body
            assert started.servers[1].url.encode() not in answer.body

    async def test_what_has_been_streamed_is_not(self, tmp_path: Path) -> None:
        """Its bytes are not kept."""
        arrived = asyncio.Event()

        async def lose(wire: Wire) -> None:
            await wire.read_head()
            await wire.read(1)
            arrived.set()
            wire.reset()

        async with fleet(tmp_path, lose, lose) as started:
            client = await started.connect()
            await client.send(b"POST /_mget HTTP/1.1\r\ncontent-length: 3\r\n\r\n1")
            await asyncio.wait_for(arrived.wait(), TIMEOUT_S)
            assert (await client.read_message()).status == 502
            assert started.edge.metrics.retries == 0

    async def test_not_a_third_time(self, tmp_path: Path) -> None:
        """A request that ends the node that carries it out does not go through all of them."""
        losing = [Losing() for _ in range(4)]
        async with fleet(tmp_path, *(node.serve for node in losing)) as started:
            assert (await started.ask(COUNT)).status == 502
            assert sum(len(node.lost) for node in losing) == 2
            assert max(len(node.lost) for node in losing) == 1

    async def test_not_once_an_answer_began(self, tmp_path: Path) -> None:
        async def begin(wire: Wire) -> None:
            await wire.read_message()
            await wire.send(b"HTTP/1.1 20")

        async with fleet(tmp_path, begin, begin) as started:
            assert (await started.ask(COUNT)).status == 502
            assert started.edge.metrics.retries == 0
