"""The edge as a whole: it listens, relays, drains and stops."""

import asyncio
import logging
import socket
from contextlib import suppress
from functools import partial
from pathlib import Path

from rerank_proxy.edge.answers import ARRIVAL_S
from rerank_proxy.edge.connection import ClientConnection
from rerank_proxy.edge.listener import Listener, address_of, bind
from rerank_proxy.edge.observed import ObservedConnection
from rerank_proxy.edge.shared import Shared
from rerank_proxy.files.open_files import Shares, open_files, share
from rerank_proxy.observe.access_log import AccessLog
from rerank_proxy.observe.edge_metrics import EdgeMetrics
from rerank_proxy.settings import Address, Settings
from rerank_proxy.tls.listening import listener_tls
from rerank_proxy.tls.owned import OwnedContext
from rerank_proxy.upstream.keeper import kept_pool
from rerank_proxy.upstream.node import node_states
from rerank_proxy.upstream.pool import Pool
from rerank_proxy.upstream.targets import UnixTarget, node_targets

logger = logging.getLogger(__name__)

_SWEEP_S = 1.0
_LAST_REQUEST_S = 1.0
"""How long an idle connection is still served when the edge ends. A client that is about to send its next
request then gets an answer, and is told there that the connection closes, where it would have got none.
"""
_CLOSE_AGAIN_S = 0.25
"""How often connections that were not idle are looked at again."""


