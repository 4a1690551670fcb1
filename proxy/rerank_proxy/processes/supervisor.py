"""Runs the proxy: an edge and the admin listener in this process, the application that reranks in a child.

Further edges, if the settings ask for any, are children as well (`processes.edges`).

The child loads torch and models while the edge already relays. When it dies, plain traffic goes on and it is
started again.

What happens on SIGTERM (or SIGINT), in this order:

1. `/ready` says 503, so that load balancers send new traffic elsewhere, and every answer says
   `connection: close`, so that clients do. As they need a while to notice, the port still accepts connections
   for `lifecycle.drain_delay_s`.
2. The edge drains (`Edge.drain`). It closes its port, and every connection after the answer under way. An
   idle connection is closed a second after step 1 began: until then its client may send one more request,
   whose answer says that the connection closes. The application still runs, so that reranked searches are
   finished as well. All this takes `lifecycle.shutdown_timeout_s` at most. The other edges have got SIGTERM
   at the same time, and do the same.
3. The edge stops (`Edge.stop`). Requests that are not finished are cut off, and closing their connections
   cancels their searches in Elasticsearch and in the application.
4. The application gets SIGTERM, closes its sockets, and then all else in the reverse order of its start
   (`app.serving.serve`). After `_STOP_TIMEOUT_S` it is killed.
5. The admin listener stops, and the process exits with status 0.

A second signal during the steps 1 and 2 cuts them short, and step 4 kills the application without waiting;
the exit status is 128 and the number of that signal. The child has a session of its own: Ctrl-C in a terminal
reaches this process alone, which then stops the child. If this process is killed, the child ends with it (see
`startup.orders_of_parent`).

SIGHUP has the settings read again (`processes.reloading`), and the application load its models again from
their sources.
"""

import asyncio
import logging
import signal
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rerank_proxy.concurrency.tasks import BackgroundTasks
from rerank_proxy.edge.listener import ListenError, address_of, bind
from rerank_proxy.edge.server import Edge
from rerank_proxy.files.leftovers import OwnedDirectory, remove_leftovers
from rerank_proxy.files.open_files import open_files, raise_limit
from rerank_proxy.observe.admin import Admin, Connections
from rerank_proxy.observe.admin_clicks import clicks_route
from rerank_proxy.observe.admin_routes import AdminRoute
from rerank_proxy.observe.control import ControlClient
from rerank_proxy.observe.edge_metrics import EdgeMetrics
from rerank_proxy.observe.log import configure, say
from rerank_proxy.observe.own_process import OwnProcess
from rerank_proxy.observe.process_metrics import ProcessMetrics
from rerank_proxy.pages.playground import Playground
from rerank_proxy.pages.routes import routes
from rerank_proxy.pages.status import StatusData
from rerank_proxy.processes.edges import OtherEdges, orders, share
from rerank_proxy.processes.finishing import finish
from rerank_proxy.processes.kept import KeptProcess
from rerank_proxy.processes.loop import new_event_loop
from rerank_proxy.processes.reloading import reloaded
from rerank_proxy.settings import Address, ListenerTlsSettings, Settings
from rerank_proxy.tls.handshakes import Handshakes
from rerank_proxy.tls.listening import listener_tls
from rerank_proxy.tls.owned import OwnedContext

logger = logging.getLogger(__name__)

APP_COMMAND = (sys.executable, "-P", "-m", "rerank_proxy.app.process")
"""`-P`: modules are not imported from the working directory, which may be that of a model."""

_DIRECTORY_PREFIX = "rerank-proxy."
_MAX_SOCKET_PATH = 107
"""Bytes of a UNIX socket's path, which the system limits (`sun_path`)."""
_STOP_TIMEOUT_S = 5.0
_APP_SILENT_S = 120.0
"""The application is ended when it has not answered for so long after its first answer. What it does on its
event loop takes a fraction of a second; how long it imports libraries before cannot be known.
"""


class StartError(Exception):
    """The proxy cannot start. The message is one line for people."""


def serve(settings: Settings, read_again: Callable[[], Settings]) -> int:
    """Run until a signal asks to stop. Return the exit status.

    Args:
        read_again: Reads the settings when SIGHUP asks for it.
    """
    configure(settings.log.level, settings.log.format, process="supervisor")
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(Supervisor(settings, read_again).run())


