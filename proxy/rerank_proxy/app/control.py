"""What the supervisor asks the application: is it ready, and its metrics. Served on a socket of its own."""

from aiohttp import web
from prometheus_client import CollectorRegistry, generate_latest

from rerank_proxy.engine import Engine


def application(engine: Engine, registry: CollectorRegistry) -> web.Application:
    """`GET /ready` and `GET /metrics`."""

    async def ready(request: web.Request) -> web.Response:
        statuses = engine.status()
        models = {name: {"state": status.state, "detail": status.detail} for name, status in statuses.items()}
        # The others come and go with those who use them, and must not take the proxy away from everyone.
        loaded = all(status.state == "ready" for status in statuses.values() if status.preload)
        is_ready = loaded and not engine.hangs
        return web.json_response({"ready": is_ready, "models": models}, status=200 if is_ready else 503)

    async def metrics(request: web.Request) -> web.Response:
        return web.Response(body=generate_latest(registry), content_type="text/plain", charset="utf-8")

    app = web.Application()
    app.router.add_get("/ready", ready)
    app.router.add_get("/metrics", metrics)
    return app
