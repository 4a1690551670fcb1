"""The application's control socket, without the rest of its process."""

from typing import Any, cast

from aiohttp import web
from prometheus_client import CollectorRegistry

from rerank_proxy.app.clicks import ClicksApi
from rerank_proxy.app.control import Asked, application
from rerank_proxy.app.online_metrics import OnlineMetrics
from rerank_proxy.app.recent import Recent
from rerank_proxy.app.recordings import Recordings
from rerank_proxy.app.reloading import Reloading
from rerank_proxy.app.status import Status
from rerank_proxy.engine import Engine
from rerank_proxy.inference.endpoints import Endpoints
from tests.support.endpoints import MemoryStore
from tests.support.online import Online


def control_app(
    engine: Engine,
    reloading: Reloading | None = None,
    recordings: Recordings | None = None,
    recent: Recent | None = None,
    endpoints: Endpoints | None = None,
    clicks: ClicksApi | None = None,
    metrics: OnlineMetrics | None = None,
) -> web.Application:
    """Return what the supervisor asks, over an engine and what else a test cares about."""
    status = Status(
        engine,
        endpoints or Endpoints({}, (), cast("Any", MemoryStore())),
        recent or Recent(),
        (metrics or OnlineMetrics(CollectorRegistry())).shown,
    )
    return application(
        Asked(
            engine,
            CollectorRegistry(),
            reloading or Reloading(),
            Recordings() if recordings is None else recordings,
            status,
            clicks or Online().clicks,
        )
    )
