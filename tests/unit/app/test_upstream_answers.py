"""Whatever stands upstream may answer anything: the client is told so in one line, or gets a whole answer.

The answers that a request needs are spoilt one by one, in every way: other statuses and bodies, and each
value in them left out or replaced by one of another type.
"""

import asyncio
import copy
import functools
import itertools
import json
import operator
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pytest
from multidict import CIMultiDict
from prometheus_client import CollectorRegistry

from rerank_proxy.app.apis.inference import InferenceApi
from rerank_proxy.app.apis.routes import inference_routes
from rerank_proxy.app.apis.search import SearchReader
from rerank_proxy.app.metrics import InferenceMetrics, SearchMetrics
from rerank_proxy.app.server import App
from rerank_proxy.app.slow_log import SlowLog
from rerank_proxy.concurrency.tasks import BackgroundTasks
from rerank_proxy.engine import Scores
from rerank_proxy.http.messages import Request, Response
from rerank_proxy.inference.write_limits import WriteLimits
from rerank_proxy.search.executor import Executor
from rerank_proxy.search.rank_phase import RankPhase
from rerank_proxy.settings import InferenceSettings, Settings
from rerank_proxy.upstream.abilities import RetrieverSupport
from rerank_proxy.upstream.client import ElasticsearchClient
from rerank_proxy.upstream.inference import UpstreamInference
from rerank_proxy.upstream.privileges import Privileges
from rerank_proxy.upstream.protocol import Reply, shaped
from tests.support.endpoints import MemoryStore, local_endpoints
from tests.support.search_app import ENDPOINT, NumberAtTheEnd
from tests.support.searches import reranking


class Lengths(NumberAtTheEnd):
    """In the engine's place: any text has a score."""

    async def scores(
        self, model: str, query: str, texts: Sequence[str], deadline: float, *, instruction: str | None = None
    ) -> Scores:
        return Scores([float(len(text)) for text in texts])


JSON = (b"Content-Type", b"application/json")


def hit(number: int) -> dict[str, Any]:
    return {
        "_index": "films",
        "_id": str(number),
        "_score": 1.5,
        "_source": {"text": f"crime {number}"},
        "fields": {"text": [f"crime {number}"], "v": [[1.0, number]]},
        "sort": [1.5, number],
        "_shard": "[films][0]",
        "_explanation": {"value": 1.5, "description": "a", "details": []},
    }


FOUND: Mapping[str, Any] = {
    "pit_id": "p",
    "took": 1,
    "timed_out": False,
    "_shards": {"total": 1, "successful": 1, "skipped": 0, "failed": 0},
    "hits": {"total": {"value": 2, "relation": "eq"}, "max_score": 1.5, "hits": [hit(1), hit(2)]},
    "profile": {
        "shards": [
            {
                "id": "[a][films][0]",
                "shard_id": 0,
                "index": "films",
                "searches": [
                    {
                        "query": [
                            {"type": "T", "description": "d", "children": [{"type": "T", "description": "d"}]}
                        ]
                    }
                ],
            }
        ]
    },
}
THEIRS = {
    "inference_id": "theirs",
    "task_type": "rerank",
    "service": "cohere",
    "service_settings": {"model_id": "m"},
    "task_settings": {"top_n": 10},
}


class Elasticsearch:
    """Answers as Elasticsearch does, but for one kind of request.

    Args:
        spoilt: The kind that is answered with `reply` instead.

    Attributes:
        answers: The first answer to each kind of request.
    """

    def __init__(self, spoilt: str | None = None, reply: Reply | None = None) -> None:
        self.answers: dict[str, bytes] = {}
        self._spoilt = spoilt
        self._reply = reply

    def answer(self, method: str, target: str, body: bytes) -> Reply:
        kind = kind_of(method, target)
        if kind == self._spoilt and self._reply is not None:
            return self._reply
        answer = json.dumps(good(kind, body)).encode()
        self.answers.setdefault(kind, answer)
        return Reply(200, (), answer)


def kind_of(method: str, target: str) -> str:
    path = target.partition("?")[0]
    names = [name for name in path.split("/") if name.startswith("_")]
    return f"{method} {'/'.join(names[:2]) if names[0] == '_inference' and method == 'GET' else names[-1]}"


