"""One connection to a target, for one request at a time."""

import asyncio
import select
import socket
from collections.abc import Callable
from typing import Final, Protocol, cast

from rerank_proxy.upstream.targets import Target

_KEEP_ALIVE: Final = [
    (getattr(socket, name), value)
    for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
    if hasattr(socket, name)  # not every system has them all
]
"""A connection is probed after 30 seconds of silence, and lost after three probes without an answer."""

_JOIN_BYTES: Final = 16 * 1024
"""Up to here copying a body behind its head is cheaper than a second buffer to write."""


class Receiver(Protocol):
    """Uses a connection while it has a request under way."""

    def response_received(self, data: bytes) -> None:
        """Take the next piece of the answer."""
        ...

    def upstream_lost(self, error: Exception | None) -> None:
        """Take note that the connection is closed; `error` is None when the other side ended it in order."""
        ...

    def upstream_blocked(self) -> None:
        """Send no more, until `upstream_unblocked`: the target reads more slowly."""
        ...

    def upstream_unblocked(self) -> None: ...


class Owner(Protocol):
    """Keeps a connection while no request is under way.

    Attributes:
        target: Where its connections lead to.
    """

    target: Target

    def opened(self, connection: "UpstreamConnection") -> None:
        """Take note of a new connection."""
        ...

    def forget(self, connection: "UpstreamConnection") -> None:
        """Take note that a connection is closed."""
        ...

    def release(self, connection: "UpstreamConnection") -> None:
        """Take back a connection whose last answer was read to its end."""
        ...


class UpstreamConnection(asyncio.Protocol):
    """One connection. It belongs to its receiver while that has a request under way, else to its owner.

    Attributes:
        blocked: The target reads more slowly than it is sent to.
        owner: The node that it leads to.
        idle_since: Loop time since when it is idle.
        input: Asks the system whether anything has arrived that the loop has not yet told of: `input(0)` is
            empty if not. Input on an idle connection is usually its end: a request sent there would be lost,
            and not every request may be sent again.
        reading_paused: What the target sends is left with the system.
        reused: A request was sent on it before.
    """

    __slots__ = (
        "blocked",
        "idle_since",
        "input",
        "owner",
        "reading_paused",
        "receiver",
        "reused",
        "transport",
    )

    transport: asyncio.Transport
    input: Callable[[int], list[tuple[int, int]]]

    def __init__(self, owner: Owner) -> None:
        self.owner = owner
        self.receiver: Receiver | None = None
        self.reading_paused = False
        self.reused = False
        self.blocked = False
        self.idle_since = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.Transport", transport)
        sock: socket.socket = transport.get_extra_info("socket")
        # Requests may run for hours without a byte: without probes a middlebox drops the silent connection,
        # and a machine that is gone would be waited for as long.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for option, value in _KEEP_ALIVE:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
        poll = select.poll()
        poll.register(sock.fileno(), select.POLLIN)
        self.input = poll.poll
        self.owner.opened(self)

    def send(self, head: bytes, body: list[bytes]) -> None:
        """Send a request, or its beginning. The body has one piece at least."""
        if len(body) == 1 and len(body[0]) <= _JOIN_BYTES:
            self.transport.write(head + body[0])
        else:
            self.transport.writelines([head, *body])

    def data_received(self, data: bytes) -> None:
        if self.receiver is None:
            self.transport.abort()  # unsolicited: it would be taken for the answer to the next request
        else:
            self.receiver.response_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self.owner.forget(self)
        if exc is not None:
            self.owner.target.lost(exc)
        if self.receiver is not None:
            receiver, self.receiver = self.receiver, None
            receiver.upstream_lost(exc)

    def pause_writing(self) -> None:
        self.blocked = True
        if self.receiver is not None:
            self.receiver.upstream_blocked()

    def resume_writing(self) -> None:
        self.blocked = False
        if self.receiver is not None:
            self.receiver.upstream_unblocked()

    def pause_reading(self) -> None:
        if not self.reading_paused and not self.transport.is_closing():
            self.reading_paused = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        if self.reading_paused and not self.transport.is_closing():
            self.reading_paused = False
            self.transport.resume_reading()

    def abort(self) -> None:
        """Close immediately without telling the receiver: Elasticsearch then cancels a search."""
        self.receiver = None
        self.transport.abort()
