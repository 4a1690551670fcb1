"""The control socket, on which the supervisor asks how the application is, and has it load models again."""

from dataclasses import dataclass
from pathlib import Path

import msgspec
from aiohttp import web
from prometheus_client import CollectorRegistry

from rerank_proxy.app.clicks import ClicksApi
from rerank_proxy.app.recordings import Recordings
from rerank_proxy.app.reloading import Reloading
from rerank_proxy.app.status import Status
from rerank_proxy.engine import Engine
from rerank_proxy.errors import encode
from rerank_proxy.http.quiet_server import QuietServer
from rerank_proxy.observe.control import metrics_handler
from rerank_proxy.settings import InvalidSettingsError, Settings


@dataclass(frozen=True, slots=True)
class Asked:
    """The parts of the application that the supervisor asks."""

    engine: Engine
    registry: CollectorRegistry
    reloading: Reloading
    recordings: Recordings
    status: Status
    clicks: ClicksApi

    async def ready(self, request: web.Request) -> web.Response:
        """Answer `GET /ready`: 503 while searches cannot be reranked."""
        statuses = self.engine.status()
        models = {name: {"state": status.state, "detail": status.detail} for name, status in statuses.items()}
        # Other models come and go with the calls that need them, and must not make the whole proxy unready.
        loaded = all(status.state == "ready" for status in statuses.values() if status.preload)
        workers = self.engine.workers
        is_ready = loaded and not self.engine.hangs and workers.running > 0
        body = {"ready": is_ready, "models": models, "missing_workers": workers.missing}
        return web.json_response(body, status=200 if is_ready else 503)

    async def reload(self, request: web.Request) -> web.Response:
        """Answer `POST /reload`, which brings the settings, and load models again.

        Settings that cannot be served are answered 400 with a list of what is wrong, and nothing changes.
        """
        try:
            self.reloading.apply(Settings.model_validate_json(await request.read()))
        except InvalidSettingsError as failure:
            return web.json_response({"faults": failure.faults}, status=400)
        self.engine.reload()
        return web.Response(status=202)

    async def new_recording(self, request: web.Request) -> web.Response:
        """Answer `POST /recordings` with a key."""
        return web.json_response({"key": self.recordings.new_key()})

    async def take_recording(self, request: web.Request) -> web.Response:
        """Answer `GET /recordings/KEY` with what was recorded, once."""
        recorded = await self.recordings.take(request.match_info["key"])
        if recorded is None:
            return web.Response(status=404)
        return web.Response(body=recorded, content_type="application/json")

    async def count_clicks(self, request: web.Request) -> web.Response:
        """Answer `POST /clicks`."""
        status, body = self.clicks.answer(await request.read())
        return web.Response(status=status, body=encode(body), content_type="application/json")

    async def tell_status(self, request: web.Request) -> web.Response:
        """Answer `GET /status`."""
        return web.Response(body=msgspec.json.encode(self.status.shown()), content_type="application/json")


async def serve_control(asked: Asked, path: str) -> QuietServer:
    """Serve the supervisor on a UNIX socket at `path`, until the server that is returned is stopped."""
    app = application(asked)
    server = QuietServer(app, shutdown_timeout=1.0, handler_cancellation=True, keepalive_timeout=3600)
    await server.start()
    await server.listen(Path(path))
    return server


def application(asked: Asked) -> web.Application:
    """Return an application with the paths of `Asked`, and `GET /metrics`."""
    app = web.Application(client_max_size=0)  # settings come from the supervisor
    app.router.add_get("/ready", asked.ready)
    app.router.add_get("/status", asked.tell_status)
    app.router.add_get("/metrics", metrics_handler(asked.registry))
    app.router.add_post("/reload", asked.reload)
    app.router.add_post("/clicks", asked.count_clicks)
    app.router.add_post("/recordings", asked.new_recording)
    app.router.add_get("/recordings/{key}", asked.take_recording)
    return app
