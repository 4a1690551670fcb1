"""The application on a real socket in front of an Elasticsearch, with a reranker that is easy to predict."""

import json
import re
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import pytest
from multidict import CIMultiDict, CIMultiDictProxy
from prometheus_client import CollectorRegistry

from rerank_proxy.app.apis.inference import InferenceApi
from rerank_proxy.app.apis.routes import Route, inference_routes
from rerank_proxy.app.apis.search import SearchReader
from rerank_proxy.app.listener import Handle, Listener
from rerank_proxy.app.metrics import InferenceMetrics, SearchMetrics
from rerank_proxy.app.recordings import Recordings
from rerank_proxy.app.server import App
from rerank_proxy.app.slow_log import SlowLog
from rerank_proxy.concurrency.tasks import BackgroundTasks
from rerank_proxy.engine import Scores
from rerank_proxy.inference.endpoints import Endpoints
from rerank_proxy.inference.write_limits import WriteLimits
from rerank_proxy.search.executor import Executor
from rerank_proxy.search.own_points_in_time import OwnPointsInTime
from rerank_proxy.search.rank_phase import RankPhase
from rerank_proxy.settings import InferenceSettings, SearchSettings, Settings
from rerank_proxy.upstream.abilities import RetrieverSupport
from rerank_proxy.upstream.client import ElasticsearchClient
from rerank_proxy.upstream.inference import UpstreamInference
from rerank_proxy.upstream.privileges import Privileges
from rerank_proxy.upstream.protocol import Reply
from tests.support.endpoints import LoadedModels, MemoryStore, local_endpoints
from tests.support.online import Online

if TYPE_CHECKING:
    from rerank_proxy.tracing.tracer import Tracer

ENDPOINT: Final = ".rerank-v1-elasticsearch"
TWO_STAGES: Final = "search_type=query_then_fetch"
"""The default, spelt out: it changes nothing for a client but makes the proxy use a point in time."""
BOTH_PATHS: Final = pytest.mark.parametrize("path", ["", TWO_STAGES], ids=["one search", "point in time"])
"""Each search by its own way, and by the one through a point in time."""


class NumberAtTheEnd(LoadedModels):
    """In the engine's place: the score of a text is the number that it ends with.

    Attributes:
        table: Scores of texts that are not scored so.
        asked: The texts of each call.
        failure: What to raise instead.
        before: Awaited before each answer.
    """

    def __init__(self) -> None:
        self.table: dict[str, float] = {}
        self.asked: list[list[str]] = []
        self.failure: Exception | None = None
        self.before: Callable[[], Awaitable[None]] | None = None

    async def scores(
        self, model: str, query: str, texts: Sequence[str], deadline: float, *, instruction: str | None = None
    ) -> Scores:
        self.asked.append(list(texts))
        if self.before is not None:
            await self.before()
        if self.failure is not None:
            raise self.failure
        scores = [self.table[text] if text in self.table else float(text.split()[-1]) for text in texts]
        return Scores(scores)


class RecordingUpstream(ElasticsearchClient):
    """The real client, with a list of what it sent."""

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self.sent: list[str] = []

    async def request(self, method: str, target: str, body: bytes, headers: CIMultiDict[str]) -> Reply:
        self.sent.append(f"{method} {target}")
        return await super().request(method, target, body, headers)


