"""The parts of the application, made from the settings and joined."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from prometheus_client import CollectorRegistry

from rerank_proxy.app.apis.inference import InferenceApi
from rerank_proxy.app.apis.routes import Route, inference_routes, trained_model_routes
from rerank_proxy.app.apis.search import SearchReader
from rerank_proxy.app.apis.trained_models import TrainedModelsApi
from rerank_proxy.app.clicks import ClicksApi
from rerank_proxy.app.metrics import (
    AsyncSearchMetrics,
    InferenceMetrics,
    SearchMetrics,
    UpstreamMetrics,
)
from rerank_proxy.app.online_metrics import OnlineMetrics
from rerank_proxy.app.recent import Recent
from rerank_proxy.app.recordings import Recordings
from rerank_proxy.app.reloading import Reloading
from rerank_proxy.app.server import App
from rerank_proxy.app.slow_log import SlowLog
from rerank_proxy.app.status import Status
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
from rerank_proxy.online.memory import ClickMemory
from rerank_proxy.search.executor import Executor
from rerank_proxy.search.rank_phase import RankPhase
from rerank_proxy.search.trials import Trials
from rerank_proxy.services.built_in import load_services
from rerank_proxy.services.elasticsearch import ElasticsearchService
from rerank_proxy.services.local_ranker import MODEL_ID
from rerank_proxy.services.preconfigured import preconfigured_endpoints
from rerank_proxy.settings import InvalidSettingsError, Settings
from rerank_proxy.trained_models.directory import ModelDirectory
from rerank_proxy.trained_models.engine_port import EngineModels
from rerank_proxy.trained_models.service import TrainedModels
from rerank_proxy.upstream.abilities import RetrieverSupport
from rerank_proxy.upstream.callers import CallerDigests
from rerank_proxy.upstream.client import ElasticsearchClient
from rerank_proxy.upstream.headers import for_upstream
from rerank_proxy.upstream.inference import UpstreamInference
from rerank_proxy.upstream.privileges import Privileges
from rerank_proxy.upstream.trained_models import UpstreamModels

if TYPE_CHECKING:
    from rerank_proxy.tracing.tracer import Tracer


@dataclass(frozen=True, slots=True)
class Wiring:
    """What the parts are made with, and what several of them share.

    Attributes:
        cleanup: Closes the parts, those that were made last first.
        probes: Questions to upstream, which no request waits for.
        recordings: Those of requests that show a key.
        recent: What became of the last requests.
    """

    settings: Settings
    cleanup: AsyncExitStack
    registry: CollectorRegistry = field(default_factory=CollectorRegistry)
    reloading: Reloading = field(default_factory=Reloading)
    probes: BackgroundTasks = field(default_factory=BackgroundTasks)
    privileges: Privileges = field(default_factory=Privileges)
    recordings: Recordings = field(default_factory=Recordings)
    recent: Recent = field(default_factory=Recent)


class Made(NamedTuple):
    """The parts that are made: what answers requests, what tells how all of it is, and what counts clicks."""

    app: App
    status: Status
    clicks: ClicksApi


async def make_app(wiring: Wiring, engine: Engine, tracer: "Tracer | None") -> Made:
    """Make what answers requests, and start what it needs.

    Raises:
        InvalidSettingsError: What the settings name cannot be used.
    """
    cleanup, reloading = wiring.cleanup, wiring.reloading
    searches = SearchMetrics(wiring.registry)
    uploaded = await _uploaded_models(wiring, engine)
    online = _online(wiring)
    endpoints = await _endpoints(wiring, engine, uploaded, [searches.rerankers.endpoint_gone, *online.gone])
    client = _client(wiring)
    cleanup.push_async_callback(wiring.probes.cancel)
    executor = _executor(wiring, endpoints, online.trials)
    support = _retriever_support(wiring, client)
    management = InferenceMetrics(wiring.registry)
    app = App(
        executor,
        client,
        SlowLog(wiring.settings.log, searches),
        wiring.settings.edge,
        _reader(wiring, support),
        async_search=wiring.settings.async_search,
        support=support,
        other_routes=[
            *_inference_routes(wiring, endpoints, management),
            *_model_routes(wiring, endpoints, uploaded, management),
        ],
        tracer=tracer,
        recordings=wiring.recordings,
        recent=wiring.recent,
    )
    kept = app.async_searches
    AsyncSearchMetrics(wiring.registry, lambda: kept.running, lambda: kept.finished, lambda: kept.size_bytes)
    cleanup.push_async_callback(app.close)
    reloading.add(app.use)
    clicks = ClicksApi(online.memory, lambda: online.trials.is_on)
    return Made(app, Status(engine, endpoints, wiring.recent, online.shown), clicks)


class _Online(NamedTuple):
    """What counts clicks.

    Attributes:
        gone: Called with each endpoint that is deleted.
        shown: Returns what clicks have come to.
    """

    trials: Trials
    memory: ClickMemory
    gone: Sequence[Callable[[str], None]]
    shown: Callable[[], Mapping[str, Any]]


def _online(wiring: Wiring) -> _Online:
    settings, metrics = wiring.settings.online, OnlineMetrics(wiring.registry)
    memory = ClickMemory(
        metrics, max_searches=settings.max_searches, max_bytes=settings.max_bytes, keep_s=settings.keep_s
    )
    metrics.watch(memory)
    # What it counts when it forgets has labels of the endpoint, so that these go last.
    gone = memory.forget_endpoint, metrics.endpoint_gone
    return _Online(Trials(settings, memory, metrics), memory, gone, metrics.shown)


async def _uploaded_models(wiring: Wiring, engine: Engine) -> TrainedModels | None:
    """Serve the models that clients have uploaded; those of earlier processes even where no more may be.

    Returns:
        None if there is no directory for them.
    """
    settings = wiring.settings
    try:
        directory = state_directory(settings) / "trained_models"
    except InvalidSettingsError:
        if settings.trained_models.upload:
            raise
        return None
    models = TrainedModels(ModelDirectory(directory), EngineModels(engine), settings.trained_models)
    wiring.cleanup.push_async_callback(models.close)
    await models.start()
    return models


async def _endpoints(
    wiring: Wiring,
    engine: Engine,
    uploaded: TrainedModels | None,
    gone: Sequence[Callable[[str], None]],
) -> Endpoints:
    settings = wiring.settings
    remote = RemoteClient(settings.remote, wiring.registry)
    wiring.cleanup.push_async_callback(remote.close)
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

    def forget(endpoint: str) -> None:
        for each in gone:
            each(endpoint)

    endpoints = Endpoints(services, preconfigured(settings), open_store(settings), forget)
    EndpointMetrics(
        wiring.registry,
        lambda: endpoints.readable,
        usable=lambda: endpoints.count(usable=True),
        unusable=lambda: endpoints.count(usable=False),
    )
    wiring.reloading.add(lambda new: endpoints.use_preconfigured(preconfigured(new)))
    wiring.cleanup.push_async_callback(endpoints.close)
    await endpoints.start()
    return endpoints


def _client(wiring: Wiring) -> ElasticsearchClient:
    client = ElasticsearchClient(
        wiring.settings.upstream,
        wiring.settings.search,
        UpstreamMetrics(wiring.registry).sent_again,
        CallerDigests(_secret_of_replicas(wiring.settings)),
    )
    wiring.cleanup.push_async_callback(client.close)
    wiring.reloading.add(lambda new: client.use(new.search))
    return client


def _secret_of_replicas(settings: Settings) -> bytes | None:
    """Return what all replicas make digests of callers with; None if none but this process needs these.

    Raises:
        InvalidSettingsError: The file with the password cannot be read.
    """
    shared = settings.engine.shared_cache
    if settings.engine.cache_scope != "caller" or shared.url is None:
        return None if settings.online.seed is None else settings.online.seed.get_secret_value().encode()
    if shared.password_file is None:
        return None if shared.password is None else shared.password.get_secret_value().encode()
    try:
        return read_secret(shared.password_file).encode()
    except UnfitFileError as error:
        raise InvalidSettingsError(
            f"[engine.shared_cache.password_file]: {shared.password_file}: {error.problem}"
        ) from None


def _executor(wiring: Wiring, endpoints: Endpoints, trials: Trials) -> Executor:
    search = wiring.settings.search
    rank_phase = RankPhase(
        endpoints,
        search.timeout_s,
        allow_failures=search.allow_rerank_failures,
        chunked_characters=search.chunked_characters,
        show_counts=search.show_counts,
        privileges=wiring.privileges if search.check_privileges else None,
    )
    executor = Executor(
        rank_phase,
        search.deadline_s,
        bound_scores_by_timeout=search.bound_scores_by_request_timeout,
        trials=trials,
    )
    wiring.cleanup.push_async_callback(executor.drain)
    wiring.cleanup.push_async_callback(trials.close)
    wiring.reloading.add(lambda new: trials.use(new.online))
    wiring.reloading.add(lambda new: executor.use(new.search))
    return executor


def _retriever_support(wiring: Wiring, client: ElasticsearchClient) -> RetrieverSupport | None:
    """Return what will be known of upstream's retrievers; None if that makes no difference."""
    if not wiring.settings.search.evaluate_unavailable_retrievers:
        return None
    support = RetrieverSupport(wiring.probes)
    support.probe(client.for_caller(for_upstream(())))
    return support