def good(kind: str, body: bytes) -> Any:
    if kind == "POST _msearch":
        return {"took": 1, "responses": [{**FOUND, "status": 200}] * (body.count(b"\n") // 2)}
    if kind == "POST _has_privileges":
        return {"cluster": dict.fromkeys(json.loads(body)["cluster"], True)}
    if kind == "POST template":
        return {"template_output": reranking()}
    if kind == "POST _render":
        return {"template_output": reranking()}
    answers: dict[str, Any] = {
        "POST _search": FOUND,
        "GET _search": FOUND,
        "POST _pit": {"id": "p", "_shards": {}},
        "DELETE _pit": {"succeeded": True},
        "GET _mapping": {
            "films": {
                "mappings": {
                    "properties": {
                        "text": {"type": "text"},
                        "o": {"properties": {"s": {"type": "semantic_text"}}},
                    }
                }
            },
            "books": {"mappings": {"properties": {"text": {"type": "text"}}}},
        },
        "GET _authenticate": {"username": "u", "roles": []},
        "GET _inference": {"endpoints": [THEIRS]},
        "GET _inference/_all": {"endpoints": [THEIRS]},
        "GET _inference/_services": [{"service": "cohere", "name": "Cohere", "task_types": ["rerank"]}],
        "POST _inference": {
            "rerank": [{"index": 1, "relevance_score": 2.5}, {"index": 0, "relevance_score": 1}]
        },
        "GET _ingest": {"p": {"processors": [{"inference": {"model_id": "other"}}]}},
    }
    return answers[kind]


class Client(ElasticsearchClient):
    """The real one, but for the wire."""

    elasticsearch: Elasticsearch

    async def request(self, method: str, target: str, body: bytes, headers: CIMultiDict[str]) -> Reply:
        await asyncio.sleep(0)
        return shaped(self.elasticsearch.answer(method, target, body), method, target)


@dataclass
class Proxy:
    app: App
    executor: Executor
    client: Client

    async def ask(self, request: Request, elasticsearch: Elasticsearch) -> Response:
        self.client.elasticsearch = elasticsearch
        response = await self.app.handle(request)
        await self.executor.drain()
        return response


MakeProxy = Callable[[], Awaitable[Proxy]]


@pytest.fixture
async def make_proxy() -> AsyncIterator[MakeProxy]:
    """Makes applications that remember nothing."""
    settings = Settings.model_validate(
        {"models": {"numbers": "none"}, "endpoints": {ENDPOINT: {"model": "numbers"}}}
    )
    client = Client(settings.upstream, settings.search)
    endpoints = local_endpoints(settings.endpoints, Lengths(), 60, None, MemoryStore())
    await endpoints.start()

    async def make() -> Proxy:
        executor = Executor(RankPhase(endpoints, 60, allow_failures=False, privileges=Privileges()), 60)
        registry = CollectorRegistry()
        probes = BackgroundTasks()
        inference = InferenceApi(
            endpoints, UpstreamInference(probes), WriteLimits(InferenceSettings()), check_new=False
        )
        app = App(
            executor,
            client,
            SlowLog(settings.log, SearchMetrics(registry)),
            settings.edge,
            SearchReader(lambda: {"rrf", "linear", "diversify"}),
            async_search=settings.async_search,
            support=RetrieverSupport(probes),
            other_routes=inference_routes(inference, Privileges(), InferenceMetrics(registry)),
        )
        return Proxy(app, executor, client)

    yield make
    await client.close()
    await endpoints.close()


def request(method: str, target: str, *bodies: Any) -> Request:
    lines = [json.dumps(body).encode() for body in bodies]
    body = b"".join(line + b"\n" for line in lines) if len(lines) > 1 else b"".join(lines)
    return Request(method, target, [JSON] if bodies else [], body)


ALL: Mapping[str, Any] = {"standard": {"query": {"match_all": {}}}}
DIVERSE = {
    "diversify": {
        "type": "mmr",
        "field": "v",
        "rank_window_size": 10,
        "query_vector": [1, 1],
        "lambda": 0.5,
        "retriever": ALL,
    }
}
TREE = {"retriever": {"rrf": {"retrievers": [reranking()["retriever"], DIVERSE]}}}
SIMPLIFIED = {"linear": {"query": "crime", "fields": ["text"], "normalizer": "none"}}
REQUESTS = {
    "one search": request("POST", "/films/_search", reranking()),
    "point in time": request("POST", "/films/_search", {**reranking(), "explain": True, "profile": True}),
    "a client's point in time": request("POST", "/_search", {**reranking(), "pit": {"id": "p"}}),
    "a tree": request("POST", "/films/_search", TREE),
    "simplified": request("POST", "/films/_search", reranking(SIMPLIFIED)),
    "many": request("POST", "/_msearch", {}, reranking(), {}, {"query": {"match_all": {}}}),
    "a template": request("POST", "/films/_search/template", {"id": "t"}),
    "many templates": request("POST", "/_msearch/template", {}, {"id": "t"}),
    "asynchronous": request("POST", "/_async_search?wait_for_completion_timeout=5s", reranking()),
    "upstream's endpoint": request("POST", "/films/_search", reranking(inference_id="theirs")),
    "endpoints": request("GET", "/_inference/_all"),
    "services": request("GET", "/_inference/_services"),
    "no more endpoint": request("DELETE", f"/_inference/rerank/{ENDPOINT}?dry_run=true"),
}

BODIES = [
    b"", b"<html>", b"[]", b"{}", b"5", b"null", b'"x"', b"true", b"[5]", b"[{}]", b'{"ok":true}',
    b"\xff\xfe", b"[" * 5_000, b'{"a":' * 5_000,
]  # fmt: skip
STATUSES = [201, 204, 206, 301, 302, 304, 399, 600, 999]
ERRORS = [
    (502, b"<html>Bad Gateway</html>"),
    (503, b""),
    (404, b"[]"),
    (500, b'{"error":5}'),
    (500, b'{"error":{"type":5,"reason":[]}}'),
    (400, b'{"error":{"caused_by":5,"type":"search_phase_execution_exception"}}'),
    (400, b'{"error":{"type":"x","reason":"[1:99999999999] x","caused_by":{"type":"y"}}}'),
    (429, b'{"error":' * 5_000),
]
VALUES = [True, -1, 5, 1.5, 10**400, "x", "", [], [[]], {"a": 1}]
MAY_BE = {
    "POST _search": {400, 500},
    "GET _inference": {400, 404},
    "POST _inference": {500},
    "POST _render": {400, 421},
}
"""Statuses by what was spoilt: native's answer to what upstream said, which is then not upstream's fault."""


def replies(answer: bytes, others: int) -> Iterator[Reply]:
    """What may come in place of an answer, with so many other values in place of each."""
    yield from (Reply(200, (), body) for body in BODIES)
    yield from (Reply(200, (), answer[:cut]) for cut in range(1, len(answer), len(answer) // 10 + 1))
    yield from (Reply(status, (), answer) for status in STATUSES)
    yield from (Reply(status, (), body) for status, body in ERRORS)
    yield from (Reply(200, (), json.dumps(value).encode()) for value in _spoilt(json.loads(answer), others))
    yield Reply(200, (), json.dumps(json.loads(answer), indent=2).encode())


def _spoilt(value: Any, others: int) -> Iterator[Any]:
    """The value with each value in it left out, and replaced by others in turn."""
    turn = itertools.cycle(VALUES)
    for path in _paths(value):
        *outer, last = path
        changed = copy.deepcopy(value)
        place = functools.reduce(operator.getitem, outer, changed)
        for other in (None, {}, *itertools.islice(turn, others)):
            place[last] = other
            yield changed
        del place[last]
        yield changed


def _paths(value: Any) -> Iterator[list[Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield [key]
        for path in _paths(inner):
            yield [key, *path]


def check(response: Response, may_be: set[int]) -> None:
    assert response.status in may_be, response.body
    if response.status == 421:
        return
    assert b"rerank-proxy failed" not in response.body
    body = json.loads(response.body)
    for each in [body, *body.get("responses", [])] if isinstance(body, dict) else [body]:
        if isinstance(each, dict) and "error" in each:
            check_error(each["error"], each.get("status", response.status), may_be)


def check_error(error: Any, status: int, may_be: set[int]) -> None:
    assert status in may_be
    assert isinstance(error["type"], str)
    assert "\n" not in error.get("reason", "")


@pytest.mark.parametrize("name", REQUESTS)
async def test_any_answer_in_place_of_each(
    name: str, make_proxy: MakeProxy, pytestconfig: pytest.Config
) -> None:
    others = 4 if pytestconfig.getoption("long") else 1
    usual = Elasticsearch()
    answered = await (await make_proxy()).ask(REQUESTS[name], usual)
    assert answered.status == 200, answered.body
    for kind, answer in usual.answers.items():
        for reply in replies(answer, others):
            elasticsearch = Elasticsearch(spoilt=kind, reply=reply)
            response = await (await make_proxy()).ask(REQUESTS[name], elasticsearch)
            own = {reply.status} if reply.status in range(400, 600) else set()
            check(response, {200, 502, *own, *MAY_BE.get(kind, ())})
