"""The application's process as a whole: it makes everything from the settings, serves, and ends in order."""

import asyncio
import gc
import signal
import sys
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec
from prometheus_client import CollectorRegistry

from rerank_proxy.app.apis.inference import InferenceApi
from rerank_proxy.app.apis.routes import Route, inference_routes, trained_model_routes
from rerank_proxy.app.apis.search import SearchReader
from rerank_proxy.app.apis.trained_models import TrainedModelsApi
from rerank_proxy.app.control import serve_control
from rerank_proxy.app.ending import Ending, end_when_silent, end_within
from rerank_proxy.app.listener import Listener
from rerank_proxy.app.metrics import AsyncSearchMetrics, InferenceMetrics, SearchMetrics, UpstreamMetrics
from rerank_proxy.app.reloading import Reloading
from rerank_proxy.app.server import App
from rerank_proxy.app.slow_log import SlowLog
from rerank_proxy.concurrency.tasks import BackgroundTasks
from rerank_proxy.engine import Engine
from rerank_proxy.files.regular import UnfitFileError
from rerank_proxy.files.secret_file import read_secret
from rerank_proxy.files.state import state_directory
from rerank_proxy.inference.configuration import EndpointConfig
from rerank_proxy.inference.endpoints import Endpoints
from rerank_proxy.inference.local_models import LocalModels
from rerank_proxy.inference.metrics import EndpointMetrics
from rerank_proxy.inference.registry.opening import open_store
from rerank_proxy.inference.remote.client import RemoteClient
from rerank_proxy.inference.remote.vendor import RemoteContext
from rerank_proxy.inference.write_limits import WriteLimits
from rerank_proxy.observe.log import configure
from rerank_proxy.observe.own_process import OwnProcess
from rerank_proxy.processes.loop import new_event_loop
from rerank_proxy.processes.startup import log_to
from rerank_proxy.search.executor import Executor
from rerank_proxy.search.rank_phase import RankPhase
from rerank_proxy.services.built_in import load_services
from rerank_proxy.services.elasticsearch import ElasticsearchService
from rerank_proxy.services.local_ranker import MODEL_ID
from rerank_proxy.services.preconfigured import preconfigured_endpoints
from rerank_proxy.settings import EngineSettings, InvalidSettingsError, Settings
from rerank_proxy.tracing.opening import open_tracer
from rerank_proxy.trained_models.directory import ModelDirectory
from rerank_proxy.trained_models.engine_port import EngineModels
from rerank_proxy.trained_models.service import TrainedModels
from rerank_proxy.upstream import callers
from rerank_proxy.upstream.abilities import RetrieverSupport
from rerank_proxy.upstream.client import ElasticsearchClient
from rerank_proxy.upstream.headers import for_upstream
from rerank_proxy.upstream.inference import UpstreamInference
from rerank_proxy.upstream.privileges import Privileges
from rerank_proxy.upstream.trained_models import UpstreamModels

if TYPE_CHECKING:
    from rerank_proxy.tracing.tracer import Tracer

_JOURNAL: Final = "engine.json"
_FLUSH_S: Final = 3.0
"""Seconds for the spans that are not sent yet, when all answers are."""
_CLEANUP_S: Final = 10.0
"""Seconds for all that is closed after the last answer."""


