"""One node and the connections to it, kept for reuse."""

import asyncio
from collections.abc import Iterable
from typing import Final

from rerank_proxy.http.connection_faults import ConnectionFault, connection_fault
from rerank_proxy.observe.nodes import NodeState
from rerank_proxy.upstream.connection import UpstreamConnection
from rerank_proxy.upstream.health import Health
from rerank_proxy.upstream.targets import Target, TargetError

_CLOSED_IMMEDIATELY: Final = ConnectionFault("it closed the new connection immediately")


class Node:
    """A node of upstream, or the application: what is known of it, and its connections.

    Idle ones are taken newest first, so that the number kept shrinks to what the load needs.

    Args:
        max_idle: The most idle connections that are kept.

    Attributes:
        idle: Connections without a request, oldest first.
        open: All connections.
        connecting: How many connections are being made.
        answers: Counts answers that were read to their ends.
        hangs: It takes requests, and has not answered one that was to find that out.
    """

    __slots__ = (
        "_connect_timeout_s", "_idle_timeout_s", "_limit", "_loop", "answers", "connecting", "hangs",
        "health", "idle", "max_idle", "open", "target",
    )  # fmt: skip

    def __init__(
        self, target: Target, *, connect_timeout_s: float, idle_timeout_s: float, max_idle: int
    ) -> None:
        self.target = target
        self.health = Health()
        self.max_idle = max_idle
        self.idle: dict[UpstreamConnection, None] = {}
        self.open: set[UpstreamConnection] = set()
        self.connecting = 0
        self.answers = 0
        self.hangs = False
        self._connect_timeout_s = connect_timeout_s
        self._limit = f"[upstream.connect_timeout_s: {connect_timeout_s:g}s]"
        self._idle_timeout_s = idle_timeout_s
        self._loop = asyncio.get_running_loop()

    @property
    def busy(self) -> int:
        """The number of connections with a request under way."""
        return len(self.open) - len(self.idle)

    @property
    def load(self) -> int:
        """The number of requests under way, including those that wait for a connection."""
        return len(self.open) - len(self.idle) + self.connecting

    def acquire(self) -> UpstreamConnection | None:
        """Return an idle connection; None if there is none."""
        idle = self.idle
        while idle:
            connection, _ = idle.popitem()
            if connection.transport.is_closing():
                continue
            if connection.input(0):
                connection.abort()
                continue
            connection.reused = True
            return connection
        return None

    async def connect(self) -> UpstreamConnection:
        """Make a new connection.

        Raises:
            TargetError: There is none within the time.
        """
        self.connecting += 1
        try:
            async with asyncio.timeout(self._connect_timeout_s):
                connection = await self.target.open(lambda: UpstreamConnection(self))
        except (OSError, ValueError) as error:  # as TimeoutError, ssl.SSLError and UnicodeError are
            raise TargetError(connection_fault(error, self._limit), self.target) from None
        finally:
            self.connecting -= 1
        if connection.transport.is_closing():
            raise TargetError(_CLOSED_IMMEDIATELY, self.target)
        return connection

    def release(self, connection: UpstreamConnection) -> None:
        """Take back a connection whose last answer was read to its end."""
        connection.receiver = None
        self.answers += 1
        transport = connection.transport
        if connection.blocked or len(self.idle) >= self.max_idle or transport.is_closing():
            transport.abort()
            return
        if connection.reading_paused:
            connection.resume_reading()
        connection.idle_since = self._loop.time()
        self.idle[connection] = None

    def opened(self, connection: UpstreamConnection) -> None:
        """Count a new connection."""
        self.open.add(connection)

    def forget(self, connection: UpstreamConnection) -> None:
        """Count a connection no more, which is closed."""
        self.open.discard(connection)
        self.idle.pop(connection, None)

    def close_unused(self, now: float) -> None:
        """Close what has been idle for longer than the timeout. `now`: seconds of the loop's clock."""
        for connection in list(self.idle):
            if now - connection.idle_since < self._idle_timeout_s:
                break  # the dict is in order of release
            del self.idle[connection]
            connection.transport.close()

    def retire(self) -> None:
        """Close what is idle, and keep nothing from now on. Requests under way go on to their ends."""
        self.max_idle = 0
        for connection in list(self.idle):
            connection.transport.close()
        self.idle.clear()

    def abort(self) -> None:
        """Close all connections immediately, cutting off requests under way."""
        self.retire()
        for connection in list(self.open):
            connection.abort()


def node_states(nodes: Iterable[Node], now: float) -> list[NodeState]:
    """Return the states of nodes. `now`: seconds of the loop's clock."""
    return [
        NodeState(
            node.target.address,
            not node.health.is_out,
            node.load,
            node.health.failures,
            node.health.times_out,
            node.health.reason if node.health.due_at is not None else None,
            round(max(0.0, node.health.due_at - now), 1) if node.health.due_at is not None else None,
            node.health.tried,
        )
        for node in nodes
    ]
