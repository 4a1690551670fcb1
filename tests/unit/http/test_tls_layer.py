"""The layer of TLS gives and takes bytes as a connection without it, however the network cuts them."""

import asyncio
import ssl
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.http.tls_layer import TlsLayer, TlsTransport
from tests.support.memory_transport import MemoryTransport
from tests.support.tls import Authority


@dataclass
class Contexts:
    client: ssl.SSLContext
    server: ssl.SSLContext


@pytest.fixture(scope="module")
def contexts(tmp_path_factory: pytest.TempPathFactory) -> Contexts:
    authority = Authority(tmp_path_factory.mktemp("tls"))
    return Contexts(authority.client(), authority.issue().server())


@dataclass
class End(asyncio.Protocol):
    """One end of a connection, above its layer."""

    received: bytearray = field(default_factory=bytearray)
    transport: TlsTransport | None = None
    eof: bool = False
    lost: list[Exception | None] = field(default_factory=list)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, TlsTransport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.received += data

    def eof_received(self) -> bool:
        self.eof = True
        return True  # as one that goes on sending

    def connection_lost(self, exc: Exception | None) -> None:
        self.lost.append(exc)


class Pair:
    """A client and a server, and the network between them."""

    def __init__(self, contexts: Contexts, cuts: Sequence[int] = ()) -> None:
        self.cuts = list(cuts)
        self.told: list[Exception | None] = []
        self.ends = (End(), End())
        self.layers = (
            TlsLayer(contexts.client, self.ends[0], server_hostname="localhost"),
            TlsLayer(contexts.server, self.ends[1], server_side=True, done=self.told.append),
        )
        self.below = (MemoryTransport(), MemoryTransport())
        for layer, transport in zip(self.layers, self.below, strict=True):
            layer.connection_made(transport)

    def pump(self) -> None:
        """Deliver everything, in pieces of the given sizes."""
        while any(each.written for each in self.below):
            for sender, receiver in ((0, 1), (1, 0)):
                size = self.cuts.pop() if self.cuts else len(self.below[sender].written)
                piece = bytes(self.below[sender].written[:size])
                del self.below[sender].written[:size]
                if piece:
                    self.layers[receiver].data_received(piece)

    def transports(self) -> tuple[TlsTransport, TlsTransport]:
        client, server = (end.transport for end in self.ends)
        assert client is not None
        assert server is not None
        return client, server


@given(
    cuts=st.lists(st.integers(1, 5000), max_size=40),
    sent=st.lists(st.tuples(st.booleans(), st.binary(max_size=200), st.integers(1, 300)), max_size=8),
)
def test_bytes_arrive_as_they_were_sent(
    contexts: Contexts, cuts: list[int], sent: list[tuple[bool, bytes, int]]
) -> None:
    pair = Pair(contexts, cuts)
    pair.pump()
    assert pair.told == [None]
    transports, expected = pair.transports(), (bytearray(), bytearray())
    for by_server, content, times in sent:
        pieces = [content] * times
        transports[by_server].writelines(pieces)
        expected[not by_server].extend(b"".join(pieces))
    pair.pump()
    assert tuple(end.received for end in pair.ends) == expected
    assert pair.ends[0].lost == pair.ends[1].lost == []


def test_one_direction_ends_alone(contexts: Contexts) -> None:
    pair = Pair(contexts)
    pair.pump()
    client, server = pair.transports()
    server.write(b"an early answer")
    server.write_eof()
    pair.pump()
    assert pair.below[1].ended
    assert pair.ends[0].eof
    client.write(b"the rest of a request" * 10_000)
    pair.pump()
    assert pair.ends[0].received == b"an early answer"
    assert pair.ends[1].received == b"the rest of a request" * 10_000
    client.close()
    pair.pump()
    assert pair.ends[1].eof


@pytest.mark.parametrize("announced", [True, False])
def test_an_end_that_was_not_announced_is_a_fault(contexts: Contexts, announced: bool) -> None:
    pair = Pair(contexts)
    pair.pump()
    _, server = pair.transports()
    server.write(b"all")
    if announced:
        server.close()
    pair.pump()
    pair.layers[0].eof_received()
    pair.layers[0].connection_lost(None)
    client = pair.ends[0]
    assert client.received == b"all"
    assert client.eof
    (failure,) = client.lost
    assert failure is None if announced else isinstance(failure, ssl.SSLEOFError)


@pytest.mark.parametrize("first", [b"GET / HTTP/1.1\r\n\r\n", b"\x00" * 20, b"\x16\x03\x01\x00\x02\x01\x00"])
def test_what_speaks_no_tls_is_closed(contexts: Contexts, first: bytes) -> None:
    pair = Pair(contexts)
    pair.layers[1].data_received(first)
    pair.layers[1].data_received(b"and more")
    assert pair.below[1].is_closing()
    assert b"HTTP" not in pair.below[1].written
    pair.layers[1].connection_lost(None)
    (failure,) = pair.told
    assert isinstance(failure, ssl.SSLError)
    assert pair.ends[1].lost == []  # which never heard of the connection


def test_a_damaged_record_is_a_fault(contexts: Contexts) -> None:
    pair = Pair(contexts)
    pair.pump()
    client, _ = pair.transports()
    client.write(b"x" * 100)
    pair.below[0].written[50] ^= 1
    pair.pump()
    assert pair.below[1].is_closing()
    pair.layers[1].connection_lost(None)
    (failure,) = pair.ends[1].lost
    assert isinstance(failure, ssl.SSLError)
    assert pair.ends[1].received == b""


def test_a_server_of_another_name(contexts: Contexts, tmp_path: Path) -> None:
    told: list[Exception | None] = []
    layer = TlsLayer(contexts.client, End(), server_hostname="es.example", done=told.append)
    server = TlsLayer(contexts.server, End(), server_side=True)
    below = (MemoryTransport(), MemoryTransport())
    layer.connection_made(below[0])
    server.connection_made(below[1])
    server.data_received(bytes(below[0].written))
    layer.data_received(bytes(below[1].written))
    layer.connection_lost(None)
    (failure,) = told
    assert isinstance(failure, ssl.SSLCertVerificationError)


def test_what_is_written_after_the_end_does_not_cut_what_was_written_before(contexts: Contexts) -> None:
    pair = Pair(contexts)
    pair.pump()
    _, server = pair.transports()
    server.write(b"an answer")
    server.close()
    server.write(b"too late")
    pair.pump()
    assert pair.ends[0].received == b"an answer"
    assert pair.ends[0].eof
