"""A process that serves the clients' port beside the supervisor, which gives it orders in one JSON line.

It finishes what is under way on SIGTERM, and tells its metrics and takes new settings over a socket.
"""

import asyncio
import signal
import sys
from pathlib import Path
from typing import Any

import msgspec

from rerank_proxy.edge.listener import ListenError
from rerank_proxy.edge.server import Edge
from rerank_proxy.observe.control import serve_control
from rerank_proxy.observe.log import configure, say
from rerank_proxy.observe.own_process import OwnProcess
from rerank_proxy.processes.finishing import finish
from rerank_proxy.processes.loop import new_event_loop
from rerank_proxy.processes.startup import log_to, orders_of_parent, prepare
from rerank_proxy.settings import Settings


def main() -> None:
    prepare()
    orders: dict[str, Any] = msgspec.json.decode(orders_of_parent())
    log_to(orders.get("log"))
    settings = Settings.model_validate(orders["settings"])
    # The name of its socket is that of the process: `edge-1.sock` is that of `edge-1`.
    configure(settings.log.level, settings.log.format, process=Path(orders["control"]).stem)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        try:
            runner.run(_EdgeProcess(settings, Path(orders["app"])).serve(Path(orders["control"])))
        except ListenError as failure:
            say(str(failure))
            sys.exit(1)


class _EdgeProcess:
    def __init__(self, settings: Settings, app_socket: Path) -> None:
        self._settings = settings
        self._edge = Edge(settings, app_socket, quiet=True)

    async def serve(self, control: Path) -> None:
        """Serve until SIGTERM, and finish what is under way.

        Args:
            control: Where the socket for the supervisor is made. Its name is that of the process.
        """
        asked_to_end = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, asked_to_end.set)
        await self._edge.start()
        own = OwnProcess(control.stem)
        self._edge.metrics.registry.register(own)
        own.watch_loop()
        try:
            async with serve_control(control, self._edge.metrics.registry, self._use):
                await asked_to_end.wait()
                await finish(self._edge, self._settings.lifecycle)
        finally:
            own.close()
            await self._edge.stop()

    def _use(self, settings: Settings) -> None:
        self._settings = settings
        configure(settings.log.level, settings.log.format)
        self._edge.use(settings)


if __name__ == "__main__":
    main()
