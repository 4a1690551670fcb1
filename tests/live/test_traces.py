"""The spans of searches: a tree for each kind, which continues the client's trace and goes on upstream."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest

from rerank_proxy.settings import EndpointSettings
from testbed import RunningElasticsearch
from tests.live.conftest import MakeIndex
from tests.support.endpoints import MemoryStore, local_endpoints
from tests.support.engines import running
from tests.support.recording import Recording, recording
from tests.support.retrievers import rrf
from tests.support.search_app import TWO_STAGES, SearchApp, search_app
from tests.support.searches import reranking
from tests.support.tiny_models import build
from tests.support.traces import (
    NOT_SAMPLED,
    PARENT,
    SAMPLED,
    TRACE,
    Traces,
    Tree,
    check_nesting,
    failed,
    id_of,
    named,
    trees,
)
from tests.support.waiting import until_true

ENDPOINT: Final = ".rerank-v1-elasticsearch"
SCORING: Final[list[Tree]] = [("tokenise", []), ("queue", []), ("score", [])]
RERANK: Final[Tree] = ("rerank", SCORING)
SEARCH: Final[Tree] = ("search", [])
PARSE: Final[Tree] = ("parse", [])
SPLICE: Final[Tree] = ("splice", [])
OPEN: Final[Tree] = ("open_point_in_time", [])
SECRET: Final = "verysecret"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("bert", tmp_path_factory.mktemp("bert"))


@pytest.fixture
def films(make_index: MakeIndex) -> str:
    return make_index({"text": f"{SECRET} crime {number}"} for number in range(4))


class Traced:
    """The application with a real engine, in front of a relay that notes what goes upstream."""

    def __init__(self, app: SearchApp, traces: Traces, upstream: Recording, films: str) -> None:
        self.app = app
        self.traces = traces
        self.upstream = upstream
        self.films = films

    async def search(self, body: Mapping[str, Any], query: str = "", **headers: str) -> list[Tree]:
        """Search, and return the trees of spans."""
        answer = await self.app.search(self.films, body, query, headers=headers)
        assert answer.status == 200, answer.body
        return self.taken()

    def taken(self) -> list[Tree]:
        self.spans = self.traces.take()
        check_nesting(self.spans)
        return trees(self.spans)


@asynccontextmanager
async def traced(
    elasticsearch: RunningElasticsearch, model: Path, films: str, **settings: Any
) -> AsyncIterator[Traced]:
    traces = Traces(**settings)
    async with running({"numbers": model}) as engine, recording(elasticsearch.url) as upstream:
        await engine.scores("numbers", "is it", ["loaded"])
        endpoints = local_endpoints(
            {ENDPOINT: EndpointSettings(model="numbers")}, engine, store=MemoryStore()
        )
        async with search_app(upstream.url, endpoints=endpoints, tracer=traces.tracer) as app:
            yield Traced(app, traces, upstream, films)


@pytest.fixture
async def live(elasticsearch: RunningElasticsearch, model: Path, films: str) -> AsyncIterator[Traced]:
    async with traced(elasticsearch, model, films) as serving:
        yield serving


def of_search(*children: Tree) -> list[Tree]:
    return [("POST /{index}/_search", [*children])]


async def test_one_reranker(live: Traced) -> None:
    assert await live.search(reranking()) == of_search(PARSE, SEARCH, RERANK, SPLICE)
    assert failed(live.spans) == {}
    search, score, rerank = (named(live.spans, name) for name in ("search", "score", "rerank"))
    assert (search.attributes or {})["db.system.name"] == "elasticsearch"
    assert (score.attributes or {})["rerank_proxy.pairs"] == 4
    assert (rerank.attributes or {})["rerank_proxy.endpoint"] == ENDPOINT


async def test_cached_scores(live: Traced) -> None:
    await live.search(reranking())
    assert await live.search(reranking()) == of_search(PARSE, SEARCH, ("rerank", []), SPLICE)
    assert (named(live.spans, "rerank").attributes or {})["rerank_proxy.cached"] == 4


async def test_in_a_point_in_time(live: Traced) -> None:
    """Closing it is not waited for, so it has no span here; but upstream it belongs to the trace."""
    expected = of_search(PARSE, OPEN, SEARCH, RERANK, SEARCH, SPLICE)
    assert await live.search(reranking(), TWO_STAGES) == expected
    await until_true(lambda: any(each.method == "DELETE" for each in live.upstream.passed))
    trace = named(live.spans, "rerank").get_span_context()
    assert trace is not None
    for passed in live.upstream.passed:
        assert f"{trace.trace_id:032x}" in passed.headers["traceparent"], passed


async def test_a_cascade(live: Traced) -> None:
    body = reranking(reranking(inference_text="first")["retriever"])
    expected = of_search(PARSE, OPEN, SEARCH, RERANK, RERANK, SEARCH, SPLICE)
    assert await live.search(body) == expected


async def test_rerankers_side_by_side(live: Traced) -> None:
    first, second = (reranking(inference_text=text)["retriever"] for text in ("first", "second"))
    ((name, children),) = await live.search({"retriever": rrf(first, second)})
    assert name == "POST /{index}/_search"
    kinds = [name for name, _ in children]
    kinds = kinds[kinds.index("parse") :]  # before it, upstream is asked whether it evaluates rrf
    assert (kinds[-1], kinds.count("rerank")) == ("splice", 2)
    assert kinds.count("search") >= 3, "one of each child, and the final one"
    assert {name for name, _ in children} == {"parse", "open_point_in_time", "search", "rerank", "splice"}


async def test_many_searches(live: Traced) -> None:
    """Their inner searches go upstream together, below the request; each has a span for its wait."""
    lines = [{}, reranking(inference_text="first"), {}, reranking(inference_text="second"), {}, {"size": 1}]
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    answer = await live.app.call("POST", f"/{live.films}/_msearch", body)
    assert answer.status == 200
    ((name, children),) = live.taken()
    assert name == "POST /{index}/_msearch"
    each: Tree = ("search", [("coalesced search", []), RERANK, SPLICE])
    assert sorted(children) == sorted([PARSE, each, each, ("msearch", [])])


async def test_a_failure_that_is_allowed(live: Traced) -> None:
    body = reranking(inference_id="gone", allow_rerank_failures=True)
    ((_, children),) = await live.search(body)
    assert [name for name, _ in children] == ["parse", "search", "rerank", "splice"]
    rerank = named(live.spans, "rerank")
    assert failed(live.spans)["rerank"] == "not_found"
    assert "POST /{index}/_search" not in failed(live.spans)
    (event,) = rerank.events
    assert (event.name, dict(event.attributes or {})) == (
        "first-stage order kept",
        {"rerank_proxy.reason": "not_found"},
    )


async def test_a_search_that_fails(live: Traced) -> None:
    answer = await live.app.search(live.films, reranking({"standard": {"query": {"bogus": {}}}}))
    assert answer.status == 400
    live.taken()
    root = named(live.spans, "POST /{index}/_search")
    assert (root.attributes or {})["http.response.status_code"] == 400
    assert failed(live.spans)["search"] == "400"
    assert root.name not in failed(live.spans), "the client's failure"


async def test_an_asynchronous_search(live: Traced) -> None:
    path = f"/{live.films}/_async_search?wait_for_completion_timeout=60s"
    answer = await live.app.call("POST", path, reranking())
    assert answer.status == 200
    ((name, children),) = live.taken()
    assert name == "POST /{index}/_async_search"
    assert ("asynchronous search", [SEARCH, RERANK, SPLICE]) in children


async def test_a_call_of_an_endpoint(live: Traced) -> None:
    body = {"query": "q", "input": ["a", "b"]}
    answer = await live.app.call("POST", f"/_inference/rerank/{ENDPOINT}", body)
    assert answer.status == 200, answer.body
    ((name, children),) = live.taken()
    assert name == "POST /_inference/{first}/{second}"
    assert [each for each in children if each in SCORING] == SCORING


async def test_what_goes_upstream_as_it_came_has_no_span(live: Traced) -> None:
    mention = {"query": {"match": {"text": "text_similarity_reranker"}}}
    answer = await live.app.search(live.films, mention, headers={"traceparent": SAMPLED})
    assert answer.status == 421
    assert live.taken() == []


async def test_the_clients_trace_is_continued(live: Traced) -> None:
    """Elasticsearch's part of it is below the span of each inner search, and keeps the state."""
    await live.search(reranking(), traceparent=SAMPLED, tracestate="vendor=1,other=2")
    root, search = named(live.spans, "POST /{index}/_search"), named(live.spans, "search")
    assert root.parent is not None
    assert (f"{root.parent.trace_id:032x}", f"{root.parent.span_id:016x}") == (TRACE, PARENT)
    (passed,) = live.upstream.passed
    assert passed.headers["traceparent"] == f"00-{TRACE}-{id_of(search):016x}-01"
    assert passed.headers["tracestate"] == "vendor=1,other=2"


