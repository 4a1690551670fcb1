"""Runs the proxy: the edge and the admin listener in this process, the application that reranks in a child.

The child loads torch and models while the edge already relays. When it dies, plain traffic goes on and it is
started again.

What happens on SIGTERM (or SIGINT), in this order:

1. `/ready` says 503, so that load balancers send new traffic elsewhere. As they need a while to notice, the
   port still accepts connections for `lifecycle.drain_delay_s`.
2. The edge drains (`Edge.drain`). It closes its port and all idle connections, and every other connection
   after the answer under way, whose head says `connection: close`. The application still runs, so that
   reranked searches are finished as well. All this takes `lifecycle.shutdown_timeout_s` at most.
3. The edge stops (`Edge.stop`). Requests that are not finished are cut off, and closing their connections
   cancels their searches in Elasticsearch and in the application.
4. The application gets SIGTERM, closes its sockets, and then all else in the reverse order of its start
   (`app.serving.serve`). After `_APP_STOP_TIMEOUT_S` it is killed.
5. The admin listener stops, and the process exits with status 0.

A second signal during the steps 1 and 2 cuts them short, and step 4 kills the application without waiting;
the exit status is 128 and the number of that signal. The child has a session of its own: Ctrl-C in a terminal
reaches this process alone, which then stops the child. If this process is killed, the child ends with it (see
`startup.orders_of_parent`).

SIGHUP has the application load its models again from their sources.
"""

import asyncio
import logging
import signal
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import msgspec

from rerank_proxy.concurrency.tasks import BackgroundTasks
from rerank_proxy.edge.listener import ListenError, address_of, bind
from rerank_proxy.edge.server import Edge
from rerank_proxy.files.leftovers import OwnedDirectory, remove_leftovers
from rerank_proxy.files.open_files import open_files, raise_limit
from rerank_proxy.observe.admin import Admin, AppControl
from rerank_proxy.observe.edge_metrics import EdgeMetrics
from rerank_proxy.observe.log import configure, say
from rerank_proxy.processes.child import Child
from rerank_proxy.processes.loop import new_event_loop
from rerank_proxy.settings import Settings

logger = logging.getLogger(__name__)

APP_COMMAND = (sys.executable, "-P", "-m", "rerank_proxy.app.process")
"""`-P`: modules are not imported from the working directory, which may be that of a model."""

_DIRECTORY_PREFIX = "rerank-proxy."
_MAX_SOCKET_PATH = 107
"""Bytes of a UNIX socket's path, which the system limits (`sun_path`)."""
_STEADY_S = 60.0
"""An application that ran for so long had started well: its death does not repeat the one before."""
_MAX_RESTART_DELAY_S = 10.0
_APP_STOP_TIMEOUT_S = 5.0


class StartError(Exception):
    """The proxy cannot start. The message is one line for people."""


def serve(settings: Settings) -> int:
    """Run until a signal asks to stop. Return the exit status."""
    configure(settings.log_level)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        return runner.run(Supervisor(settings).run())


def restart_delay_s(quick_deaths: int) -> float:
    """Return how long to wait before a restart: not at all after the first death, then ever longer."""
    return 0.0 if quick_deaths <= 1 else min(0.5 * 2.0 ** min(quick_deaths - 2, 10), _MAX_RESTART_DELAY_S)


class AppProcess:
    """Keeps the application running.

    It gets its orders as one JSON line: `settings`, and the paths `socket` (searches) and `control`
    (readiness, metrics).
    """

    def __init__(
        self, command: Sequence[str], settings: Settings, socket: Path, control: Path, metrics: EdgeMetrics
    ) -> None:
        self._command = command
        self._sockets = (socket, control)
        self._metrics = metrics
        paths = msgspec.json.encode({"socket": str(socket), "control": str(control)})
        self._orders = b'{"settings":%b,%b\n' % (settings.dump_with_secrets().encode(), paths[1:])
        self._child: Child | None = None
        self._tasks = BackgroundTasks()

    def start(self) -> None:
        self._tasks.start(self._keep_running())

    async def stop(self, timeout_s: float) -> None:
        """Stop it gracefully within the time, else by force."""
        await self._tasks.cancel()
        if self._child is not None:
            await self._child.stop(timeout_s)
            self._ended()

    async def _keep_running(self) -> None:
        loop = asyncio.get_running_loop()
        quick_deaths = 0
        while True:
            began = loop.time()
            how = await self._run_once()
            quick_deaths = 1 if loop.time() - began >= _STEADY_S else quick_deaths + 1
            delay_s = restart_delay_s(quick_deaths)
            logger.error("the reranking process %s; it is started again in %g s", how, delay_s)
            await asyncio.sleep(delay_s)
            self._metrics.app_restarts += 1

    async def _run_once(self) -> str:
        """Start it and wait for its end. Return how it ended."""
        try:
            self._child = Child(self._command, self._orders)
        except OSError as error:
            return f"cannot be started ({self._command[0]}: {error.strerror})"
        self._metrics.app_up = True
        status = await self._child.wait()
        self._ended()
        return f"was killed by {_signal_name(-status)}" if status < 0 else f"ended with status {status}"

    def _ended(self) -> None:
        self._metrics.app_up = False
        for path in self._sockets:
            path.unlink(missing_ok=True)


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