def run(orders: bytes) -> None:
    """Serve until the supervisor says stop.

    Args:
        orders: JSON with `settings`, the descriptor of the `log`, and the paths `socket` (searches) and
            `control` (readiness, metrics).
    """
    decoded: dict[str, Any] = msgspec.json.decode(orders)
    log_to(decoded.get("log"))
    settings = Settings.model_validate(decoded["settings"])
    configure(settings.log.level, settings.log.format, process="app")
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
        # The journal lies beside the sockets: only the next process of the same supervisor reads it.
        journal = Path(control_socket).with_name(_JOURNAL)
        engine = Engine(
            settings.models,
            settings.engine,
            registry,
            journal=journal,
            on_hang=ending.hung,
            caller=callers.current,
        )
        await engine.start()
        cleanup.push_async_callback(engine.close)
        uploaded = await _uploaded_models(cleanup, settings, engine)
        reloading = Reloading()
        searches = SearchMetrics(registry)
        tracer = open_tracer(settings.tracing, registry)
        if tracer is not None:
            cleanup.push_async_callback(tracer.close, _FLUSH_S)
        endpoints = await _endpoints(cleanup, settings, engine, uploaded, registry, reloading, searches)
        app = _app(cleanup, settings, endpoints, uploaded, registry, reloading, searches, tracer)
        if tracer is not None:
            reloading.add(lambda new: tracer.use(new.tracing))
        own = OwnProcess("app")
        registry.register(own)
        own.watch_loop()
        cleanup.callback(own.close)
        control = await serve_control(engine, registry, reloading, control_socket)
        cleanup.push_async_callback(control.stop)
        listener = Listener(app.handle, settings.lifecycle.shutdown_timeout_s)
        cleanup.push_async_callback(listener.close)
        reloading.add(listener.use)
        reloading.add(lambda new: configure(new.log.level, new.log.format))
        await listener.start(socket)
        gc.freeze()  # as the engine does when it has loaded a model
        await ending.asked.wait()
        end_within(settings.lifecycle.shutdown_timeout_s + _CLEANUP_S, ending.status)
    return ending.status


async def _uploaded_models(
    cleanup: AsyncExitStack, settings: Settings, engine: Engine
) -> TrainedModels | None:
    """Serve the models that clients have uploaded; those of earlier processes even where no more may be.

    Returns:
        None if there is no directory for them.
    """
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


async def _endpoints(
    cleanup: AsyncExitStack,
    settings: Settings,
    engine: Engine,
    uploaded: TrainedModels | None,
    registry: CollectorRegistry,
    reloading: Reloading,
    searches: SearchMetrics,
) -> Endpoints:
    remote = RemoteClient(settings.remote, registry)
    cleanup.push_async_callback(remote.close)
    models = LocalModels(settings.models, uploaded)
    context = RemoteContext(
        engine=engine,
        models=models,
        chunked_characters=settings.search.chunked_characters,
        remote=remote,
        timeout_s=settings.search.timeout_s,
    )
    services = load_services(context)

    def preconfigured(of: Settings) -> list[EndpointConfig]:
        return preconfigured_endpoints(services, of.endpoints, models)

    endpoints = Endpoints(services, preconfigured(settings), open_store(settings), searches.endpoint_gone)
    EndpointMetrics(
        registry,
        lambda: endpoints.readable,
        usable=lambda: endpoints.count(usable=True),
        unusable=lambda: endpoints.count(usable=False),
    )
    reloading.add(lambda new: endpoints.use_preconfigured(preconfigured(new)))
    cleanup.push_async_callback(endpoints.close)
    await endpoints.start()
    return endpoints


def _app(
    cleanup: AsyncExitStack,
    settings: Settings,
    endpoints: Endpoints,
    uploaded: TrainedModels | None,
    registry: CollectorRegistry,
    reloading: Reloading,
    searches: SearchMetrics,
    tracer: "Tracer | None",
) -> App:
    client = ElasticsearchClient(
        settings.upstream,
        settings.search,
        UpstreamMetrics(registry).sent_again,
        callers.CallerDigests(_secret_of_replicas(settings.engine)),
    )
    cleanup.push_async_callback(client.close)
    probes, privileges = BackgroundTasks(), Privileges()
    cleanup.push_async_callback(probes.cancel)
    executor = _executor(settings, endpoints, privileges)
    cleanup.push_async_callback(executor.drain)
    support = _retriever_support(settings, probes, client)
    reader = _reader(settings, support, reloading)
    management = InferenceMetrics(registry)
    slow_log = SlowLog(settings.log, searches)
    app = App(
        executor,
        client,
        slow_log,
        settings.edge,
        reader,
        async_search=settings.async_search,
        support=support,
        slow_log=slow_log,
        other_routes=[
            *_inference_routes(settings, endpoints, privileges, probes, management, reloading),
            *_model_routes(settings, endpoints, uploaded, privileges, probes, management),
        ],
        tracer=tracer,
    )
    kept = app.async_searches
    AsyncSearchMetrics(registry, lambda: kept.running, lambda: kept.finished, lambda: kept.size_bytes)
    cleanup.push_async_callback(app.close)
    reloading.add(lambda new: client.use(new.search))
    reloading.add(lambda new: executor.use(new.search))
    reloading.add(app.use)
    return app