async def test_one_that_is_not_recorded_goes_through(live: Traced) -> None:
    assert await live.search(reranking(), traceparent=NOT_SAMPLED, tracestate="vendor=1") == []
    (passed,) = live.upstream.passed
    assert passed.headers["traceparent"] == NOT_SAMPLED
    assert passed.headers["tracestate"] == "vendor=1"


async def test_none_without_a_clients_trace(
    elasticsearch: RunningElasticsearch, model: Path, films: str
) -> None:
    async with traced(elasticsearch, model, films, sample_ratio=0) as live:
        assert await live.search(reranking()) == []
        assert "traceparent" not in live.upstream.passed[0].headers
        assert await live.search(reranking(), traceparent=SAMPLED) != []


async def test_nothing_secret_is_in_them(live: Traced) -> None:
    body = reranking({"standard": {"query": {"match": {"text": SECRET}}}}, inference_text=f"is {SECRET} it")
    headers = {
        "Authorization": f"ApiKey {SECRET}",
        "X-Opaque-Id": SECRET,
        "Cookie": SECRET,
        "User-Agent": SECRET,
    }
    for query in ("", TWO_STAGES, f"preference={SECRET}"):
        await live.search(body, query, **headers)
        assert live.spans
        for span in live.spans:
            shown = json.dumps(json.loads(span.to_json()))
            assert SECRET not in shown
