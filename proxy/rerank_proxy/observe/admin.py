"""Probes and metrics, on a separate port, since every path of the clients' port belongs to Elasticsearch.

`/live`: the event loop is running. `/ready`: requests will be answered, including reranked searches.
`/metrics`: the metrics of this process and of the application.
"""

import socket
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
from aiohttp import web
from aiohttp.typedefs import Handler

from rerank_proxy.http.quiet_server import QuietServer
from rerank_proxy.observe.bounded import BoundedConnections
from rerank_proxy.observe.edge_metrics import EdgeMetrics

_TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"
_APP_TIMEOUT_S = 2.0
"""Seconds that the application has to answer: fewer than probes and scrapers usually wait."""
_MAX_CONNECTIONS = 32
_CONNECTION_S = 10.0
"""Seconds that a connection may last: probes and scrapers usually wait no longer."""


class ModelState(msgspec.Struct):
    """The state of a model: `unloaded`, `loading`, `ready` or `failed`."""

    state: str
    detail: str | None = None


class Readiness(msgspec.Struct):
    """The application's answer about its state; by default that of an application that does not answer."""

    ready: bool = False
    models: dict[str, ModelState] = {}
    missing_workers: int = 0
    """Workers of the engine that were lost and could not be replaced yet."""

    def reason(self) -> str | None:
        """Say why it is not ready, such as `model [minilm] failed: no such directory`; None if it is."""
        if self.ready:
            return None
        parts = []
        for name, model in self.models.items():
            if model.state in ("loading", "failed"):
                what = model.state if model.state == "failed" else f"is {model.state}"
                parts.append(f"model [{name}] {what}" + (f": {model.detail}" if model.detail else ""))
        if self.missing_workers:
            parts.append(f"{self.missing_workers} of the engine's workers cannot be started")
        return "; ".join(parts) or "the reranking process is starting or restarting"

    def body(self) -> dict[str, Any]:
        """Return what an answer about the state says in any case."""
        missing = {"missing_workers": self.missing_workers} if self.missing_workers else {}
        return {"models": self.models, **missing}


class AppControl:
    """A client of the application's control socket. The application may be absent at any time."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def get(self, path: str) -> tuple[int, bytes] | None:
        """Return the status and body of the answer; None if the application does not answer."""
        return await self._ask("GET", path)

    async def reload(self) -> bool:
        """Have the application load its models again. Return whether it began to."""
        answer = await self._ask("POST", "/reload")
        return answer is not None and answer[0] == 202

    async def _ask(self, method: str, path: str) -> tuple[int, bytes] | None:
        connector = aiohttp.UnixConnector(path=str(self._socket), force_close=True)
        timeout = aiohttp.ClientTimeout(total=_APP_TIMEOUT_S)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
                session.request(method, f"http://app{path}") as response,
            ):
                return response.status, await response.read()
        except (aiohttp.ClientError, OSError):  # TimeoutError is an OSError
            return None


class Admin:
    """The admin listener.

    Args:
        not_ready: Says in a few words why this process does not accept requests; None if it does.
    """

    def __init__(self, app: AppControl, metrics: EdgeMetrics, not_ready: Callable[[], str | None]) -> None:
        self._app = app
        self._metrics = metrics
        self._not_ready = not_ready
        self._server: QuietServer | None = None

    async def start(self, sockets: Iterable[socket.socket]) -> None:
        """Serve on sockets that are already listening."""
        app = web.Application(middlewares=[_answer_once])
        app.router.add_get("/live", self._live)
        app.router.add_get("/ready", self._ready)
        app.router.add_get("/metrics", self._render_metrics)
        self._server = QuietServer(app, shutdown_timeout=1.0)
        await self._server.start()
        connections = BoundedConnections(self._server.connection, _MAX_CONNECTIONS, _CONNECTION_S)
        for listener in sockets:
            await self._server.listen(listener, connections)

    async def stop(self) -> None:
        if self._server is not None:
            await self._server.stop()

    async def _live(self, request: web.Request) -> web.Response:
        return _json(200, {"live": True})

    async def _ready(self, request: web.Request) -> web.Response:
        app = _read_readiness(await self._app.get("/ready"))
        reason = self._not_ready() or app.reason()
        body = {**app.body(), "upstream": self._metrics.nodes()}
        if reason is None:
            return _json(200, {"ready": True, **body})
        return _json(503, {"ready": False, "reason": reason, **body})

    async def _render_metrics(self, request: web.Request) -> web.Response:
        answer = await self._app.get("/metrics")
        text = self._metrics.render()
        if answer is not None and answer[0] == 200:
            text += answer[1]
        return web.Response(body=text, headers={"Content-Type": _TEXT_FORMAT})


@web.middleware
async def _answer_once(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Close the connection after each answer: one that is kept would time out, perhaps during a request."""
    response = await handler(request)
    response.force_close()
    return response


def _read_readiness(answer: tuple[int, bytes] | None) -> Readiness:
    try:
        return msgspec.json.decode(answer[1], type=Readiness) if answer else Readiness()
    except msgspec.DecodeError:
        return Readiness()


def _json(status: int, body: dict[str, Any]) -> web.Response:
    return web.Response(status=status, body=msgspec.json.encode(body), content_type="application/json")