class Supervisor:
    """Runs one proxy, from start to end.

    Args:
        app_command: The command that starts the application's process.
    """

    def __init__(self, settings: Settings, app_command: Sequence[str] = APP_COMMAND) -> None:
        self._settings = settings
        self._app_command = app_command
        self._draining = False

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
        socket, control = directory / "app.sock", directory / "control.sock"
        length = len(str(control).encode())
        if length > _MAX_SOCKET_PATH:
            raise StartError(
                f"the path of a local socket is too long ({length} bytes, at most {_MAX_SOCKET_PATH}): "
                f"{control}; set TMPDIR to a shorter directory"
            )
        metrics = EdgeMetrics()
        edge = Edge(self._settings, socket, metrics)
        app_control = AppControl(control)
        admin = Admin(app_control, metrics, self._not_ready)
        app = AppProcess(self._app_command, self._settings, socket, control, metrics)
        stop_timeout_s = 0.0
        signals = _catch_signals()
        reloads = BackgroundTasks()
        asyncio.get_running_loop().add_signal_handler(
            signal.SIGHUP, lambda: reloads.start(_reload(app_control))
        )
        try:
            await edge.start()
            admin_sockets = bind(self._settings.admin.listen)
            await admin.start(admin_sockets)
            app.start()
            say(
                f"listening on {edge.address}, admin on {address_of(admin_sockets)}, "
                f"upstream {', '.join(self._settings.upstream.node_urls)}"
            )
            self._log_open_files(edge.max_connections)
            await signals.get()
            status = await self._drain(edge, signals)
            stop_timeout_s = _APP_STOP_TIMEOUT_S if status == 0 else 0.0
            return status
        finally:
            await reloads.cancel()
            await edge.stop()
            await app.stop(stop_timeout_s)
            await admin.stop()

    def _log_open_files(self, max_connections: int) -> None:
        files, wanted = open_files(), self._settings.edge.max_connections
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

    async def _drain(self, edge: Edge, signals: "asyncio.Queue[signal.Signals]") -> int:
        """Finish what is under way, unless a further signal comes. Return the exit status."""
        self._draining = True
        tasks = BackgroundTasks()
        finishing, interrupted = tasks.start(self._finish(edge)), tasks.start(signals.get())
        done, _ = await asyncio.wait({finishing, interrupted}, return_when=asyncio.FIRST_COMPLETED)
        await tasks.cancel()
        if finishing in done:
            finishing.result()
            return 0
        number = interrupted.result()
        logger.warning("%s again: stopping immediately", number.name)
        return 128 + number

    async def _finish(self, edge: Edge) -> None:
        lifecycle = self._settings.lifecycle
        logger.info("stopping: requests under way may finish within %g s", lifecycle.shutdown_timeout_s)
        await asyncio.sleep(lifecycle.drain_delay_s)  # the listener still accepts
        if not await edge.drain(lifecycle.shutdown_timeout_s):
            logger.warning(
                "some requests were not finished within [lifecycle.shutdown_timeout_s: %gs] and are cut off",
                lifecycle.shutdown_timeout_s,
            )


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


async def _reload(app: AppControl) -> None:
    if await app.reload():
        logger.info("SIGHUP: the models are loaded again, and serve until their successors are ready")
    else:
        logger.warning("SIGHUP: the reranking process does not answer: it is starting, or stopping")


def _catch_signals() -> "asyncio.Queue[signal.Signals]":
    signals: asyncio.Queue[signal.Signals] = asyncio.Queue()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, signals.put_nowait, number)
    return signals
