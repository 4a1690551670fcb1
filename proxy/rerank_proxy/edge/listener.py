"""Accepts connections, up to a limit."""

import asyncio
import errno
import logging
import os
import socket
from collections.abc import Callable

from rerank_proxy.concurrency.tasks import BackgroundTasks
from rerank_proxy.settings import Address
from rerank_proxy.tls.handshakes import Handshakes
from rerank_proxy.tls.owned import OwnedContext

logger = logging.getLogger(__name__)

_BACKLOG = 1024
_BATCH = 64
"""Connections accepted in a row before other work gets its turn."""
_PAUSE_S = 0.5
"""How long nothing is accepted after the system refused a connection, for lack of file descriptors for
example.
"""
_LOG_AGAIN_S = 60.0
"""The least time between two log lines that say the same."""

# A name such as `localhost` may have an IPv6 address on a machine without IPv6: its other addresses will do.
_ADDRESS_ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)


class ListenError(Exception):
    """The address cannot be listened on. The message is one line for the operator."""


def bind(address: Address, *, shared: bool = False) -> list[socket.socket]:
    """Listen on every address of the host's name, on the same port.

    Args:
        shared: Other processes of the same user may listen there, too (`SO_REUSEPORT`).

    Raises:
        ListenError: The port is taken, the address is not one of this machine, …
    """
    sockets: list[socket.socket] = []
    absent: OSError | None = None
    port = address.port
    try:
        for family, kind, protocol, _, where in socket.getaddrinfo(
            address.host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        ):
            try:
                listener = _listen(family, kind, protocol, (where[0], port, *where[2:]), shared=shared)
            except OSError as error:
                if error.errno not in _ADDRESS_ABSENT:
                    raise
                absent = error
            else:
                sockets.append(listener)
                port = listener.getsockname()[1]  # the one that the system chose in place of 0
        if absent is not None and not sockets:
            raise absent
    except OSError as error:
        for listener in sockets:
            listener.close()
        raise ListenError(f"cannot listen on {address}: {_problem(error)}") from None
    return sockets


def _listen(
    family: int, kind: int, protocol: int, where: tuple[object, ...], *, shared: bool
) -> socket.socket:
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setblocking(False)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(where)
        listener.listen(_BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener


def address_of(sockets: list[socket.socket]) -> Address:
    """Return where `bind` listens, with the actual port."""
    host, port = sockets[0].getsockname()[:2]
    return Address(host, port)


def _problem(error: OSError) -> str:
    if isinstance(error, socket.gaierror) or error.errno is None:
        return (error.strerror or str(error)).lower()
    return os.strerror(error.errno).lower()


class Listener:
    """Hands accepted connections to protocols; beyond the limit they wait in the system's queue.

    Args:
        tls: What `https` is served with; None for plain HTTP. A connection counts from the beginning of its
            handshake.

    Attributes:
        handshakes: Those of `tls`; None without.
    """

    def __init__(
        self,
        sockets: list[socket.socket],
        factory: Callable[[], asyncio.Protocol],
        max_connections: int,
        tls: OwnedContext | None = None,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self.handshakes = None if tls is None else Handshakes(tls, factory, self.connection_closed)
        self._sockets = sockets
        self._factory = factory
        self._max_connections = max_connections
        self._connections = 0
        self._accepting = False
        self._attaching = BackgroundTasks()
        self._pause: asyncio.TimerHandle | None = None
        self._log_full_at = 0.0
        self._resume()

    def connection_closed(self) -> None:
        """Count a connection no more. To be called once when a connection of a protocol has ended."""
        self._connections -= 1
        if not self._accepting and self._pause is None:
            self._resume()

    def attach(self, sock: socket.socket) -> None:
        """Serve a connection within this process, without TLS. It counts as any other."""
        self._connections += 1
        sock.setblocking(False)
        self._attaching.start(self._make_protocol(sock, self._factory))

    def allow(self, max_connections: int) -> None:
        """Change the most connections at a time. Those that are more already stay open."""
        self._max_connections = max_connections
        if not self._accepting and self._pause is None:
            self._resume()

    def close(self) -> None:
        """Stop listening; accepted connections stay open. Calling it again does nothing.

        Connections that wait in the system's queue are accepted first: to their clients they are open, and
        the system would reset them.
        """
        if self._accepting:
            for listener in self._sockets:
                self._accept(listener, _BACKLOG)
        self._stop()
        if self._pause is not None:
            self._pause.cancel()
        for listener in self._sockets:
            listener.close()
        self._sockets = []

    async def all_attached(self) -> None:
        """Wait until every connection that was accepted has reached its protocol.

        Those whose handshakes take much longer are aborted: no request has come on them.
        """
        await self._attaching.finish()
        if self.handshakes is not None:
            await self.handshakes.finish()

    def _resume(self) -> None:
        self._pause = None
        self._accepting = bool(self._sockets)
        for listener in self._sockets:
            self._loop.add_reader(listener, self._accept, listener)

    def _stop(self) -> None:
        self._accepting = False
        for listener in self._sockets:
            self._loop.remove_reader(listener)

    def _accept(self, listener: socket.socket, at_most: int = _BATCH) -> None:
        for _ in range(at_most):
            if self._connections >= self._max_connections:
                self._stop()
                self._log_full()
                return
            try:
                sock, _address = listener.accept()
            except (BlockingIOError, ConnectionAbortedError):
                return
            except OSError as error:
                self._refused_by_system(error)
                return
            self._attach(sock)

    def _log_full(self) -> None:
        now = self._loop.time()
        if now >= self._log_full_at:
            self._log_full_at = now + _LOG_AGAIN_S
            logger.warning("there are %d client connections: further ones wait", self._connections)

    def _refused_by_system(self, error: OSError) -> None:
        hint = "; raise the limit of open files" if error.errno in (errno.EMFILE, errno.ENFILE) else ""
        logger.error("cannot accept a connection: %s%s", error.strerror, hint)
        self._stop()
        self._pause = self._loop.call_later(_PAUSE_S, self._resume)

    def _attach(self, sock: socket.socket) -> None:
        self._connections += 1
        sock.setblocking(False)
        # Clients may be silent while a request runs for hours: probes keep middleboxes from dropping them.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        factory = self._factory if self.handshakes is None else self.handshakes.begin
        self._attaching.start(self._make_protocol(sock, factory))

    async def _make_protocol(self, sock: socket.socket, factory: Callable[[], asyncio.Protocol]) -> None:
        try:
            await self._loop.connect_accepted_socket(factory, sock)
        except Exception:  # it never reached a protocol, which would tell of its end
            self.connection_closed()
