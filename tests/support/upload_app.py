"""The application with an engine, in front of an Elasticsearch, for clients that upload models."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aiohttp import web
from prometheus_client import CollectorRegistry

from proxy.app.apis.gate import Gate
from proxy.app.apis.routes import trained_model_routes
from proxy.app.apis.trained_models import TrainedModelsApi
from proxy.app.metrics import InferenceMetrics, SearchMetrics
from proxy.app.server import App
from proxy.app.upstream import UpstreamClient
from proxy.engine import Engine
from proxy.search.executor import Executor
from proxy.search.scoring import Scorer
from proxy.settings import Settings
from proxy.trained_models.directory import ModelDirectory
from proxy.trained_models.engine import EngineModels
from proxy.trained_models.trained_models import TrainedModels
from tests.support.endpoints import local_endpoints


@dataclass
class UploadApp:
    """
    Attributes:
        models: Those of the application.
    """

    url: str
    models: TrainedModels
    engine: Engine


@asynccontextmanager
async def upload_app(url: str, directory: Path, **trained_models: Any) -> AsyncIterator[UploadApp]:
    """Serve in front of the Elasticsearch at `url`, with the models of `directory`.

    Args:
        trained_models: Settings of that section.
    """
    settings = Settings.model_validate(
        {
            "upstream": url,
            "trained_models": {"upload": True, **trained_models},
            "engine": {"device": "cpu", "offline": True},
        }
    )
    async with AsyncExitStack() as cleanup:
        engine = Engine({}, settings.engine)
        await engine.start()
        cleanup.push_async_callback(engine.close)
        models = TrainedModels(ModelDirectory(directory), EngineModels(engine), settings.trained_models)
        await models.start()
        cleanup.push_async_callback(models.close)
        upstream = UpstreamClient(settings.upstream, settings.search)
        cleanup.push_async_callback(upstream.close)
        scorer = Scorer(local_endpoints({}, engine), 30.0, allow_failures=False)
        executor = Executor(scorer, settings.search.deadline_s)
        cleanup.push_async_callback(executor.drain)
        registry = CollectorRegistry()
        app = App(
            executor,
            upstream,
            SearchMetrics(registry),
            settings.edge.max_body,
            async_search=settings.async_search,
            others=trained_model_routes(TrainedModelsApi(models), Gate(), InferenceMetrics(registry)),
        )
        runner = web.AppRunner(app.application(), auto_decompress=False, handler_cancellation=True)
        await runner.setup()
        cleanup.push_async_callback(runner.cleanup)
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield UploadApp(f"http://{host}:{port}", models, engine)
