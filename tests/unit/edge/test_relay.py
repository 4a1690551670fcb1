"""The relay without a network: every way to cut the bytes, and every moment to be slow."""

import asyncio
import gzip
import threading
import tracemalloc
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ByteSize

from rerank_proxy.edge import connection, inspection
from rerank_proxy.edge.connection import MAX_PIPELINED, ClientConnection
from rerank_proxy.edge.shared import Shared
from rerank_proxy.observe.edge_metrics import EdgeMetrics
from rerank_proxy.settings import EdgeSettings
from rerank_proxy.upstream.connection import UpstreamConnection
from rerank_proxy.upstream.pool import Pool
from rerank_proxy.upstream.targets import UnixTarget
from tests.support.memory_transport import MemoryTransport
from tests.support.waiting import until_true

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
GET = b"GET / HTTP/1.1\r\n\r\n"


class Relay:
    """One client's connection, and one kept connection of each pool."""

    def __init__(self, settings: EdgeSettings | None = None) -> None:
        self.shared = Shared(
            loop=asyncio.get_running_loop(),
            settings=settings or EdgeSettings(),
            upstream=self._pool(),
            app=self._pool(),
            metrics=EdgeMetrics(),
            client_left=lambda: None,
        )
        self.upstream, self.at_upstream = self._connected(self.shared.upstream)
        self.app, self.at_app = self._connected(self.shared.app)
        self.client = ClientConnection(self.shared)
        self.at_client = MemoryTransport()
        self.client.connection_made(self.at_client)

    @staticmethod
    def _pool() -> Pool:
        return Pool(UnixTarget(Path("/absent")), connect_timeout_s=1, idle_timeout_s=60, max_idle=9)

    @staticmethod
    def _connected(pool: Pool) -> tuple[UpstreamConnection, MemoryTransport]:
        connection, transport = UpstreamConnection(pool.nodes[0]), MemoryTransport()
        connection.connection_made(transport)
        connection.owner.release(connection)
        return connection, transport


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    ends = sorted({0, len(data), *(at % (len(data) + 1) for at in cuts)})
    return [data[start:end] for start, end in pairwise(ends)]


def sized(body: bytes, head: bytes) -> bytes:
    return head + b"\r\ncontent-length: %d\r\n\r\n" % len(body) + body


def chunked(pieces: list[bytes], head: bytes) -> bytes:
    chunks = b"".join(b"%x;e=f\r\n%b\r\n" % (len(piece), piece) for piece in pieces if piece)
    return head + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks + b"0\r\nT: 1\r\n\r\n"


