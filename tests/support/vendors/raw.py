"""A server that answers in any bytes that a test wants, HTTP or not."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

_LENGTH: Final = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_TOKEN: Final = b'{"access_token": "access-token-1", "expires_in": 3600}'

Script = Callable[[], Iterable[bytes]]
"""Makes the pieces of one answer; after the last one the connection is closed, unless it says `KEEP`."""

KEEP: Final = b""
"""A piece that ends an answer and keeps its connection."""


def http(body: bytes, *head: str, status: str = "200 OK") -> bytes:
    """Return a whole answer that keeps its connection."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *head]
    return "\r\n".join([*lines, "", ""]).encode() + body


def once(*pieces: bytes) -> Script:
    return lambda: pieces


@dataclass
class RawVendor:
    """A running server.

    Attributes:
        scripts: For the next requests, one each; the last one stays.
        token: What token endpoints answer.
        requests: Those that are not for tokens, head and body.
        connections: How many were opened.
        sent: Bytes that the other side took, or the system for it.
    """

    url: str = ""
    scripts: list[Script] = field(default_factory=list)
    token: Script = field(default=once(http(_TOKEN), KEEP))
    requests: list[bytes] = field(default_factory=list)
    connections: int = 0
    sent: int = 0
    _writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def interrupt(self, said: bytes) -> None:
        """Send bytes on all kept connections, and wait until the client has closed them or
        ignored the bytes.
        """
        for writer in self._writers:
            writer.write(said)
            await writer.drain()
        for _ in range(100):
            await asyncio.sleep(0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self._writers.append(writer)
        try:
            while await self._answer(reader, writer):
                pass
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> bool:
        head = await reader.readuntil(b"\r\n\r\n")
        length = _LENGTH.search(head)
        body = await reader.readexactly(int(length[1])) if length else b""
        script = self.token
        if b"token HTTP/1.1" not in head:
            self.requests.append(head + body)
            script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        for piece in script():
            if piece == KEEP:
                return True
            writer.write(piece)
            await writer.drain()
            self.sent += len(piece)
        return False


@asynccontextmanager
async def serving_raw() -> AsyncIterator[RawVendor]:
    vendor = RawVendor()
    tasks: set[asyncio.Task[None]] = set()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(vendor.serve(reader, writer))
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    server = await asyncio.start_server(connected, "127.0.0.1", 0)
    vendor.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield vendor
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