def _reader(wiring: Wiring, support: RetrieverSupport | None) -> SearchReader:
    evaluated = (lambda: support.unavailable) if support else frozenset
    reader = SearchReader(evaluated, max_window=wiring.settings.search.max_rank_window_size)
    wiring.reloading.add(lambda new: reader.use(new.search))
    return reader


def _inference_routes(wiring: Wiring, endpoints: Endpoints, metrics: InferenceMetrics) -> Sequence[Route]:
    limits = WriteLimits(wiring.settings.inference)
    wiring.reloading.add(lambda new: limits.use(new.inference))
    check_new = not wiring.settings.inference.skip_validate_and_start
    api = InferenceApi(endpoints, UpstreamInference(wiring.probes), limits, check_new=check_new)
    return inference_routes(api, wiring.privileges, metrics)


def _model_routes(
    wiring: Wiring, endpoints: Endpoints, uploaded: TrainedModels | None, metrics: InferenceMetrics
) -> Sequence[Route]:
    """Return the routes of trained models; none where clients may not upload any."""
    if uploaded is None or not wiring.settings.trained_models.upload:
        return ()

    def in_use(model_id: str) -> bool:
        configs = (config for config in endpoints.all() if config.service == ElasticsearchService.name)
        return any(config.service_settings.get(MODEL_ID) == model_id for config in configs)

    api = TrainedModelsApi(uploaded, UpstreamModels(wiring.probes), in_use)
    return trained_model_routes(api, wiring.privileges, metrics)
