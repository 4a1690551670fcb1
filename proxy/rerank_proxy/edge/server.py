"""The edge as a whole: listens, relays, stops."""

import asyncio
from pathlib import Path

from rerank_proxy.edge.answers import ARRIVAL_S
from rerank_proxy.edge.connection import ClientConnection
from rerank_proxy.edge.listener import Listener, address_of, bind
from rerank_proxy.edge.shared import EdgeState
from rerank_proxy.files.open_files import open_files, share
from rerank_proxy.observe.metrics import EdgeMetrics
from rerank_proxy.settings import Address, Settings
from rerank_proxy.upstream.pool import Pool, TcpTarget, UnixTarget

_SWEEP_S = 1.0


class Edge:
    """An HTTP/1.1 relay in front of Elasticsearch that sends reranked searches to the local application.

    Args:
        app_socket: The application's UNIX socket; it need not exist yet.

    Attributes:
        max_connections: Client connections at once, once it is started: what the setting says, or less where
            the limit of open files allows no more. The port then stops accepting before anything fails.
    """

    max_connections = 0

    def __init__(self, settings: Settings, app_socket: Path, metrics: EdgeMetrics | None = None) -> None:
        self.metrics = metrics or EdgeMetrics()
        self._settings = settings
        self._app_socket = app_socket
        self._state: EdgeState | None = None
        self._listener: Listener | None = None
        self._address: Address | None = None
        self._sweeper: asyncio.TimerHandle | None = None
        self._last_client_left = asyncio.Event()

    @property
    def address(self) -> Address:
        """Where it listens, with the real port."""
        if self._address is None:
            raise RuntimeError("the edge was not started")
        return self._address

    async def start(self) -> None:
        """Listen and serve.

        Raises:
            ListenError: the address cannot be had.
            InvalidSettingsError: the certificate authorities for upstream cannot be read.
        """
        limits = self._settings.edge.max_connections, self._settings.upstream.max_idle_connections
        shares = share(open_files(), *limits)
        state = EdgeState(
            loop=asyncio.get_running_loop(),
            settings=self._settings.edge,
            upstream=self._pool(TcpTarget.from_settings(self._settings.upstream), shares.idle),
            app=self._pool(UnixTarget(self._app_socket), shares.idle),
            metrics=self.metrics,
            client_left=self._client_left,
            trained_models=self._settings.trained_models.upload,
        )
        sockets = bind(self._settings.listen)
        self._address = address_of(sockets)
        self.max_connections = shares.clients
        self._state = state
        self._listener = Listener(sockets, lambda: ClientConnection(state), shares.clients)
        self._observe(state)
        self._sweep()

    def _pool(self, target: TcpTarget | UnixTarget, max_idle: int) -> Pool:
        upstream = self._settings.upstream
        return Pool(
            target,
            connect_timeout_s=upstream.connect_timeout_s,
            idle_timeout_s=upstream.idle_timeout_s,
            max_idle=max_idle,
        )

    def _observe(self, state: EdgeState) -> None:
        self.metrics.client_connections = lambda: len(state.clients)
        self.metrics.upstream_idle = lambda: state.upstream.idle
        self.metrics.upstream_busy = lambda: state.upstream.busy
        self.metrics.buffered_bytes = lambda: state.buffered

    def _sweep(self) -> None:
        """Close what waits for too long. One timer for all connections costs nothing per request."""
        state = self._state
        if state is None:
            return
        now = state.loop.time()
        state.upstream.close_unused(now)
        state.app.close_unused(now)
        for client in list(state.clients):
            client.give_up_waiting(now - ARRIVAL_S)
        self._sweeper = state.loop.call_later(_SWEEP_S, self._sweep)

    def _client_left(self) -> None:
        if self._listener is not None:
            self._listener.connection_closed()
        if self._state is not None and not self._state.clients:
            self._last_client_left.set()

    async def drain(self, timeout_s: float) -> bool:
        """Let requests under way finish; connections close after their answers, idle ones now.

        Returns:
            Whether all were done within `timeout_s`. `stop` ends the others.
        """
        if self._listener is None or self._state is None:
            return True
        self._listener.close()
        await self._listener.all_attached()
        self._state.draining = True
        for client in list(self._state.clients):
            client.close_if_idle()
        try:
            await asyncio.wait_for(self._all_clients_left(self._state), timeout_s)
        except TimeoutError:
            return False
        return True

    async def stop(self) -> None:
        """Stop at once: what is under way is cut off."""
        if self._listener is None or self._state is None:
            return
        self._listener.close()
        await self._listener.all_attached()
        if self._sweeper is not None:
            self._sweeper.cancel()
        for client in list(self._state.clients):
            client.abort()
        await asyncio.sleep(0)  # the loop's next turn tells their requests, which let go of upstream
        self._state.threads.shutdown(wait=False, cancel_futures=True)
        await self._state.upstream.close()
        await self._state.app.close()
        self._listener = self._state = None

    async def _all_clients_left(self, state: EdgeState) -> None:
        while state.clients:
            self._last_client_left.clear()
            await self._last_client_left.wait()
