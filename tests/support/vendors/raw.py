"""A server that answers in any bytes that a test wants, HTTP or not."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Final

from tests.support.raw_http import Wire, raw_server

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
    _wires: list[Wire] = field(default_factory=list)

    async def interrupt(self, said: bytes) -> None:
        """Send bytes on all kept connections, and wait until the client has closed them or
        ignored the bytes.
        """
        for wire in self._wires:
            await wire.send(said)
        for _ in range(100):
            await asyncio.sleep(0)

    async def serve(self, wire: Wire) -> None:
        """Answer the requests of one connection."""
        self.connections += 1
        self._wires.append(wire)
        while await self._answer(wire):
            pass
        await wire.close()

    async def _answer(self, wire: Wire) -> bool:
        request = await wire.read_message()
        script = self.token
        if b"token HTTP/1.1" not in request.head:
            self.requests.append(request.raw)
            script = self.scripts.pop(0) if len(self.scripts) > 1 else self.scripts[0]
        for piece in script():
            if piece == KEEP:
                return True
            await wire.send(piece)
            self.sent += len(piece)
        return False


@asynccontextmanager
async def serving_raw() -> AsyncIterator[RawVendor]:
    vendor = RawVendor()
    async with raw_server(vendor.serve) as server:
        vendor.url = server.url
        yield vendor
