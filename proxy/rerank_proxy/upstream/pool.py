"""Connections to one target, upstream or the local application, kept for reuse."""

import asyncio
import select
import socket
import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol, cast
from urllib.parse import urlsplit

from rerank_proxy.http.connection_faults import ConnectionFault, connection_fault
from rerank_proxy.settings import UpstreamSettings
from rerank_proxy.upstream.address import host_header, tls_context

if TYPE_CHECKING:
    from collections.abc import Callable


_CLOSED_AT_ONCE: Final = ConnectionFault("it closed the new connection at once")


class TargetError(Exception):
    """No connection can be had."""

    def __init__(self, fault: ConnectionFault) -> None:
        super().__init__(fault.words)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class TcpTarget:
    """Where upstream listens.

    Attributes:
        name: How messages call it, its URL.
        host_header: What `Host` becomes on the way there; None keeps the client's.
        tls: None for plain HTTP.
    """

    name: str
    host: str
    port: int
    host_header: bytes | None
    tls: ssl.SSLContext | None

    @classmethod
    def from_settings(cls, settings: UpstreamSettings) -> "TcpTarget":
        """Raises InvalidSettingsError when the certificate authorities cannot be read."""
        url = urlsplit(settings.url)
        return cls(
            name=settings.url,
            host=url.hostname or "",
            port=url.port or (443 if url.scheme == "https" else 80),
            host_header=host_header(settings),
            tls=tls_context(settings),
        )

    async def open(self, factory: "Callable[[], UpstreamConnection]") -> "UpstreamConnection":
        loop = asyncio.get_running_loop()
        name = self.host if self.tls else None
        _, connection = await loop.create_connection(
            factory, self.host, self.port, ssl=self.tls, server_hostname=name
        )
        return connection


@dataclass(frozen=True, slots=True)
class UnixTarget:
    """The local application's socket."""

    path: Path
    host_header: None = None

    @property
    def name(self) -> str:
        return str(self.path)

    async def open(self, factory: "Callable[[], UpstreamConnection]") -> "UpstreamConnection":
        _, connection = await asyncio.get_running_loop().create_unix_connection(factory, str(self.path))
        return connection


Target = TcpTarget | UnixTarget


class Waiter(Protocol):
    """Who asked for a connection, and later uses one."""

    def connected(self, connection: "UpstreamConnection") -> None: ...

    def connect_failed(self, error: TargetError) -> None: ...


class Receiver(Protocol):
    """Who uses a connection, for one request at a time."""

    def response_received(self, data: bytes) -> None: ...

    def upstream_lost(self, error: Exception | None) -> None: ...

    def upstream_blocked(self) -> None: ...

    def upstream_unblocked(self) -> None: ...


class UpstreamConnection(asyncio.Protocol):
    """One connection. It belongs to its receiver while that has a request under way, else to the pool."""

    __slots__ = (
        "_input",
        "_pool",
        "_reading_paused",
        "blocked",
        "idle_since",
        "receiver",
        "reused",
        "transport",
    )

    transport: asyncio.Transport

    def __init__(self, pool: "Pool") -> None:
        self._input = select.poll()
        self._pool = pool
        self._reading_paused = False
        self.receiver: Receiver | None = None
        self.reused = False
        self.blocked = False
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        sock: socket.socket = transport.get_extra_info("socket")
        # Requests may run for hours without a byte: without probes a middlebox drops the silent connection.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._input.register(sock.fileno(), select.POLLIN)
        self._pool.opened(self)

    def data_received(self, data: bytes) -> None:
        if self.receiver is None:
            self.transport.abort()  # nobody asked: an answer to nothing would become the next one's
        else:
            self.receiver.response_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._pool.forget(self)
        if self.receiver is not None:
            receiver, self.receiver = self.receiver, None
            receiver.upstream_lost(exc)

    def has_input(self) -> bool:
        """Asks the system, because the loop may not have got round to telling.

        Input on an idle connection is its end, as a rule: a request sent there would be lost, and not every
        request may be sent again.
        """
        return bool(self._input.poll(0))

    def pause_writing(self) -> None:
        self.blocked = True
        if self.receiver is not None:
            self.receiver.upstream_blocked()

    def resume_writing(self) -> None:
        self.blocked = False
        if self.receiver is not None:
            self.receiver.upstream_unblocked()

    def pause_reading(self) -> None:
        if not self._reading_paused and not self.transport.is_closing():
            self._reading_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self._reading_paused and not self.transport.is_closing():
            self._reading_paused = False
            self.transport.resume_reading()

    def abort(self) -> None:
        """Close at once and tell nobody: Elasticsearch cancels a search when its connection closes."""
        self.receiver = None
        self.transport.abort()


