"""The admin listener with its pages, over an edge in the test's process."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rerank_proxy.edge.listener import bind
from rerank_proxy.edge.server import Edge
from rerank_proxy.observe.admin import Admin
from rerank_proxy.observe.control import ControlClient
from rerank_proxy.observe.process_metrics import ProcessMetrics
from rerank_proxy.pages.playground import Playground
from rerank_proxy.pages.routes import routes
from rerank_proxy.pages.status import StatusData
from rerank_proxy.settings import Address, Settings
from tests.support.raw_http import Message, connect

REQUEST = "/playground/request"


@dataclass(frozen=True)
class AdminPages:
    """The listener, as a browser or a program reaches it on this machine."""

    port: int

    async def get(self, path: str, **headers: str) -> Message:
        return await self.send("GET", path, b"", {name.replace("_", "-"): it for name, it in headers.items()})

    async def ask(
        self, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> tuple[int, dict[str, Any]]:
        """Send a request as the playground does. Return the status of its answer, and that."""
        asked = json.dumps({"method": method, "path": path, "body": body}).encode()
        fields = {"Content-Type": "application/json", **(headers or {})}
        answer = await self.send("POST", REQUEST, asked, fields)
        return answer.status, json.loads(answer.body)

    async def send(self, method: str, path: str, body: bytes, headers: Mapping[str, str]) -> Message:
        fields = {"Host": f"127.0.0.1:{self.port}", "Content-Length": str(len(body)), **headers}
        lines = [
            f"{method} {path} HTTP/1.1",
            *(f"{name}: {value}" for name, value in fields.items() if value),
        ]
        async with connect(self.port) as wire:
            await wire.send("\r\n".join([*lines, "", ""]).encode() + body)
            return await wire.read_message(has_body=method != "HEAD")


@asynccontextmanager
async def admin_pages(
    edge: Edge, control: Path, settings: Settings, host: str = "127.0.0.1"
) -> AsyncIterator[AdminPages]:
    """Serve the admin listener of a proxy whose edge is here.

    Args:
        control: The socket of the application's control; it need not exist.
        host: The address to listen on.
    """
    app = ControlClient(control)
    admin = Admin(app, ProcessMetrics(), edge.metrics, lambda: None)
    playground = Playground(app, edge.attach, lambda: settings)
    admin.add(routes(playground, StatusData(app, admin.not_ready, edge.metrics.nodes, lambda: settings)))
    sockets = bind(Address(host, 0))
    await admin.start(sockets, settings.admin)
    try:
        yield AdminPages(sockets[0].getsockname()[1])
    finally:
        await asyncio.shield(admin.stop())
