"""HTTP as bytes: raw servers and clients for tests that compare what went over the wire.

They read just enough of a message to know where it ends, by code that shares nothing with the proxy's.
"""

import asyncio
import os
import re
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

TIMEOUT_S = 300.0
"""For anything that must happen. It is spent only by a test that fails, and no machine is as slow."""

_REQUEST_ID = re.compile(rb"x-rerank-proxy-request-id: [^\r]*\r\n")

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


@dataclass(frozen=True)
class Message:
    """A request or response as it came: head with its empty line, body with its chunk framing."""

    head: bytes
    body: bytes

    @property
    def raw(self) -> bytes:
        return self.head + self.body

    @property
    def first_line(self) -> bytes:
        return self.head.partition(b"\r\n")[0]

    @property
    def status(self) -> int:
        return int(self.head.split(b" ", 2)[1])

    @property
    def content(self) -> bytes:
        """The body without its chunk framing."""
        if self.field("transfer-encoding") != "chunked":
            return self.body
        content, rest = b"", self.body
        while size := int(rest[: rest.index(b"\r\n")], 16):
            start = rest.index(b"\r\n") + 2
            content, rest = content + rest[start : start + size], rest[start + size + 2 :]
        return content

    def field(self, name: str) -> str | None:
        match = re.search(rb"\r\n(?i:%b): *([^\r]*)" % re.escape(name.encode()), self.head)
        return match[1].decode("latin-1") if match else None


class Wire:
    """One end of a connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @property
    def socket(self) -> socket.socket:
        sock: socket.socket = self._writer.get_extra_info("socket")
        return sock

    def end_without_notice(self) -> None:
        """End what is sent below TLS, which does not tell of it."""
        with socket.socket(fileno=os.dup(self._writer.get_extra_info("socket").fileno())) as below:
            below.shutdown(socket.SHUT_WR)

    @property
    def tls(self) -> ssl.SSLObject:
        tls: ssl.SSLObject = self._writer.get_extra_info("ssl_object")
        return tls

    async def send(self, *pieces: bytes) -> None:
        """Send pieces; each leaves before the next one is written."""
        for piece in pieces:
            if self._writer.is_closing():  # uvloop would raise RuntimeError
                raise ConnectionResetError
            self._writer.write(piece)
            await asyncio.wait_for(self._writer.drain(), TIMEOUT_S)

    async def read(self, size: int) -> bytes:
        return await asyncio.wait_for(self._reader.readexactly(size), TIMEOUT_S)

    async def read_some(self) -> bytes:
        """Return the next bytes, as many as are there; empty at the end."""
        return await asyncio.wait_for(self._reader.read(65536), TIMEOUT_S)

    async def read_head(self) -> bytes:
        return await asyncio.wait_for(self._reader.readuntil(b"\r\n\r\n"), TIMEOUT_S)

    async def read_message(self, *, has_body: bool = True) -> Message:
        """Return a message; a response to `HEAD` has no body."""
        head = await self.read_head()
        return Message(head, await self.read_body(head) if has_body else b"")

    async def read_body(self, head: bytes) -> bytes:
        """Return the body behind a head, with its chunk framing."""
        length = re.search(rb"\r\n(?i:content-length): *(\d+)", head)
        if re.match(rb"HTTP/1\.. (1..|204|304)", head):
            return b""
        if re.search(rb"\r\n(?i:transfer-encoding: *chunked)", head):
            return await self._read_chunks()
        if length:
            return await self.read(int(length[1]))
        return await self.read_to_end() if head.startswith(b"HTTP") else b""

    async def _read_chunks(self) -> bytes:
        raw = b""
        while True:
            line = await asyncio.wait_for(self._reader.readuntil(b"\r\n"), TIMEOUT_S)
            raw += line
            size = int(re.match(rb"[0-9a-fA-F]+", line)[0], 16)  # type: ignore[index]  # a bad line fails the test
            if not size:
                break
            raw += await self.read(size + 2)
        while not raw.endswith(b"\r\n\r\n"):
            raw += await asyncio.wait_for(self._reader.readuntil(b"\r\n"), TIMEOUT_S)
        return raw

    async def read_to_end(self) -> bytes:
        """Return all until the other side ends the connection; ConnectionResetError when it resets it."""
        return await asyncio.wait_for(self._reader.read(-1), TIMEOUT_S)

    async def ended(self) -> bool:
        """Wait until the other side is gone, by an end or a reset; what it still sent is dropped."""
        with suppress(ConnectionResetError, BrokenPipeError):
            await self.read_to_end()
        return True

    async def ends_next(self) -> None:
        """Wait for the end of a side that has nothing to say before it; raise ConnectionError for a reset."""
        assert await self._reader.read(1) == b"", "it went on without an answer"

    def end_sending(self) -> None:
        """End what is sent; over TLS that ends the connection, in order: asyncio has no other way."""
        if self._writer.can_write_eof():
            self._writer.write_eof()
        else:
            self._writer.close()

    def reset(self) -> None:
        """Close with a TCP reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    async def close(self) -> None:
        self._writer.close()
        with suppress(OSError, TimeoutError):
            await asyncio.wait_for(self._writer.wait_closed(), TIMEOUT_S)


