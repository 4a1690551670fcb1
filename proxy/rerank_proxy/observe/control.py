"""What the supervisor asks of the other processes of the proxy, over their control sockets."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import msgspec
from aiohttp import web
from prometheus_client.core import Metric
from prometheus_client.registry import Collector

from rerank_proxy.http.quiet_server import QuietServer
from rerank_proxy.observe.families import CONTENT_TYPE, families, packed, unpacked
from rerank_proxy.settings import Settings

_TIMEOUT_S = 2.0
"""Seconds that a process has to answer: fewer than probes and scrapers usually wait."""
_RELOAD_TIMEOUT_S = 30.0
"""Seconds that it has to take over settings: one that did so after it was given up would have other settings
than the rest of the proxy."""


class _Refusal(msgspec.Struct):
    faults: list[str]


class ControlClient:
    """A client of the control socket of another process of the proxy, which may be absent at any time."""

    def __init__(self, socket: Path) -> None:
        self._socket = socket

    async def get(self, path: str, timeout_s: float = _TIMEOUT_S) -> tuple[int, bytes] | None:
        """Return the status and body of the answer; None if the process does not answer in time."""
        return await self._ask("GET", path, timeout_s=timeout_s)

    async def post(self, path: str, body: bytes = b"") -> tuple[int, bytes] | None:
        """Return the status and body of the answer; None if the process does not answer."""
        return await self._ask("POST", path, body)

    async def metrics(self) -> list[Metric]:
        """Return the metrics of the process; none if it does not answer."""
        answer = await self.get("/metrics")
        if answer is None or answer[0] != 200:
            return []
        try:
            return unpacked(answer[1])
        except msgspec.DecodeError:
            return []

    async def reload(self, settings: bytes) -> list[str] | None:
        """Have the process use other settings, and the application load its models again.

        Returns:
            What is wrong with the settings if it refuses them, which changes nothing; None if it does not
            answer.
        """
        answer = await self._ask("POST", "/reload", settings, _RELOAD_TIMEOUT_S)
        if answer is None:
            return None
        status, body = answer
        if status == 202:
            return []
        try:
            return msgspec.json.decode(body, type=_Refusal).faults
        except msgspec.DecodeError:
            return [f"the process that had to take the settings over failed with status {status}"]

    async def _ask(
        self, method: str, path: str, body: bytes = b"", timeout_s: float = _TIMEOUT_S
    ) -> tuple[int, bytes] | None:
        connector = aiohttp.UnixConnector(path=str(self._socket), force_close=True)
        timeout = aiohttp.ClientTimeout(total=timeout_s)
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
                session.request(method, f"http://process{path}", data=body or None) as response,
            ):
                return response.status, await response.read()
        except (aiohttp.ClientError, OSError):  # TimeoutError is an OSError
            return None


def metrics_handler(metrics: Collector) -> Callable[[web.Request], Awaitable[web.Response]]:
    """Return what answers `ControlClient.metrics`."""

    async def get_metrics(request: web.Request) -> web.Response:
        return web.Response(body=packed(families(metrics)), content_type=CONTENT_TYPE)

    return get_metrics


@asynccontextmanager
async def serve_control(
    path: Path, metrics: Collector, use: Callable[[Settings], None]
) -> AsyncIterator[None]:
    """Answer the supervisor on a UNIX socket at `path`.

    Args:
        metrics: Those of this process.
        use: Uses other settings, which were checked.
    """

    async def live(request: web.Request) -> web.Response:
        return web.Response()

    async def reload(request: web.Request) -> web.Response:
        use(Settings.model_validate_json(await request.read()))
        return web.Response(status=202)

    app = web.Application(client_max_size=0)  # the settings come from this user's own process
    app.router.add_get("/live", live)
    app.router.add_get("/metrics", metrics_handler(metrics))
    app.router.add_post("/reload", reload)
    server = QuietServer(app, shutdown_timeout=1.0)
    await server.start()
    try:
        await server.listen(path)
        yield
    finally:
        await server.stop()
