"""What the application's process runs: everything is made here from the settings, and goes in order."""

import asyncio
import gc
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any, Final

import msgspec
from prometheus_client import CollectorRegistry

from rerank_proxy.app.apis.inference import InferenceApi
from rerank_proxy.app.apis.routes import Route, inference_routes, trained_model_routes
from rerank_proxy.app.apis.search import SearchReader
from rerank_proxy.app.apis.trained_models import TrainedModelsApi
from rerank_proxy.app.control import serve_control
from rerank_proxy.app.ending import Ending, end_when_silent, end_within
from rerank_proxy.app.listener import Listener
from rerank_proxy.app.metrics import InferenceMetrics, SearchMetrics, UpstreamMetrics
from rerank_proxy.app.server import App
from rerank_proxy.concurrency.tasks import BackgroundTasks
from rerank_proxy.engine import Engine
from rerank_proxy.files.state import state_directory
from rerank_proxy.inference.endpoints import Endpoints
from rerank_proxy.inference.local_models import LocalModels
from rerank_proxy.inference.preconfigured import fixed_endpoints
from rerank_proxy.inference.registry.opening import open_store
from rerank_proxy.inference.remote import RemoteClient
from rerank_proxy.inference.service import ServiceContext
from rerank_proxy.inference.services import load_services
from rerank_proxy.inference.services.elasticsearch import ElasticsearchService
from rerank_proxy.inference.services.local_ranker import MODEL_ID
from rerank_proxy.observe.log import configure
from rerank_proxy.processes.loop import new_event_loop
from rerank_proxy.search.executor import Executor
from rerank_proxy.search.rank_phase import Scorer
from rerank_proxy.settings import InvalidSettingsError, Settings
from rerank_proxy.trained_models.directory import ModelDirectory
from rerank_proxy.trained_models.engine_port import EngineModels
from rerank_proxy.trained_models.service import TrainedModels
from rerank_proxy.upstream.abilities import RetrieverSupport
from rerank_proxy.upstream.client import UpstreamClient
from rerank_proxy.upstream.headers import for_upstream
from rerank_proxy.upstream.inference import UpstreamInference
from rerank_proxy.upstream.privileges import Privileges
from rerank_proxy.upstream.trained_models import UpstreamModels

_JOURNAL: Final = "engine.json"
_CLEANUP_S: Final = 10.0
"""For what is closed after the last answer."""


def run(orders: bytes) -> None:
    """Serve until the supervisor says stop.

    Args:
        orders: JSON with `settings`, and the paths `socket` (searches) and `control` (readiness, metrics).
    """
    decoded: dict[str, Any] = msgspec.json.decode(orders)
    settings = Settings.model_validate(decoded["settings"])
    configure(settings.log_level)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        status = runner.run(serve(settings, decoded["socket"], decoded["control"]))
    sys.exit(status)


async def serve(settings: Settings, socket: str, control_socket: str) -> int:
    """Serve until the supervisor says stop, or something never returns.

    Returns:
        The exit status.
    """
    registry = CollectorRegistry()
    ending = Ending()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ending.asked.set)
    end_when_silent(settings.engine.max_batch_s)
    async with AsyncExitStack() as cleanup:
        # Beside the sockets: it is of use to the next process of the same supervisor, and to no other.
        journal = Path(control_socket).with_name(_JOURNAL)
        engine = Engine(settings.models, settings.engine, registry, journal=journal, on_hang=ending.hung)
        await engine.start()
        cleanup.push_async_callback(engine.close)
        upstream = UpstreamClient(settings.upstream, settings.search, UpstreamMetrics(registry).sent_again)
        cleanup.push_async_callback(upstream.close)
        questions = BackgroundTasks()
        cleanup.push_async_callback(questions.cancel)
        remote = RemoteClient(settings.remote, registry)
        cleanup.push_async_callback(remote.close)
        uploaded = await _uploaded_models(cleanup, settings, engine)
        models = LocalModels(settings.models, uploaded)
        search = settings.search
        context = ServiceContext(engine, models, search.timeout_s, remote, search.chunked_characters)
        services = load_services(context)
        fixed = fixed_endpoints(services, settings.endpoints, models)
        endpoints = Endpoints(services, fixed, open_store(settings))
        cleanup.push_async_callback(endpoints.close)
        await endpoints.start()
        privileges = Privileges()
        scorer = Scorer(
            endpoints,
            settings.search.timeout_s,
            allow_failures=settings.search.allow_rerank_failures,
            chunked_characters=settings.search.chunked_characters,
            privileges=privileges if settings.search.check_privileges else None,
        )
        executor = Executor(scorer, search.deadline_s, heed_timeout=search.bound_scores_by_request_timeout)
        cleanup.push_async_callback(executor.drain)
        support = _retriever_support(settings, questions, upstream)
        app = App(
            executor,
            upstream,
            SearchMetrics(registry),
            settings.edge,
            SearchReader(lambda: support.unknown) if support else SearchReader(),
            async_search=settings.async_search,
            support=support,
            other_routes=_other_routes(
                settings, endpoints, uploaded, privileges, questions, InferenceMetrics(registry)
            ),
        )
        cleanup.push_async_callback(app.close)
        control = await serve_control(engine, registry, control_socket)
        cleanup.push_async_callback(control.stop)
        listener = Listener(app.handle, settings.lifecycle.shutdown_timeout_s)
        cleanup.push_async_callback(listener.close)
        await listener.start(socket)
        gc.freeze()  # as the engine does when it has loaded a model
        await ending.asked.wait()
        end_within(settings.lifecycle.shutdown_timeout_s + _CLEANUP_S, ending.status)
    return ending.status


def _retriever_support(
    settings: Settings, questions: BackgroundTasks, upstream: UpstreamClient
) -> RetrieverSupport | None:
    if not settings.search.evaluate_unknown_retrievers:
        return None
    support = RetrieverSupport(questions)
    support.ask(upstream.for_caller(for_upstream(())))
    return support


async def _uploaded_models(
    cleanup: AsyncExitStack, settings: Settings, engine: Engine
) -> TrainedModels | None:
    """Those of earlier processes are served also where no more may be uploaded."""
    try:
        directory = state_directory(settings) / "trained_models"
    except InvalidSettingsError:
        if settings.trained_models.upload:
            raise
        return None
    models = TrainedModels(ModelDirectory(directory), EngineModels(engine), settings.trained_models)
    cleanup.push_async_callback(models.close)
    await models.start()
    return models


def _other_routes(
    settings: Settings,
    endpoints: Endpoints,
    uploaded: TrainedModels | None,
    privileges: Privileges,
    questions: BackgroundTasks,
    metrics: InferenceMetrics,
) -> Sequence[Route]:
    """The APIs beside those of searches."""
    check_new = not settings.inference.skip_validate_and_start
    inference = InferenceApi(endpoints, UpstreamInference(questions), check_new=check_new)
    routes = inference_routes(inference, privileges, metrics)
    if uploaded is None or not settings.trained_models.upload:
        return routes

    def in_use(model_id: str) -> bool:
        configs = (config for config in endpoints.all() if config.service == ElasticsearchService.name)
        return any(config.service_settings.get(MODEL_ID) == model_id for config in configs)

    api = TrainedModelsApi(uploaded, UpstreamModels(questions), in_use)
    return (*routes, *trained_model_routes(api, privileges, metrics))