@dataclass(frozen=True)
class Answer:
    """A whole answer, its body decoded."""

    status: int
    headers: CIMultiDictProxy[str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def hits(self) -> list[dict[str, Any]]:
        assert self.status == 200, self.body
        found: list[dict[str, Any]] = self.json()["hits"]["hits"]
        return found

    @property
    def ids(self) -> list[str]:
        return [hit["_id"] for hit in self.hits]

    @property
    def scores(self) -> list[float]:
        return [hit["_score"] for hit in self.hits]

    @property
    def total(self) -> Any:
        assert self.status == 200, self.body
        return self.json()["hits"].get("total")

    @property
    def without_took(self) -> bytes:
        return re.sub(rb'"took"( ?: ?)\d+', rb'"took"\1_', self.body, count=1)

    @property
    def cause(self) -> dict[str, Any]:
        """The innermost error."""
        error: dict[str, Any] = self.json()["error"]
        while True:
            inner = error.get("caused_by") or next(iter(error.get("suppressed", ())), None)
            if inner is None:
                return error
            error = inner


@dataclass
class SearchApp:
    """The application under test; `search` asks it as a client does."""

    url: str
    engine: NumberAtTheEnd
    executor: Executor
    upstream: RecordingUpstream
    session: aiohttp.ClientSession
    handle: Handle

    async def search(
        self,
        index: str | None,
        body: Mapping[str, Any] | bytes,
        query: str = "",
        *,
        method: str = "POST",
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        path = "/_search" if index is None else f"/{index}/_search"
        return await self.call(method, path + (f"?{query}" if query else ""), body, headers=headers)

    async def call(
        self,
        method: str,
        target: str,
        body: Mapping[str, Any] | bytes = b"",
        *,
        headers: Mapping[str, str] | None = None,
    ) -> Answer:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        sent = {"Content-Type": "application/json", **(headers or {})}
        async with self.session.request(method, self.url + target, data=data, headers=sent) as answer:
            return Answer(answer.status, answer.headers, await answer.read())


@asynccontextmanager
async def search_app(
    url: str | Sequence[str],
    *,
    evaluate: Collection[str] = (),
    top_n: int | None = None,
    endpoints: Endpoints | None = None,
    max_inflation: int | None = None,
    more: Sequence[Route] = (),
    points_in_time: OwnPointsInTime | None = None,
    tracer: "Tracer | None" = None,
    inference: Mapping[str, int] | None = None,
    recordings: Recordings | None = None,
    online: Online | None = None,
    **search: Any,
) -> AsyncIterator[SearchApp]:
    """Serve in front of the Elasticsearch at `url`.

    Args:
        url: Or the URLs of several nodes.
        evaluate: Types of retrievers to be evaluated by the application, known to Elasticsearch or not.
        top_n: Of the endpoint.
        endpoints: In place of one over `engine` and a store that is empty.
        max_inflation: The setting of that name.
        more: Routes beside those of searches and endpoints.
        points_in_time: In place of the executor's own.
        tracer: Records spans.
        inference: Settings of that section. Endpoints change as often as a test likes unless these say so.
        recordings: Those of requests that show a key.
        online: Counts clicks, and compares.
        search: Settings of that section. Privileges are not asked for unless these say so.
    """
    settings = Settings.model_validate(
        {
            "upstream": url if isinstance(url, str) else {"urls": url},
            "models": {"numbers": "none"},
            "endpoints": {ENDPOINT: {"model": "numbers"}},
            "search": {"check_privileges": False, **search},
            "edge": {} if max_inflation is None else {"max_inflation": max_inflation},
        }
    )
    engine = NumberAtTheEnd()
    limits: SearchSettings = settings.search
    upstream = RecordingUpstream(settings.upstream, limits)
    if endpoints is None:
        endpoints = local_endpoints(settings.endpoints, engine, limits.timeout_s, top_n, MemoryStore())
    await endpoints.start()
    scorer = RankPhase(
        endpoints,
        limits.timeout_s,
        allow_failures=limits.allow_rerank_failures,
        show_counts=limits.show_counts,
        privileges=Privileges() if limits.check_privileges else None,
    )
    executor = Executor(
        scorer,
        limits.deadline_s,
        bound_scores_by_timeout=limits.bound_scores_by_request_timeout,
        points_in_time=points_in_time,
        trials=None if online is None else online.trials,
    )
    probes = BackgroundTasks()
    support = RetrieverSupport(probes) if limits.evaluate_unavailable_retrievers and not evaluate else None
    writes = InferenceSettings(**{"max_writes_per_minute": 0, **(inference or {})})
    inference_api = InferenceApi(endpoints, UpstreamInference(probes), WriteLimits(writes))
    registry = CollectorRegistry()
    app = App(
        executor,
        upstream,
        SlowLog(settings.log, SearchMetrics(registry)),
        settings.edge,
        SearchReader(
            lambda: support.unavailable if support else evaluate, max_window=limits.max_rank_window_size
        ),
        async_search=settings.async_search,
        support=support,
        other_routes=(*inference_routes(inference_api, Privileges(), InferenceMetrics(registry)), *more),
        tracer=tracer,
        recordings=recordings,
    )
    listener = Listener(app.handle, shutdown_timeout_s=10)
    try:
        sock = socket.create_server(("127.0.0.1", 0))
        await listener.start(sock)
        host, port = sock.getsockname()
        async with aiohttp.ClientSession() as session:
            yield SearchApp(f"http://{host}:{port}", engine, executor, upstream, session, app.handle)
    finally:
        await listener.close()
        await app.close()
        if online is not None:
            await online.trials.close()
        await executor.drain()
        await endpoints.close()
        await probes.cancel()
        await upstream.close()
