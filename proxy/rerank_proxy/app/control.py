"""The control socket, on which the supervisor asks how the application is, and has it load models again."""

from pathlib import Path

from aiohttp import web
from prometheus_client import CollectorRegistry

from rerank_proxy.app.clicks import ClicksApi
from rerank_proxy.app.reloading import Reloading
from rerank_proxy.engine import Engine
from rerank_proxy.errors import encode
from rerank_proxy.http.quiet_server import QuietServer
from rerank_proxy.observe.control import metrics_handler
from rerank_proxy.settings import InvalidSettingsError, Settings


async def serve_control(
    engine: Engine, registry: CollectorRegistry, reloading: Reloading, path: str, clicks: ClicksApi
) -> QuietServer:
    """Serve the supervisor on a UNIX socket at `path`, until the server that is returned is stopped."""
    app = application(engine, registry, reloading, clicks)
    server = QuietServer(app, shutdown_timeout=1.0, handler_cancellation=True, keepalive_timeout=3600)
    await server.start()
    await server.listen(Path(path))
    return server


def application(
    engine: Engine, registry: CollectorRegistry, reloading: Reloading, clicks: ClicksApi
) -> web.Application:
    """Return an application with `GET /ready`, `GET /metrics`, `POST /reload`, which takes the settings, and
    `POST /clicks`.

    Settings that cannot be served are answered 400 with a list of what is wrong, and nothing changes.
    """

    async def ready(request: web.Request) -> web.Response:
        statuses = engine.status()
        models = {name: {"state": status.state, "detail": status.detail} for name, status in statuses.items()}
        # Other models come and go with the calls that need them, and must not make the whole proxy unready.
        loaded = all(status.state == "ready" for status in statuses.values() if status.preload)
        workers = engine.workers
        is_ready = loaded and not engine.hangs and workers.running > 0
        body = {"ready": is_ready, "models": models, "missing_workers": workers.missing}
        return web.json_response(body, status=200 if is_ready else 503)

    async def reload(request: web.Request) -> web.Response:
        try:
            reloading.apply(Settings.model_validate_json(await request.read()))
        except InvalidSettingsError as failure:
            return web.json_response({"faults": failure.faults}, status=400)
        engine.reload()
        return web.Response(status=202)

    async def count_clicks(request: web.Request) -> web.Response:
        status, body = clicks.answer(await request.read())
        return web.Response(status=status, body=encode(body), content_type="application/json")

    app = web.Application(client_max_size=0)  # settings come from the supervisor
    app.router.add_get("/ready", ready)
    app.router.add_get("/metrics", metrics_handler(registry))
    app.router.add_post("/reload", reload)
    app.router.add_post("/clicks", count_clicks)
    return app