class Attempt:
    """A connection that is being made for a waiter."""

    __slots__ = ("_pool", "task", "waiter")

    task: "asyncio.Task[None]"

    def __init__(self, pool: "Pool", waiter: Waiter) -> None:
        self._pool = pool
        self.waiter: Waiter | None = waiter

    def abandon(self) -> None:
        """The waiter is gone. The connection may be made all the same, to serve the next one."""
        self.waiter = None
        self._pool.abandoned(self)


class Pool:
    """Connections to one target.

    Idle ones are taken newest first, so that the number kept shrinks to what the load needs.
    """

    def __init__(
        self,
        target: Target,
        *,
        connect_timeout_s: float,
        idle_timeout_s: float,
        max_idle: int,
    ) -> None:
        self.target = target
        self._connect_timeout_s = connect_timeout_s
        self._limit = f"[upstream.connect_timeout_s: {connect_timeout_s:g}s]"
        self._idle_timeout_s = idle_timeout_s
        self._max_idle = max_idle
        self._loop = asyncio.get_running_loop()
        self._idle: dict[UpstreamConnection, None] = {}
        self._open: set[UpstreamConnection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._abandoned: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def idle(self) -> int:
        return len(self._idle)

    @property
    def busy(self) -> int:
        return len(self._open) - len(self._idle)

    def acquire(self) -> UpstreamConnection | None:
        """An idle connection, or None: then `connect`."""
        while self._idle:
            connection, _ = self._idle.popitem()
            if connection.transport.is_closing():
                continue
            if connection.has_input():
                connection.abort()
                continue
            connection.reused = True
            return connection
        return None

    def connect(self, waiter: Waiter) -> Attempt:
        """Make a new connection. The waiter is told later, never within this call."""
        attempt = Attempt(self, waiter)
        attempt.task = task = self._loop.create_task(self._connect(attempt))
        self._tasks.add(task)
        task.add_done_callback(self._ended)
        return attempt

    def abandoned(self, attempt: Attempt) -> None:
        """Go on with as many as could be kept. Clients that come and go would make ever more of them, while
        upstream does not answer."""
        if len(self._idle) + len(self._abandoned) >= self._max_idle:
            attempt.task.cancel()
        else:
            self._abandoned.add(attempt.task)

    def _ended(self, task: "asyncio.Task[None]") -> None:
        self._tasks.discard(task)
        self._abandoned.discard(task)

    async def _connect(self, attempt: Attempt) -> None:
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                connection = await self.target.open(lambda: UpstreamConnection(self))
        except (OSError, UnicodeError) as error:  # TimeoutError and ssl.SSLError are OSErrors
            if attempt.waiter is not None:
                attempt.waiter.connect_failed(TargetError(connection_fault(error, self._limit)))
            return
        if connection.transport.is_closing():
            if attempt.waiter is not None:
                attempt.waiter.connect_failed(TargetError(_CLOSED_AT_ONCE))
        elif attempt.waiter is None:
            self.release(connection)
        else:
            attempt.waiter.connected(connection)

    def release(self, connection: UpstreamConnection) -> None:
        """Take back a connection whose last answer was read to its end."""
        connection.receiver = None
        unusable = connection.blocked or connection.transport.is_closing()
        if unusable or self._closed or len(self._idle) >= self._max_idle:
            connection.transport.abort()
            return
        connection.resume_reading()
        connection.idle_since = self._loop.time()
        self._idle[connection] = None

    def opened(self, connection: UpstreamConnection) -> None:
        """The connection is there; too late, perhaps."""
        if self._closed:
            connection.abort()
        else:
            self._open.add(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        """The connection is closed."""
        self._open.discard(connection)
        self._idle.pop(connection, None)

    def close_unused(self, now: float) -> None:
        """Close what has been idle for longer than the timeout. `now`: seconds of the loop's clock."""
        for connection in list(self._idle):
            if now - connection.idle_since < self._idle_timeout_s:
                break  # the dict is in order of release
            del self._idle[connection]
            connection.transport.close()

    async def close(self) -> None:
        """Close everything at once."""
        self._closed = True
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._idle.clear()
        for connection in list(self._open):
            connection.abort()
        await asyncio.sleep(0)  # the loop's next turn closes their sockets
