"""Nodes that take requests and answer none, as a machine that hangs does, or a process that is stopped.

The system goes on to accept their connections, so connecting tells nothing. A node that has requests under
way and has completed no answer for `SILENT_S` may be one, or may work on requests that take long: so it is
asked for `HEAD /`, without credentials, which every Elasticsearch answers immediately, be it by a 401.
Nothing is sent to a node that answers what clients ask.
"""

import asyncio
from contextlib import suppress
from typing import Final

from rerank_proxy.http.connection_faults import ConnectionFault
from rerank_proxy.upstream.connection import UpstreamConnection
from rerank_proxy.upstream.node import Node
from rerank_proxy.upstream.targets import TcpTarget

LOOKED_AT_EVERY_S: Final = 1.0
SILENT_S: Final = 10.0
"""Seconds without a complete answer after which a node with requests under way is asked."""
MOST_S: Final = 60.0
"""The longest time between two questions, which doubles while a node works on the same requests."""
ANSWERS_IN_S: Final = 5.0
"""A node that sends nothing for so long is left out."""
HANGS: Final = ConnectionFault("takes requests and answers none")


class Silence:
    """How long nodes have had requests without answering any. Clients that give up do not end it."""

    def __init__(self) -> None:
        self._looked_at: float | None = None
        self._seen: dict[Node, tuple[int, float, float]] = {}

    def to_ask(self, nodes: tuple[Node, ...], now: float) -> list[Node]:
        """Return the nodes that should be asked now. To be called every `LOOKED_AT_EVERY_S`.

        Args:
            now: Seconds of the loop's clock.
        """
        passed_s = 0.0 if self._looked_at is None else now - self._looked_at
        self._looked_at = now
        due: list[Node] = []
        seen: dict[Node, tuple[int, float, float]] = {}
        for node in nodes:
            answers, silent_s, wait_s = self._seen.get(node, (node.answers, 0.0, SILENT_S))
            if answers != node.answers:
                silent_s, wait_s = 0.0, SILENT_S
            elif node.busy and not node.health.is_out:
                silent_s += passed_s
                if silent_s >= wait_s:
                    due.append(node)
                    silent_s, wait_s = 0.0, min(2 * wait_s, MOST_S)
            seen[node] = node.answers, silent_s, wait_s
        self._seen = seen
        return due


class _Witness:
    """Waits for any sign of life on a connection."""

    def __init__(self) -> None:
        self.seen = asyncio.Event()

    def response_received(self, data: bytes) -> None:
        self.seen.set()

    def upstream_lost(self, error: Exception | None) -> None:
        self.seen.set()  # what closes a connection does not hang

    def upstream_blocked(self) -> None:
        """Do nothing: the request is a few bytes."""

    def upstream_unblocked(self) -> None:
        """Do nothing, for the same reason."""


async def answers(connection: UpstreamConnection) -> bool:
    """Return whether a node answers on this connection, which is closed."""
    target, witness = connection.owner.target, _Witness()
    host = target.own_host if isinstance(target, TcpTarget) else b"localhost"
    connection.receiver = witness
    connection.transport.write(b"HEAD / HTTP/1.1\r\nHost: %b\r\n\r\n" % host)
    try:
        with suppress(TimeoutError):
            await asyncio.wait_for(witness.seen.wait(), ANSWERS_IN_S)
    finally:
        connection.abort()
    return witness.seen.is_set()
