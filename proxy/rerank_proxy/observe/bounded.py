"""Limits on the connections of a port with few clients: their number, and the duration of each."""

import asyncio
from collections.abc import Callable
from typing import cast


class BoundedConnections:
    """A protocol factory around another one, which ends connections that are too many or too old.

    A new connection never waits: the oldest one is closed, so that a client that opens many cannot keep a
        probe
    out.

    Args:
        factory: Makes the protocol that serves a connection.
        most: The most connections that may be open.
        seconds: How long a connection may last.
    """

    def __init__(self, factory: Callable[[], asyncio.Protocol], most: int, seconds: float) -> None:
        self._factory = factory
        self._most = most
        self._seconds = seconds
        self._open: dict[asyncio.Transport, asyncio.TimerHandle] = {}  # oldest first

    def __call__(self) -> asyncio.Protocol:
        return _Bounded(self, self._factory())

    def opened(self, transport: asyncio.Transport) -> None:
        if len(self._open) >= self._most:
            oldest = next(iter(self._open))
            self.closed(oldest)
            oldest.abort()
        loop = asyncio.get_running_loop()
        self._open[transport] = loop.call_later(self._seconds, transport.abort)

    def closed(self, transport: asyncio.Transport) -> None:
        timer = self._open.pop(transport, None)
        if timer is not None:
            timer.cancel()


class _Bounded(asyncio.Protocol):
    """Forwards all events to the protocol that serves the connection."""

    def __init__(self, connections: BoundedConnections, inner: asyncio.Protocol) -> None:
        self._connections = connections
        self._inner = inner

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._connections.opened(self._transport)
        self._inner.connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self._connections.closed(self._transport)
        self._inner.connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._inner.data_received(data)

    def eof_received(self) -> bool | None:
        return self._inner.eof_received()

    def pause_writing(self) -> None:
        self._inner.pause_writing()

    def resume_writing(self) -> None:
        self._inner.resume_writing()
