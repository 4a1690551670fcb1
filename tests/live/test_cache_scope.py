"""What `X-Rerank` tells one caller of what another has searched."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any, Final

import pytest
from prometheus_client import CollectorRegistry

from rerank_proxy.settings import EndpointSettings
from testbed import RunningElasticsearch
from testbed.proxy import RunningProxy
from tests.live.conftest import MakeIndex
from tests.support import tiny_models
from tests.support.endpoints import MemoryStore, local_endpoints
from tests.support.engines import running
from tests.support.search_app import ENDPOINT, Answer, SearchApp, search_app
from tests.support.searches import reranking

ALL: Final[dict[str, Any]] = {"standard": {"query": {"match_all": {}}}}
ALICE, BOB = {"Authorization": "ApiKey YWxpY2U="}, {"Authorization": "ApiKey Ym9i"}

Serve = Callable[..., AbstractAsyncContextManager[tuple[SearchApp, Callable[[], float]]]]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_models.build("bert", tmp_path_factory.mktemp("bert"))


@pytest.fixture
def serve(elasticsearch: RunningElasticsearch, model: Path) -> Serve:
    """Serve a real model. Yields the application, and how many pairs the model has run."""

    @asynccontextmanager
    async def serving(scope: str, **search: Any) -> AsyncIterator[tuple[SearchApp, Callable[[], float]]]:
        registry = CollectorRegistry()

        def ran() -> float:
            name = "rerank_proxy_engine_pairs_scored_total"
            return registry.get_sample_value(name, {"model": "m"}) or 0

        async with running({"m": model}, registry, cache_scope=scope) as engine:
            settings = {ENDPOINT: EndpointSettings(model="m")}
            endpoints = local_endpoints(settings, engine, store=MemoryStore())
            async with search_app(elasticsearch.url, endpoints=endpoints, **search) as app:
                yield app, ran

    return serving


@pytest.fixture
def index(make_index: MakeIndex) -> str:
    return make_index([{"text": f"a text of number {n}"} for n in range(3)])


def cached(answer: Answer) -> int:
    assert answer.status == 200, answer.body
    return int(answer.headers["X-Rerank"].partition("cached=")[2].partition(";")[0])


@pytest.mark.parametrize(("scope", "of_another", "ran_then"), [("shared", 3, 3), ("caller", 0, 6)])
async def test_the_same_search_of_another_caller(
    serve: Serve, index: str, scope: str, of_another: int, ran_then: int
) -> None:
    async with serve(scope) as (app, ran):
        first = await app.search(index, reranking(ALL), headers=ALICE)
        assert (cached(first), ran()) == (0, 3)
        assert cached(await app.search(index, reranking(ALL), headers=ALICE)) == 3
        other = await app.search(index, reranking(ALL), headers=BOB)
        assert (cached(other), ran()) == (of_another, ran_then)
        assert other.ids == first.ids


async def test_calls_and_asynchronous_searches_are_their_callers_too(serve: Serve, index: str) -> None:
    async with serve("caller") as (app, ran):
        body = {"query": "a question", "input": [f"a text of number {n}" for n in range(3)]}
        target = f"/_inference/rerank/{ENDPOINT}"
        assert (await app.call("POST", target, body, headers=ALICE)).status == 200
        begun = await app.call("POST", f"/{index}/_async_search", reranking(ALL), headers=ALICE)
        assert (cached(begun), ran()) == (3, 3)
        begun = await app.call("POST", f"/{index}/_async_search", reranking(ALL), headers=BOB)
        assert (cached(begun), ran()) == (0, 6)
        assert (await app.call("POST", target, body, headers=BOB)).status == 200
        assert ran() == 6


CHUNKED: Final = {"size": 2, "chunking_settings": {"strategy": "word", "max_chunk_size": 10, "overlap": 1}}


def many(*bodies: dict[str, Any]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for body in bodies for line in ({}, body))


WAYS: Final[dict[str, tuple[str, dict[str, Any] | bytes]]] = {
    "search": ("/{index}/_search", {**reranking(ALL), "profile": True}),
    "chunks": ("/{index}/_search", {**reranking(ALL, chunk_rescorer=CHUNKED), "profile": True}),
    "searches": ("/{index}/_msearch", many(reranking(ALL), {**reranking(ALL), "profile": True})),
    "asynchronous": ("/{index}/_async_search?wait_for_completion_timeout=60s", reranking(ALL)),
    "inference": (
        f"/_inference/rerank/{ENDPOINT}",
        {"query": "a question", "input": [f"a text of number {n}" for n in range(3)]},
    ),
}


@pytest.mark.parametrize("way", WAYS)
async def test_callers_at_the_same_time_neither_wait_for_nor_count_each_other(
    serve: Serve, make_index: MakeIndex, way: str
) -> None:
    """Whether one asks alone or with others, the model runs the same for each, and the same is told."""
    index = make_index([{"text": f"a text of number {n}" + " and so on" * 8} for n in range(3)])
    target, body = WAYS[way][0].format(index=index), WAYS[way][1]
    callers = [{"Authorization": f"ApiKey {name}"} for name in ("YQ==", "Yg==", "Yw==")]

    async with serve("caller") as (app, ran):

        async def told(caller: dict[str, str]) -> tuple[str | None, list[Any]]:
            answer = await app.call("POST", target, body, headers=caller)
            assert answer.status == 200, answer.body
            return without_times(answer.headers.get("X-Rerank")), counts(answer.json())

        alone = await told(ALICE)
        of_one = ran()
        assert of_one > 0
        assert await asyncio.gather(*map(told, callers)) == [alone] * len(callers)
        assert ran() == of_one * (1 + len(callers))


async def test_chunks_that_were_cached_count_for_their_documents(serve: Serve, make_index: MakeIndex) -> None:
    index = make_index([{"text": f"a text of number {n}" + " and so on" * 8} for n in range(3)])
    async with serve("shared") as (app, ran):
        path = f"/{index}/_search"
        body = reranking(ALL, inference_text="so number", chunk_rescorer=CHUNKED)
        told = [(await app.call("POST", path, body)).headers["X-Rerank"] for _ in range(2)]
        assert ran() > 3, "some have several chunks"
        assert ["scored=3; cached=0;" in told[0], "scored=3; cached=3;" in told[1]] == [True, True], told


def without_times(outcome: str | None) -> str | None:
    return None if outcome is None else re.sub(r" ms=[\d.]+", "", outcome)


def counts(value: Any) -> list[Any]:
    """Return what a profile tells of the cache, wherever it stands."""
    if isinstance(value, list):
        return [each for one in value for each in counts(one)]
    if not isinstance(value, dict):
        return []
    here = [value["cached"]] if "cached" in value else []
    return here + [each for one in value.values() for each in counts(one)]


def test_the_whole_proxy_tells_callers_apart(
    elasticsearch: RunningElasticsearch, index: str, model: Path
) -> None:
    """By its settings: the process that reranks has them, and the callers of requests."""
    running_proxy = RunningProxy(
        elasticsearch.url,
        models={"m": str(model)},
        endpoints={ENDPOINT: "m"},
        options=["--engine-cache-scope", "caller"],
    )
    with running_proxy as proxy:
        proxy.wait_ready()
        told = [
            proxy.server.call("POST", f"/{index}/_search", reranking(ALL), headers=caller).headers["x-rerank"]
            for caller in (ALICE, ALICE, BOB)
        ]
    assert [each.partition("cached=")[2][0] for each in told] == ["0", "3", "0"]


async def test_counts_can_be_left_out(serve: Serve, index: str) -> None:
    async with serve("shared", show_counts=False) as (app, _):
        answer = await app.search(index, {**reranking(ALL), "profile": True})
        assert answer.headers["X-Rerank"] == f"applied; endpoint={ENDPOINT}; model=m"
        assert answer.json()["profile"]["reranker"] == [
            {"outcome": "applied", "endpoint": ENDPOINT, "model": "m"}
        ]
