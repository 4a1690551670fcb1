"""The processes that serve the clients' port beside the supervisor's own edge (`edge.processes`).

The system divides new connections among them (`SO_REUSEPORT`), and each has its share of the limits.
"""

import asyncio
import sys
from pathlib import Path
from typing import Final

import msgspec

from rerank_proxy.concurrency.tasks import BackgroundTasks
from rerank_proxy.observe.control import ControlClient
from rerank_proxy.observe.process_metrics import ProcessMetrics
from rerank_proxy.processes.child_stderr import log_descriptor
from rerank_proxy.processes.kept import KeptProcess
from rerank_proxy.settings import Settings

_STUCK_S: Final = 30.0
"""A process that has not answered for so long is ended: the system goes on to give it connections."""
_TOLD_AGAIN_S: Final = 0.5
"""How soon a process that did not take new settings over, as it is starting, is told again."""
_COMMAND: Final = (sys.executable, "-P", "-m", "rerank_proxy.processes.edge_process")


def share(settings: Settings) -> Settings:
    """Return the settings of one of the processes: what bounds all of them is divided.

    A search body that may be buffered still fits into the share of one process.
    """
    edge, upstream = settings.edge, settings.upstream
    parts = edge.processes
    if parts == 1:
        return settings
    limits = {
        "max_connections": max(edge.max_connections // parts, 1),
        "max_buffered": max(edge.max_buffered // parts, edge.max_body),
    }
    idle = {"max_idle_connections": max(upstream.max_idle_connections // parts, 1)}
    return settings.model_copy(
        update={"edge": edge.model_copy(update=limits), "upstream": upstream.model_copy(update=idle)}
    )


class OtherEdges:
    """All edges but the supervisor's own.

    Args:
        processes: Their number and one.
        directory: Where their control sockets are made.

    Attributes:
        sockets: Their control sockets.
        controls: A client of each.
    """

    def __init__(self, processes: int, app_socket: Path, directory: Path, metrics: ProcessMetrics) -> None:
        self._app_socket = app_socket
        self._metrics = metrics
        self._kept: list[KeptProcess] = []
        self._telling = BackgroundTasks()
        self.sockets = [directory / f"edge-{number}.sock" for number in range(1, processes)]
        self.controls = [ControlClient(socket) for socket in self.sockets]

    def start(self, settings: Settings) -> None:
        """Start them.

        Args:
            settings: As `share` returns them, with the port that the supervisor listens on.
        """
        for socket, control in zip(self.sockets, self.controls, strict=True):
            kept = KeptProcess(
                "a process that serves clients",
                socket.stem,
                _COMMAND,
                self._orders(settings, socket),
                [socket],
                on_start=self._started,
                on_end=self._ended,
                on_restart=self._restarted,
            )
            self._kept.append(kept)
            kept.start()
            kept.watch(control, "/live", _STUCK_S, from_start=True)

    async def use(self, settings: Settings) -> None:
        """Have them use other settings. One that is starting, perhaps with earlier ones, is told when it
        answers.
        """
        for kept, socket in zip(self._kept, self.sockets, strict=True):
            kept.orders = self._orders(settings, socket)
        body = settings.dump_with_secrets().encode()
        await self._telling.cancel()
        for control in self.controls:
            self._telling.start(_tell(control, body))

    async def stop(self, timeout_s: float) -> None:
        """Let them finish what is under way, but no longer than that time."""
        await self._telling.cancel()
        await asyncio.gather(*(kept.stop(timeout_s) for kept in self._kept))

    def _orders(self, settings: Settings, control: Path) -> bytes:
        return orders(settings, app=self._app_socket, control=control)

    def _started(self) -> None:
        self._metrics.edges += 1

    def _ended(self) -> None:
        self._metrics.edges -= 1

    def _restarted(self) -> None:
        self._metrics.edge_restarts += 1


async def _tell(control: ControlClient, settings: bytes) -> None:
    while True:
        if await control.reload(settings) is not None:
            return
        await asyncio.sleep(_TOLD_AGAIN_S)


def orders(settings: Settings, **paths: Path) -> bytes:
    """Return the line that a process gets from the supervisor: settings, where its log goes, and paths."""
    named = msgspec.json.encode({name: str(path) for name, path in paths.items()})
    return b'{"settings":%b,"log":%d,%b\n' % (
        settings.dump_with_secrets().encode(),
        log_descriptor(),
        named[1:],
    )