class ApplicationWire(Wire):
    """What the application gets from the edge, less the ids of requests, which are new each time."""

    async def read_head(self) -> bytes:
        return _REQUEST_ID.sub(b"", await super().read_head())


Serve = Callable[[Wire], Awaitable[None]]


@dataclass
class RawServer:
    """A server that runs one coroutine per connection.

    Attributes:
        wires: All connections so far, oldest first.
    """

    port: int = 0
    scheme: str = "http"
    wires: list[Wire] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"{self.scheme}://127.0.0.1:{self.port}"


@asynccontextmanager
async def raw_server(
    serve: Serve,
    *,
    path: Path | None = None,
    tls: ssl.SSLContext | None = None,
    host: str = "127.0.0.1",
    port: int = 0,
) -> AsyncIterator[RawServer]:
    """Serve on a TCP port (0: a free one), or as the application on a UNIX socket.

    Fails the test when `serve` failed.
    """
    state = RawServer(scheme="http" if tls is None else "https")
    tasks: set[asyncio.Task[None]] = set()

    async def run(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        tasks.add(task)
        wire = Wire(reader, writer) if path is None else ApplicationWire(reader, writer)
        state.wires.append(wire)
        try:
            await serve(wire)
            await wire.close()  # which sends what still waits, and announces the end
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the other side may leave whenever it likes
        except asyncio.CancelledError:
            pass  # the test is over
        except BaseException as error:
            state.failures.append(error)
            raise
        finally:
            writer.transport.abort()

    if path is None:
        server = await asyncio.start_server(run, host, port, ssl=tls)
        state.port = server.sockets[0].getsockname()[1]
    else:
        server = await asyncio.start_unix_server(run, str(path))
    try:
        yield state
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    for failure in state.failures:
        raise failure


def answering(*answers: bytes) -> tuple[Serve, list[Message]]:
    """Return a server's coroutine that reads requests and gives these answers in turn, the last one for ever.

    Returns it and the list of the requests that it will have read.
    """
    requests: list[Message] = []

    async def serve(wire: Wire) -> None:
        while True:
            requests.append(await wire.read_message())
            await wire.send(answers[min(len(requests), len(answers)) - 1])

    return serve, requests


@asynccontextmanager
async def connect(
    port: int, host: str = "127.0.0.1", *, tls: ssl.SSLContext | None = None, source: str | None = None
) -> AsyncIterator[Wire]:
    own = None if source is None else (source, 0)
    opening = asyncio.open_connection(host, port, ssl=tls, local_addr=own)
    reader, writer = await asyncio.wait_for(opening, TIMEOUT_S)
    try:
        yield Wire(reader, writer)
    finally:
        writer.transport.abort()


@contextmanager
def unconnectable() -> Iterator[int]:
    """Yield a port where no connection comes about: its queue of one is full, and the system drops more."""
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        address = full.getsockname()
        with socket.create_connection(address), socket.socket() as second:
            second.setblocking(False)
            second.connect_ex(address)
            yield address[1]
