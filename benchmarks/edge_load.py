"""The load of the benchmark of the edge: one request after the other on each connection."""

import asyncio
import ssl
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import cycle, islice
from typing import Final, cast

from rerank_proxy.http.answer_reader import AnswerReader
from rerank_proxy.processes.loop import new_event_loop

_READ_BYTES: Final = 256 * 1024
_LARGEST_ANSWER: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Load:
    """What is sent to a server.

    Attributes:
        requests: They are sent in turn.
        count: How many are sent.
        connections: How many they are divided among.
    """

    requests: Sequence[bytes]
    count: int
    connections: int


def client_context() -> ssl.SSLContext:
    """Return the context of a client that does not check certificates: that is not what is measured."""
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


class Clients:
    """Connections that are open and have answered before."""

    def __init__(self, runner: asyncio.Runner, clients: "list[_Client]", requests: Sequence[bytes]) -> None:
        self._runner = runner
        self._clients = clients
        self._requests = requests

    def send(self, count: int) -> list[float]:
        """Send that many requests, and return the seconds of each until its answer was complete."""
        return self._runner.run(_send(self._clients, self._requests, count))


@contextmanager
def warm(port: int, load: Load, tls: ssl.SSLContext | None) -> Iterator[Clients]:
    """Open the connections of a load, and send some requests on them."""
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        clients = runner.run(_connect(port, load, tls))
        yield Clients(runner, clients, load.requests)
        for client in clients:
            client.transport.abort()


async def _connect(port: int, load: Load, tls: ssl.SSLContext | None) -> "list[_Client]":
    loop = asyncio.get_running_loop()
    size = await _measure_answer(port, load.requests[0], tls)
    clients = []
    for _ in range(load.connections):
        _, client = await loop.create_connection(lambda: _Client(size), "127.0.0.1", port, ssl=tls)
        clients.append(client)
    await _send(clients, load.requests, 2 * load.connections)
    return clients


async def _measure_answer(port: int, request: bytes, tls: ssl.SSLContext | None) -> int:
    """Return the bytes of an answer, of which the others then are only counted."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=tls)
    writer.write(request)
    answer, size = AnswerReader(_LARGEST_ANSWER), 0
    while not answer.done:
        piece = await reader.read(_READ_BYTES)
        size += len(piece)
        answer.feed(piece)
    assert answer.head is not None
    if answer.head.status != 200:
        raise RuntimeError(f"the answer has status {answer.head.status}")
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()
    return size


async def _send(clients: "list[_Client]", requests: Sequence[bytes], count: int) -> list[float]:
    left = islice(cycle(requests), count)
    await asyncio.gather(*(client.send(left) for client in clients))
    return [seconds for client in clients for seconds in client.take_times()]


class _Client(asyncio.BufferedProtocol):
    """Sends the next request whenever an answer is complete."""

    transport: asyncio.Transport

    def __init__(self, answer_bytes: int) -> None:
        self._answer_bytes = answer_bytes
        self._buffer = bytearray(_READ_BYTES)
        self._done = asyncio.get_running_loop().create_future()
        self._times: list[float] = []
        self._received = 0
        self._sent_at = 0.0
        self._left: Iterator[bytes] = iter(())

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if not self._done.done():
            self._done.set_exception(exc or ConnectionError("the server has closed a connection"))

    def send(self, left: Iterator[bytes]) -> asyncio.Future[None]:
        """Send requests while there are any left."""
        self._left = left
        self._done = asyncio.get_running_loop().create_future()
        self._next()
        return self._done

    def take_times(self) -> list[float]:
        times, self._times = self._times, []
        return times

    def get_buffer(self, sizehint: int) -> bytearray:
        return self._buffer

    def buffer_updated(self, nbytes: int) -> None:
        self._received += nbytes
        if self._received == self._answer_bytes:
            self._received = 0
            self._times.append(time.perf_counter() - self._sent_at)
            self._next()

    def _next(self) -> None:
        request = next(self._left, None)
        if request is None:
            self._done.set_result(None)
        else:
            self._sent_at = time.perf_counter()
            self.transport.write(request)
