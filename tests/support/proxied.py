"""Edge and application in front of an Elasticsearch: the whole way of a request, in one process."""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from prometheus_client import CollectorRegistry

from rerank_proxy.app.apis.routes import Route, trained_model_routes
from rerank_proxy.app.apis.trained_models import TrainedModelsApi
from rerank_proxy.app.listener import Listener
from rerank_proxy.app.metrics import InferenceMetrics
from rerank_proxy.concurrency.tasks import BackgroundTasks
from rerank_proxy.edge.server import Edge
from rerank_proxy.settings import load
from rerank_proxy.trained_models.service import TrainedModels
from rerank_proxy.upstream.privileges import Privileges
from rerank_proxy.upstream.trained_models import UpstreamModels
from tests.support.search_app import SearchApp, search_app


@asynccontextmanager
async def proxied(
    url: str, directory: Path, models: TrainedModels | None = None, **search: Any
) -> AsyncIterator[Edge]:
    """Serve in front of the Elasticsearch at `url`; yields the edge.

    Args:
        directory: Where the application's socket may lie.
        models: Those that clients upload; None: they may not.
        search: As of `search_app`.
    """
    async with proxied_parts(url, directory, models, **search) as (edge, _):
        yield edge


@asynccontextmanager
async def proxied_parts(
    url: str, directory: Path, models: TrainedModels | None = None, **search: Any
) -> AsyncIterator[tuple[Edge, SearchApp]]:
    """Serve likewise; yields the edge and the application."""
    more: Sequence[Route] = ()
    probes = BackgroundTasks()
    if models is not None:
        metrics = InferenceMetrics(CollectorRegistry())
        more = trained_model_routes(TrainedModelsApi(models, UpstreamModels(probes)), Privileges(), metrics)
    async with search_app(url, more=more, **search) as app:
        listener = Listener(app.handle, shutdown_timeout_s=10)
        await listener.start(directory / "app.sock")
        settings = {
            "listen": "127.0.0.1:0",
            "upstream": {"url": url},
            "trained_models": {"upload": models is not None},
        }
        edge = Edge(load(None, settings, {}), directory / "app.sock")
        await edge.start()
        try:
            yield edge, app
        finally:
            await edge.stop()
            await listener.close()
            await probes.cancel()