class Supervisor:
    """Runs one proxy, from start to end.

    Args:
        read_again: Reads the settings when SIGHUP asks for it.
        app_command: The command that starts the application's process.
    """

    def __init__(
        self,
        settings: Settings,
        read_again: Callable[[], Settings],
        app_command: Sequence[str] = APP_COMMAND,
    ) -> None:
        self._settings = settings
        self._read_again = read_again
        self._app_command = app_command
        self._draining = False
        self._reloading = asyncio.Lock()
        self._reload_waits = False

    async def run(self) -> int:
        """Serve until SIGTERM or SIGINT, then finish what is under way; a second signal stops immediately.

        Returns:
            The exit status: 0; 1 when the proxy cannot start; 128 and the second signal's number.
        """
        raise_limit()
        try:
            with _directory_for_sockets() as directory:
                return await self._run_in(directory)
        except (StartError, ListenError) as error:
            say(str(error))
            return 1

    async def _run_in(self, directory: Path) -> int:
        parts = self._parts(directory)
        stop_timeout_s = 0.0
        signals = _catch_signals()
        reloads = BackgroundTasks()
        asyncio.get_running_loop().add_signal_handler(
            signal.SIGHUP, lambda: reloads.start(self._reload(parts))
        )
        try:
            await self._start(parts)
            await signals.get()
            status = await self._drain(parts, signals)
            stop_timeout_s = _STOP_TIMEOUT_S if status == 0 else 0.0
            return status
        finally:
            parts.own.close()
            await reloads.cancel()
            await parts.edge.stop()
            await parts.others.stop(stop_timeout_s)
            await parts.app.stop(stop_timeout_s)
            await parts.admin.stop()
            if parts.admin_tls is not None:
                await parts.admin_tls.close()

    def _parts(self, directory: Path) -> "_Parts":
        socket, control = directory / "app.sock", directory / "control.sock"
        metrics = ProcessMetrics()
        edge = Edge(share(self._settings), socket)
        own = OwnProcess("supervisor")
        edge.metrics.registry.register(own)
        others = OtherEdges(self._settings.edge.processes, socket, directory, metrics)
        for each in (control, *others.sockets):
            _check_length(each)
        client = ControlClient(control)
        admin = Admin(client, metrics, edge.metrics, self._not_ready, others.controls)
        admin.add([*self._pages(client, edge, admin), clicks_route(client)])
        return _Parts(
            edge=edge,
            others=others,
            app=_app(self._app_command, self._settings, socket, control, metrics),
            app_sockets=(socket, control),
            control=client,
            admin=admin,
            own=own,
            admin_tls=listener_tls(self._settings.admin.tls, "admin.tls"),
        )

    def _pages(self, app: ControlClient, edge: Edge, admin: Admin) -> Sequence[AdminRoute]:
        def settings() -> Settings:
            return self._settings

        playground = Playground(app, edge.attach, settings)
        return routes(playground, StatusData(app, admin.not_ready, lambda: edge.metrics.nodes(), settings))

    async def _start(self, parts: "_Parts") -> None:
        settings, edge = self._settings, parts.edge
        if settings.edge.processes > 1:
            _check_port(settings.listen)
        await edge.start()
        admin_sockets = bind(settings.admin.listen)
        admin_tls = parts.admin_tls
        secured = None if admin_tls is None else partial(_secured, admin_tls, edge.metrics)
        await parts.admin.start(admin_sockets, settings.admin, secured)
        if admin_tls is not None:
            edge.metrics.certificates["admin"] = admin_tls.ends
            admin_tls.follow()
        parts.own.watch_loop()
        parts.app.start()
        parts.app.watch(parts.control, "/ready", _APP_SILENT_S, from_start=False)
        parts.others.start(self._of_an_edge(edge))
        say(
            f"listening on {_shown(edge.address, settings.tls)}, "
            f"admin on {_shown(address_of(admin_sockets), settings.admin.tls)}, "
            f"upstream {', '.join(settings.upstream.node_urls)}"
        )
        self._log_open_files(edge.max_connections)

    def _of_an_edge(self, edge: Edge) -> Settings:
        """Return the settings of each edge, which listens on the port that this process has."""
        settings = share(self._settings)
        listen = Address(settings.listen.host, edge.address.port)
        return settings.model_copy(update={"listen": listen})

    def _log_open_files(self, max_connections: int) -> None:
        files, wanted = open_files(), share(self._settings).edge.max_connections
        if max_connections < wanted:
            logger.warning(
                "the limit of open files (%s) allows %d concurrent client connections, not the %d of "
                "[edge.max_connections]: further ones wait; raise the limit, or lower the setting",
                files,
                max_connections,
                wanted,
            )
        else:
            logger.info("at most %s open files and %d client connections", files, max_connections)

    def _not_ready(self) -> str | None:
        return "the proxy is stopping" if self._draining else None

    async def _reload(self, parts: "_Parts") -> None:
        if self._reload_waits:  # and will read the settings of this moment
            return
        self._reload_waits = True
        async with self._reloading:
            self._reload_waits = False
            settings = await reloaded(self._settings, self._read_again, parts.control)
            if parts.admin_tls is not None:
                parts.admin_tls.look()
            if settings is None:
                return
            parts.admin.use(settings.admin)
            self._settings = settings
            configure(settings.log.level, settings.log.format)
            parts.app.orders = _app_orders(settings, *parts.app_sockets)
            parts.admin.use(settings.admin)
            parts.edge.use(share(settings))
            await parts.others.use(self._of_an_edge(parts.edge))

    async def _drain(self, parts: "_Parts", signals: "asyncio.Queue[signal.Signals]") -> int:
        """Finish what is under way, unless a further signal comes. Return the exit status."""
        self._draining = True
        lifecycle = self._settings.lifecycle
        logger.info("stopping: requests under way may finish within %g s", lifecycle.shutdown_timeout_s)
        parts.edge.announce_end()
        tasks = BackgroundTasks()
        finishing, interrupted = tasks.start(self._finish(parts)), tasks.start(signals.get())
        done, _ = await asyncio.wait({finishing, interrupted}, return_when=asyncio.FIRST_COMPLETED)
        await tasks.cancel()
        if finishing in done:
            finishing.result()
            return 0
        number = interrupted.result()
        logger.warning("%s again: stopping immediately", number.name)
        return 128 + number

    async def _finish(self, parts: "_Parts") -> None:
        lifecycle = self._settings.lifecycle
        others_s = lifecycle.drain_delay_s + lifecycle.shutdown_timeout_s + _STOP_TIMEOUT_S
        await asyncio.gather(finish(parts.edge, lifecycle), parts.others.stop(others_s))


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a supervisor runs.

    Attributes:
        app_sockets: For searches, and for control.
        control: A client of the latter.
    """

    edge: Edge
    others: OtherEdges
    app: KeptProcess
    app_sockets: tuple[Path, Path]
    control: ControlClient
    own: OwnProcess
    admin: Admin
    admin_tls: OwnedContext | None


def _app(
    command: Sequence[str], settings: Settings, socket: Path, control: Path, metrics: ProcessMetrics
) -> KeptProcess:
    def is_up(up: bool) -> None:
        metrics.app_up = up

    def restarted() -> None:
        metrics.app_restarts += 1

    return KeptProcess(
        "the reranking process",
        "app",
        command,
        _app_orders(settings, socket, control),
        (socket, control),
        on_start=lambda: is_up(True),
        on_end=lambda: is_up(False),
        on_restart=restarted,
    )


def _app_orders(settings: Settings, socket: Path, control: Path) -> bytes:
    """Return what the application is told: its settings, and the paths for searches and for control."""
    return orders(settings, socket=socket, control=control)


def _check_port(address: Address) -> None:
    """Raise `ListenError` if another proxy has the port, which the system would divide between both."""
    for listener in bind(address):
        listener.close()


def _check_length(socket: Path) -> None:
    length = len(str(socket).encode())
    if length > _MAX_SOCKET_PATH:
        raise StartError(
            f"the path of a local socket is too long ({length} bytes, at most {_MAX_SOCKET_PATH}): "
            f"{socket}; set TMPDIR to a shorter directory"
        )


def _shown(address: Address, tls: ListenerTlsSettings) -> str:
    return str(address) if tls.cert is None else f"https://{address}"


def _secured(tls: OwnedContext, metrics: EdgeMetrics, connections: Connections) -> Connections:
    handshakes = Handshakes(tls, connections)
    metrics.handshakes["admin"] = handshakes.failures
    return handshakes.begin


def _directory_for_sockets() -> OwnedDirectory:
    """Make a directory that only this user may enter, and remove those of proxies that were killed."""
    try:
        parent = Path(tempfile.gettempdir())
        remove_leftovers(parent, _DIRECTORY_PREFIX)
        return OwnedDirectory(parent, _DIRECTORY_PREFIX)
    except OSError as error:
        raise StartError(
            f"no directory for local sockets: {error.strerror}; set TMPDIR to a writable one"
        ) from None


def _catch_signals() -> "asyncio.Queue[signal.Signals]":
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.put_nowait, number)
    return signals