BODY = st.binary(max_size=40)
POST = st.sampled_from(
    [b"POST /_bulk HTTP/1.1", b"POST /i/_search HTTP/1.1\r\nX: 1", b"GET /_msearch HTTP/1.1"]
)
REQUESTS = st.one_of(
    st.just(GET),
    st.just(b"DELETE /i HTTP/1.1\r\nA: \xe9\r\n\r\n"),
    st.builds(sized, BODY, POST),
    st.builds(chunked, st.lists(BODY, max_size=3), POST),
    st.builds(
        lambda body: sized(gzip.compress(body), b"POST /_search HTTP/1.1\r\nContent-Encoding: gzip"), BODY
    ),
)
STATUS = st.sampled_from([b"HTTP/1.1 200 OK", b"HTTP/1.1 404 x\r\nWarning: a\r\nwarning: b"])
ANSWERS = st.one_of(
    st.just(OK),
    st.just(b"HTTP/1.1 204 No Content\r\nA: 1\r\n\r\n"),
    st.builds(sized, BODY, STATUS),
    st.builds(chunked, st.lists(BODY, max_size=3), STATUS),
    st.just(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" + OK),
)
CUTS = st.lists(st.integers(0, 5000), max_size=12)


@given(st.lists(st.tuples(REQUESTS, ANSWERS, CUTS), max_size=4), CUTS, st.data())
async def test_the_result_does_not_depend_on_how_the_bytes_are_cut(
    exchanges: list[tuple[bytes, bytes, list[int]]], cuts: list[int], data: st.DataObject
) -> None:
    relay = Relay()
    requests = [request for request, _, _ in exchanges]
    pieces = cut(b"".join(requests), cuts)
    waiting = [
        (b"".join(requests[: number + 1]), cut(answer, answer_cuts))
        for number, (_, answer, answer_cuts) in enumerate(exchanges)
    ]
    while pieces or waiting:
        arrived = waiting and relay.at_upstream.written == waiting[0][0]
        if arrived and (not pieces or data.draw(st.booleans())):
            for piece in waiting.pop(0)[1]:
                relay.upstream.data_received(piece)
        else:
            relay.client.data_received(pieces.pop(0))
    assert relay.at_upstream.written == b"".join(requests)
    assert relay.at_client.written == b"".join(answer for _, answer, _ in exchanges)
    assert relay.shared.upstream.idle == 1
    assert relay.shared.buffered == 0


@pytest.mark.parametrize(
    "request_",
    [
        b"GET / HTTP/1.1\r\nA : 1\r\n\r\n",
        b"GET / HTTP/1.1\r\nContent-Length: x\r\n\r\n",
        b"POST /_bulk HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcd\r\n",
        b"POST /_search HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nT : 1\r\n\r\n",
    ],
)
@given(cuts=CUTS)
async def test_nor_does_a_refusal(request_: bytes, cuts: list[int]) -> None:
    results = []
    for pieces in ([GET + request_], cut(GET + request_, cuts)):
        relay = Relay()
        for piece in pieces:
            relay.client.data_received(piece)
            if relay.at_upstream.written == GET and not relay.at_client.written:
                relay.upstream.data_received(OK)
        results.append(bytes(relay.at_client.written))
    assert results[0].startswith(OK + b"HTTP/1.1 400 ")
    assert results[0] == results[1]


@given(st.lists(st.binary(max_size=60), max_size=6))
async def test_no_bytes_of_a_client_break_the_relay(pieces: list[bytes]) -> None:
    relay = Relay()
    for piece in pieces:
        relay.client.data_received(piece)
    relay.client.connection_lost(None)
    assert relay.shared.buffered == 0


@given(st.lists(st.binary(max_size=60) | st.just(b"HTTP/1.1 200 OK\r\n") | st.just(b"\r\n\r\n"), max_size=6))
async def test_no_bytes_of_upstream_break_the_relay(pieces: list[bytes]) -> None:
    relay = Relay()
    relay.client.data_received(GET)
    for piece in pieces:
        if not relay.at_upstream.is_closing():
            relay.upstream.data_received(piece)
    relay.upstream.connection_lost(None)
    relay.client.connection_lost(None)
    assert relay.shared.upstream.idle == 0


async def test_a_client_that_reads_slowly_pauses_upstream() -> None:
    relay = Relay()
    relay.client.data_received(GET)
    relay.upstream.data_received(OK[:-1])
    relay.client.pause_writing()
    assert not relay.at_upstream.reading
    assert relay.at_client.reading  # or its leaving would not be seen
    relay.client.resume_writing()
    assert relay.at_upstream.reading


async def test_a_client_that_still_reads_the_answer_before_pauses_the_next_one() -> None:
    relay = Relay()
    relay.client.data_received(GET)
    relay.client.pause_writing()
    relay.upstream.data_received(OK)
    assert relay.at_upstream.reading  # it is idle, and would not see its end otherwise
    relay.client.data_received(GET)
    assert not relay.at_upstream.reading
    relay.client.resume_writing()
    assert relay.at_upstream.reading


async def test_an_upstream_that_reads_slowly_pauses_the_client_until_its_request_is_complete() -> None:
    relay = Relay()
    request = sized(b"x" * 10, b"POST /_bulk HTTP/1.1")
    relay.client.data_received(request[:-5])
    relay.upstream.pause_writing()
    assert not relay.at_client.reading
    relay.upstream.resume_writing()
    assert relay.at_client.reading
    relay.client.data_received(request[-5:])
    relay.upstream.pause_writing()
    assert relay.at_client.reading


async def test_a_client_paused_for_upstream_is_read_again_after_an_early_answer() -> None:
    relay = Relay()
    relay.client.data_received(sized(b"x" * 10, b"POST /_bulk HTTP/1.1")[:-5])
    relay.upstream.pause_writing()
    assert not relay.at_client.reading
    relay.upstream.data_received(b"HTTP/1.1 503 x\r\nconnection: close\r\ncontent-length: 0\r\n\r\n")
    assert relay.at_client.reading
    assert relay.at_client.ended


async def test_requests_ahead_of_their_turn_are_read_up_to_a_limit() -> None:
    relay = Relay()
    relay.client.data_received(GET)
    sent = 1
    while relay.at_client.reading:
        relay.client.data_received(GET)
        sent += 1
        assert sent * len(GET) < 2 * MAX_PIPELINED
    assert sent * len(GET) > MAX_PIPELINED
    assert relay.at_upstream.written == GET
    for _ in range(sent):
        relay.upstream.data_received(OK)
    assert relay.at_client.reading
    assert relay.at_client.written == OK * sent


@pytest.mark.parametrize("cuts", [[], [997], [999], [3, 500, 998]])
async def test_a_head_of_the_longest_size_passes_however_it_is_cut(cuts: list[int]) -> None:
    for excess, status in ((0, b""), (1, b"HTTP/1.1 400 ")):
        relay = Relay(EdgeSettings(max_head=ByteSize(1000)))
        head = b"GET / HTTP/1.1\r\nA: %b\r\n\r\n"
        for piece in cut(head % (b"x" * (1000 + excess - len(head) + 2)), cuts):
            relay.client.data_received(piece)
        assert relay.at_client.written.startswith(status)
        assert bool(relay.at_upstream.written) is not bool(status)


async def test_a_search_that_comes_byte_by_byte_takes_no_more_memory() -> None:
    relay = Relay()
    search = sized(b"x" * 50_000, b"POST /_search HTTP/1.1")
    pieces = [search[at : at + 1] for at in range(len(search))]
    tracemalloc.start()
    try:
        for piece in pieces[:-1]:
            relay.client.data_received(piece)
        assert tracemalloc.get_traced_memory()[0] < 200_000
    finally:
        tracemalloc.stop()
    relay.client.data_received(pieces[-1])
    assert relay.at_upstream.written == search


async def test_a_client_that_ends_its_sending_is_gone_even_if_it_has_not_read_its_answer() -> None:
    relay = Relay()
    relay.client.data_received(GET)
    relay.upstream.data_received(OK[:-1])
    relay.client.pause_writing()
    relay.client.eof_received()
    assert relay.at_upstream.is_closing()
    assert relay.at_client.is_closing()


async def test_a_client_that_leaves_during_the_inspection_of_its_search_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    may_inspect = threading.Event()
    pieces = 0

    def decompress(_: Iterable[bytes], coding: bytes) -> Iterator[bytes]:
        nonlocal pieces
        assert may_inspect.wait(60)
        while pieces < 1000:
            pieces += 1
            yield b"{}"

    monkeypatch.setattr(inspection, "decompress", decompress)
    monkeypatch.setattr(inspection, "INLINE_CODED_BYTES", 0)
    relay = Relay()
    relay.client.data_received(sized(b"{}", b"POST /_search HTTP/1.1\r\nContent-Encoding: gzip"))
    relay.client.connection_lost(None)
    may_inspect.set()
    relay.shared.threads.shutdown()
    await asyncio.sleep(0)
    assert pieces == 1, "it was inspected for no client"
    assert not relay.at_upstream.written
    assert (relay.shared.upstream.idle, relay.shared.buffered) == (1, 0)


class TestLingering:
    @pytest.fixture
    async def refused(self, monkeypatch: pytest.MonkeyPatch) -> Relay:
        monkeypatch.setattr(connection, "LINGER_S", 0.001)
        monkeypatch.setattr(connection, "LINGER_BYTES", 1000)
        return Relay()

    async def closed(self, relay: Relay) -> None:
        await until_true(relay.at_client.is_closing)

    async def test_ends_after_a_while(self, refused: Relay) -> None:
        refused.client.data_received(b"NONSENSE\r\n\r\n")
        assert refused.at_client.ended
        assert not refused.at_client.is_closing()
        await self.closed(refused)

    async def test_waits_for_a_client_that_has_not_read_its_answer(self, refused: Relay) -> None:
        refused.at_client.unsent = [5, 5]
        refused.client.data_received(b"NONSENSE\r\n\r\n")
        await self.closed(refused)
        assert refused.at_client.unsent == []

    async def test_reads_so_much_and_no_more(self, refused: Relay) -> None:
        refused.client.data_received(b"NONSENSE\r\n\r\n")
        refused.client.data_received(b"x" * 1000)
        assert not refused.at_client.is_closing()
        refused.client.data_received(b"x")
        assert refused.at_client.is_closing()


async def test_writing_stops_when_a_side_is_gone() -> None:
    """MemoryTransport fails the test on a write after its end."""
    relay = Relay()
    relay.client.data_received(GET)
    relay.client.connection_lost(None)
    assert relay.at_upstream.is_closing()
    relay.upstream.data_received(OK)
    assert not relay.at_client.written
