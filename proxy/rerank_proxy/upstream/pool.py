"""Connections to one target, kept for reuse."""

import asyncio
from typing import Final, Protocol

from rerank_proxy.concurrency.tasks import BackgroundTasks
from rerank_proxy.http.connection_faults import ConnectionFault, connection_fault
from rerank_proxy.upstream.connection import UpstreamConnection
from rerank_proxy.upstream.targets import Target, TargetError

_CLOSED_IMMEDIATELY: Final = ConnectionFault("it closed the new connection immediately")


class Waiter(Protocol):
    """Asks for a new connection."""

    def connected(self, connection: UpstreamConnection) -> None:
        """Use the connection, as its receiver."""
        ...

    def connect_failed(self, error: TargetError) -> None:
        """Do without a connection."""
        ...


class Attempt:
    """A connection that is being made for a waiter."""

    __slots__ = ("_pool", "task", "waiter")

    task: asyncio.Task[None]

    def __init__(self, pool: "Pool", waiter: Waiter) -> None:
        self._pool = pool
        self.waiter: Waiter | None = waiter

    def abandon(self) -> None:
        """Take note that the waiter is gone. The connection may be made all the same, for the next one."""
        self.waiter = None
        self._pool.abandoned(self)


class Pool:
    """Connections to one target.

    Idle ones are taken newest first, so that the number kept shrinks to what the load needs.

    Args:
        max_idle: The most idle connections that are kept.
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
        self._attempts = BackgroundTasks()
        self._abandoned: set[asyncio.Task[None]] = set()
        self._closed = False

    @property
    def idle(self) -> int:
        """The number of idle connections."""
        return len(self._idle)

    @property
    def busy(self) -> int:
        """The number of connections with a request under way."""
        return len(self._open) - len(self._idle)

    def acquire(self) -> UpstreamConnection | None:
        """Return an idle connection, or None: then `connect`."""
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
        attempt.task = self._attempts.start(self._connect(attempt))
        return attempt

    def abandoned(self, attempt: Attempt) -> None:
        """Go on with an attempt whose waiter is gone if its connection could be kept, else cancel it.

        Otherwise clients that come and go would start ever more attempts while upstream does not answer.
        """
        if len(self._idle) + len(self._abandoned) >= self._max_idle:
            attempt.task.cancel()
        else:
            self._abandoned.add(attempt.task)
            attempt.task.add_done_callback(self._abandoned.discard)

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
                attempt.waiter.connect_failed(TargetError(_CLOSED_IMMEDIATELY))
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
        if connection.reading_paused:
            connection.resume_reading()
        connection.idle_since = self._loop.time()
        self._idle[connection] = None

    def opened(self, connection: UpstreamConnection) -> None:
        """Count a new connection, or abort it if the pool was closed meanwhile."""
        if self._closed:
            connection.abort()
        else:
            self._open.add(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        """Count a connection no more, which is closed."""
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
        """Close everything immediately, cutting off requests under way."""
        self._closed = True
        await self._attempts.cancel()
        self._idle.clear()
        for connection in list(self._open):
            connection.abort()
        await asyncio.sleep(0)  # the loop's next turn closes their sockets