def _secret_of_replicas(engine: EngineSettings) -> bytes | None:
    """Return what all replicas make digests of callers with; None if none but this process needs these.

    Raises:
        InvalidSettingsError: The file with the password cannot be read.
    """
    shared = engine.shared_cache
    if engine.cache_scope != "caller" or shared.url is None:
        return None
    if shared.password_file is None:
        return None if shared.password is None else shared.password.get_secret_value().encode()
    try:
        return read_secret(shared.password_file).encode()
    except UnfitFileError as failure:
        raise InvalidSettingsError(f"[engine.shared_cache.password_file]: {failure}") from None


def _executor(settings: Settings, endpoints: Endpoints, privileges: Privileges) -> Executor:
    search = settings.search
    rank_phase = RankPhase(
        endpoints,
        search.timeout_s,
        allow_failures=search.allow_rerank_failures,
        chunked_characters=search.chunked_characters,
        show_counts=search.show_counts,
        privileges=privileges if search.check_privileges else None,
    )
    return Executor(
        rank_phase, search.deadline_s, bound_scores_by_timeout=search.bound_scores_by_request_timeout
    )


def _retriever_support(
    settings: Settings, probes: BackgroundTasks, client: ElasticsearchClient
) -> RetrieverSupport | None:
    """Return what will be known of upstream's retrievers; None if that makes no difference."""
    if not settings.search.evaluate_unavailable_retrievers:
        return None
    support = RetrieverSupport(probes)
    support.probe(client.for_caller(for_upstream(())))
    return support


def _reader(settings: Settings, support: RetrieverSupport | None, reloading: Reloading) -> SearchReader:
    evaluated = (lambda: support.unavailable) if support else frozenset
    reader = SearchReader(evaluated, max_window=settings.search.max_rank_window_size)
    reloading.add(lambda new: reader.use(new.search))
    return reader


def _inference_routes(
    settings: Settings,
    endpoints: Endpoints,
    privileges: Privileges,
    probes: BackgroundTasks,
    metrics: InferenceMetrics,
    reloading: Reloading,
) -> Sequence[Route]:
    limits = WriteLimits(settings.inference)
    reloading.add(lambda new: limits.use(new.inference))
    check_new = not settings.inference.skip_validate_and_start
    api = InferenceApi(endpoints, UpstreamInference(probes), limits, check_new=check_new)
    return inference_routes(api, privileges, metrics)


def _model_routes(
    settings: Settings,
    endpoints: Endpoints,
    uploaded: TrainedModels | None,
    privileges: Privileges,
    probes: BackgroundTasks,
    metrics: InferenceMetrics,
) -> Sequence[Route]:
    """Return the routes of trained models; none where clients may not upload any."""
    if uploaded is None or not settings.trained_models.upload:
        return ()

    def in_use(model_id: str) -> bool:
        configs = (config for config in endpoints.all() if config.service == ElasticsearchService.name)
        return any(config.service_settings.get(MODEL_ID) == model_id for config in configs)

    api = TrainedModelsApi(uploaded, UpstreamModels(probes), in_use)
    return trained_model_routes(api, privileges, metrics)
