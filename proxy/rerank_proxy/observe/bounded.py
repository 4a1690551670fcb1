"""Limits on the connections of a port with few clients: their number, and the duration of each."""

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any, NamedTuple, cast


class _Open(NamedTuple):
    address: str
    timer: asyncio.TimerHandle


class BoundedConnections:
    """A protocol factory around another one, which ends connections that are too many or too old.

    A new connection never waits. Another one is closed for it: the oldest one of the address that has the
    most, so that a client that opens many can neither keep a probe out nor cut it off.

    Args:
        factory: Makes the protocol that serves a connection.
        most: The most connections that may be open.
        seconds: How long a connection may last.
    """

    def __init__(self, factory: Callable[[], asyncio.Protocol], most: int, seconds: float) -> None:
        self._factory = factory
        self._most = most
        self._seconds = seconds
        self._open: dict[asyncio.Transport, _Open] = {}  # oldest first

    def __call__(self) -> asyncio.Protocol:
        return _Bounded(self, self._factory())

    def opened(self, transport: asyncio.Transport) -> None:
        if len(self._open) >= self._most:
            given_up = self._least_needed()
            self.closed(given_up)
            given_up.abort()
        peer: Any = transport.get_extra_info("peername")
        timer = asyncio.get_running_loop().call_later(self._seconds, transport.abort)
        self._open[transport] = _Open(str(peer[0]) if isinstance(peer, tuple) else "", timer)

    def extend(self, transport: asyncio.BaseTransport, seconds: float) -> None:
        """Let a connection last that long from now on, however long it has lasted.

        Args:
            transport: That of the protocol that serves it, perhaps one above the connection's own.
        """
        sock: Any = transport.get_extra_info("socket")
        for own, known in self._open.items():
            if own is transport or _is_same(own.get_extra_info("socket"), sock):
                known.timer.cancel()
                timer = asyncio.get_running_loop().call_later(seconds, own.abort)
                self._open[own] = _Open(known.address, timer)
                return

    def closed(self, transport: asyncio.Transport) -> None:
        known = self._open.pop(transport, None)
        if known is not None:
            known.timer.cancel()

    def _least_needed(self) -> asyncio.Transport:
        numbers = Counter(each.address for each in self._open.values())
        most = max(numbers.values())
        return next(transport for transport, each in self._open.items() if numbers[each.address] == most)


def _is_same(socket: Any, other: Any) -> bool:
    """Return whether two objects stand for the same open socket: a loop may make one each time."""
    return socket is not None and other is not None and bool(socket.fileno() == other.fileno() >= 0)


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