class Edge:
    """An HTTP/1.1 relay in front of Elasticsearch that sends reranked searches to the local application.

    Args:
        app_socket: The application's UNIX socket; it need not exist yet.
        quiet: Another process serves the same port, and tells what becomes of the files for TLS.

    Attributes:
        max_connections: The most concurrent client connections, once it is started: the setting, or fewer
        where
            the limit of open files allows no more. The port then stops accepting before anything fails.
    """

    max_connections = 0

    def __init__(
        self,
        settings: Settings,
        app_socket: Path,
        metrics: EdgeMetrics | None = None,
        *,
        quiet: bool = False,
    ) -> None:
        self.metrics = metrics or EdgeMetrics()
        self._settings = settings
        self._app_socket = app_socket
        self._quiet = quiet
        self._shared: Shared | None = None
        self._listener: Listener | None = None
        self._address: Address | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._last_client_left = asyncio.Event()
        self._announced_at = 0.0
        self._tls: OwnedContext | None = None

    @property
    def address(self) -> Address:
        """Return where it listens, with the actual port."""
        if self._address is None:
            raise RuntimeError("the edge was not started")
        return self._address

    async def start(self) -> None:
        """Listen and serve.

        Raises:
            ListenError: The address cannot be listened on.
            InvalidSettingsError: The files for TLS are unfit.
        """
        tls = listener_tls(self._settings.tls, "tls", quiet=self._quiet)
        targets = node_targets(self._settings.upstream, quiet=self._quiet)
        shares = self._shares()
        shared = Shared(
            loop=asyncio.get_running_loop(),
            settings=self._settings.edge,
            upstream=kept_pool(
                targets,
                self._settings.upstream,
                idle_timeout_s=self._settings.upstream.idle_timeout_s,
                max_idle=shares.idle,
                log=logger,
            ),
            app=self._app_pool(shares.idle),
            metrics=self.metrics,
            client_left=self._client_left,
            access=AccessLog(self._settings.log, asyncio.get_running_loop()),
            trained_models=self._settings.trained_models.upload,
        )
        sockets = bind(self._settings.listen, shared=self._settings.edge.processes > 1)
        self._address = address_of(sockets)
        self.max_connections = shares.clients
        self._shared = shared
        self._listener = Listener(sockets, partial(_connection, shared), shares.clients, tls)
        if self._listener.handshakes is not None:
            self.metrics.handshakes["listener"] = self._listener.handshakes.failures
        self._follow(tls, targets[0].tls)
        self._observe(shared)
        self._sweep()

    def _app_pool(self, max_idle: int) -> Pool:
        upstream = self._settings.upstream
        return Pool(
            UnixTarget(self._app_socket),
            connect_timeout_s=upstream.connect_timeout_s,
            idle_timeout_s=upstream.idle_timeout_s,
            max_idle=max_idle,
        )

    def _follow(self, tls: OwnedContext | None, upstream: OwnedContext | None) -> None:
        """Follow the listener's files for TLS, and report until when certificates are valid."""
        for name, context in (("listener", tls), ("upstream_client", upstream)):
            if context is not None:
                self.metrics.certificates[name] = context.ends
        self._tls = tls
        if tls is not None:
            tls.follow()

    def _observe(self, shared: Shared) -> None:
        self.metrics.client_connections = lambda: len(shared.clients)
        self.metrics.upstream_idle = lambda: shared.upstream.idle
        self.metrics.upstream_busy = lambda: shared.upstream.busy
        self.metrics.nodes = lambda: node_states(shared.upstream.nodes, shared.loop.time())
        self.metrics.buffered_bytes = lambda: shared.buffered

    def _sweep(self) -> None:
        """Close what has waited too long. One timer for all connections costs nothing per request."""
        shared = self._shared
        if shared is None:
            return
        now = shared.loop.time()
        shared.upstream.close_unused(now)
        shared.app.close_unused(now)
        for client in list(shared.clients):
            client.give_up_waiting(now - ARRIVAL_S)
        self._sweeper = shared.loop.call_later(_SWEEP_S, self._sweep)

    def _client_left(self) -> None:
        if self._listener is not None:
            self._listener.connection_closed()
        if self._shared is not None and not self._shared.clients:
            self._last_client_left.set()

    def use(self, settings: Settings) -> None:
        """Use other limits from the next connection and request on, and look for a new certificate."""
        self._settings = settings
        if self._tls is not None:
            self._tls.look()
        if self._listener is None or self._shared is None:
            return
        self._shared.settings = settings.edge
        if self._shared.access is not None:
            self._shared.access.use(settings.log)
        self.max_connections = self._shares().clients
        self._listener.allow(self.max_connections)

    def _shares(self) -> Shares:
        settings = self._settings
        return share(open_files(), settings.edge.max_connections, settings.upstream.max_idle_connections)

    def attach(self, sock: socket.socket) -> None:
        """Serve a connection within this process as that of any client, but without TLS.

        Where the edge does not run, it is closed.
        """
        if self._listener is None:
            sock.close()
        else:
            self._listener.attach(sock)

    def announce_end(self) -> None:
        """Have every answer from now on say that its connection closes. New connections are still accepted.

        Calling it again does nothing.
        """
        if self._shared is not None and not self._shared.draining:
            self._shared.draining = True
            self._announced_at = self._shared.loop.time()

    async def drain(self, timeout_s: float) -> bool:
        """Let requests under way finish, and accept no connection any more.

        Connections are closed after their answers, and idle ones when the end was announced, and the
        connection opened, `_LAST_REQUEST_S` seconds ago.

        Returns:
            Whether all were done within `timeout_s`. `stop` cuts off the others.
        """
        if self._listener is None or self._shared is None:
            return True
        self.announce_end()
        self._listener.close()
        await self._listener.all_attached()
        try:
            async with asyncio.timeout(timeout_s):
                await self._end_clients(self._shared)
        except TimeoutError:
            return False
        return True

    async def _end_clients(self, shared: Shared) -> None:
        await self._all_left(shared, self._announced_at + _LAST_REQUEST_S - shared.loop.time())
        while shared.clients:
            for client in list(shared.clients):
                client.close_if_idle(before=shared.loop.time() - _LAST_REQUEST_S)
            await self._all_left(shared, _CLOSE_AGAIN_S)

    async def _all_left(self, shared: Shared, within_s: float) -> None:
        """Wait until no client is connected, but no longer than that time."""
        self._last_client_left.clear()
        if shared.clients:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._last_client_left.wait(), within_s)

    async def stop(self) -> None:
        """Stop immediately, cutting off requests under way."""
        if self._listener is None or self._shared is None:
            return
        self._listener.close()
        await self._listener.all_attached()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for client in list(self._shared.clients):
            client.abort()
        await asyncio.sleep(0)  # the loop's next turn tells their handlers, which let go of upstream
        if self._shared.access is not None:
            self._shared.access.flush()
        self._shared.threads.shutdown(wait=False, cancel_futures=True)
        if self._tls is not None:
            await self._tls.close()
        await self._shared.upstream.close()
        await self._shared.app.close()
        self._listener = self._shared = None


def _connection(shared: Shared) -> ClientConnection:
    """Return the protocol of a new connection of a client."""
    observed = shared.access is not None and shared.access.is_on
    return ObservedConnection(shared) if observed else ClientConnection(shared)
