"""What clients are told when a search asks for more than there is time or room for."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import pytest
from aiohttp import web

from rerank_proxy.engine import DeadlineUnreachableError, QueueFullError
from tests.support.retrievers import rrf
from tests.support.search_app import BOTH_PATHS, ENDPOINT, Answer, SearchApp, search_app
from tests.support.searches import STANDARD, reranking
from tests.unit.search.doubles import hit

HITS: Final = [hit("1", 2.0, fields={"text": ["x 1"]}), hit("2", 1.0, shard_doc=1, fields={"text": ["x 9"]})]
FOUND: Final = {"pit_id": "p", "took": 1, "_shards": {}, "timed_out": False}
FULL: Final = QueueFullError("the queue is full", 6.2)
LINES: Final = {"Content-Type": "application/x-ndjson"}
ASYNC: Final = "/_async_search?wait_for_completion_timeout=5s"


async def answer(request: web.Request) -> web.Response:
    if request.path.endswith("/_pit"):
        return web.json_response({"id": "p"})
    if request.path.startswith(("/_inference", "/_ingest", "/_security")):
        error = {
            "type": "illegal_argument_exception",
            "reason": f"no handler found for uri [{request.path}] and method [{request.method}]",
        }
        return web.json_response({"error": error, "status": 400}, status=400)
    body = await request.text()
    found = {**FOUND, "hits": {"total": {"value": 2, "relation": "eq"}, "max_score": 2.0, "hits": HITS}}
    if request.path.endswith("/_msearch"):
        found = {"took": 1, "responses": [{**found, "status": 200}] * (body.count("\n") // 2)}
    return web.json_response(found)


@asynccontextmanager
async def serving(**search: Any) -> AsyncIterator[SearchApp]:
    upstream = web.Application()
    upstream.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(upstream)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        async with search_app(f"http://{host}:{port}", evaluate=["rrf"], **search) as app:
            yield app
    finally:
        await runner.cleanup()


@BOTH_PATHS
async def test_a_search_says_when_to_try_again(path: str) -> None:
    async with serving() as app:
        app.engine.failure = FULL
        refused = await app.search("films", reranking(), path)
    assert (refused.status, refused.headers["Retry-After"]) == (429, "7")
    assert refused.cause["type"] == "es_rejected_execution_exception"


async def test_so_do_trees_asynchronous_searches_and_calls_of_endpoints() -> None:
    async with serving() as app:
        app.engine.failure = FULL
        tree = {"retriever": rrf(reranking()["retriever"], STANDARD)}
        refused = [
            await app.search("films", tree),
            await app.call("POST", ASYNC, reranking()),
            await app.call("POST", f"/_inference/rerank/{ENDPOINT}", {"query": "q", "input": ["x 1"]}),
        ]
    assert [each.status for each in refused] == [429] * 3
    assert [each.headers.get("Retry-After") for each in refused] == ["7"] * 3


async def test_where_waiting_does_not_help_no_time_is_told() -> None:
    async with serving() as app:
        app.engine.failure = DeadlineUnreachableError("too many texts")
        refused = await app.search("films", reranking())
    assert (refused.status, refused.cause["reason"]) == (429, "too many texts")
    assert "Retry-After" not in refused.headers


async def test_a_search_that_may_fail_open_keeps_its_order() -> None:
    async with serving() as app:
        app.engine.failure = FULL
        found = await app.search("films", reranking(allow_rerank_failures=True))
    assert found.ids == ["1", "2"]
    assert found.headers["X-Rerank"].startswith("skipped")


class TestWindows:
    """`search.max_rank_window_size`."""

    @pytest.mark.parametrize(
        "retriever",
        [
            reranking(rank_window_size=21)["retriever"],
            reranking(reranking(rank_window_size=21)["retriever"], rank_window_size=20)["retriever"],
            rrf(reranking(rank_window_size=21)["retriever"], STANDARD),
        ],
        ids=["at the top", "below another", "in a fusion"],
    )
    async def test_a_larger_one_is_refused_wherever_it_stands(self, retriever: Mapping[str, Any]) -> None:
        body = {"retriever": retriever, "size": 5}
        async with serving(max_rank_window_size=20) as app:
            many = "".join(json.dumps(line) + "\n" for line in ({}, body, {}, reranking())).encode()
            search, asynchronous = await app.search("films", body), await app.call("POST", ASYNC, body)
            items = await app.call("POST", "/films/_msearch", many, headers=LINES)
        for error in map(self.error, (search, asynchronous, items)):  # as if it were no valid search
            assert error["type"] == "illegal_argument_exception"
            assert "[search.max_rank_window_size: 20]" in error["reason"]

    async def test_as_large_as_it_may_be(self) -> None:
        async with serving(max_rank_window_size=20) as app:
            assert (await app.search("films", reranking(rank_window_size=20))).status == 200

    async def test_without_the_setting_any_is_allowed(self) -> None:
        async with serving() as app:
            assert (await app.search("films", reranking(rank_window_size=10_000))).status == 200

    @staticmethod
    def error(refused: Answer) -> dict[str, Any]:
        assert refused.status == 400
        error: dict[str, Any] = refused.json()["error"]
        return error


class TestChangesOfEndpoints:
    """`inference.max_endpoints` and `inference.max_writes_per_minute`."""

    NEW: Final = {
        "service": "elasticsearch",
        "service_settings": {"model_id": "numbers", "num_threads": 1, "num_allocations": 1},
    }

    async def test_too_many_in_a_minute_are_refused_and_nothing_is_tried(self) -> None:
        async with serving(inference={"max_writes_per_minute": 4}) as app:
            made = [await app.call("PUT", f"/_inference/rerank/e{at}", self.NEW) for at in range(3)]
            assert [each.status for each in made] == [200, 200, 429]
            assert made[2].cause["type"] == "es_rejected_execution_exception"
            assert 0 < int(made[2].headers["Retry-After"]) <= 60
            assert (await app.call("GET", "/_inference/rerank/e2")).status == 404
            assert (await app.call("DELETE", "/_inference/rerank/e1")).status == 429
            assert (await app.call("GET", "/_inference/rerank/e1")).status == 200

    async def test_there_are_so_many_and_no_more(self) -> None:
        async with serving(inference={"max_endpoints": 1}) as app:
            made = [await app.call("PUT", f"/_inference/rerank/e{at}", self.NEW) for at in range(2)]
            assert [each.status for each in made] == [200, 400]
            assert "[inference.max_endpoints: 1]" in made[1].cause["reason"]
            assert (await app.call("DELETE", "/_inference/rerank/e0")).status == 200
            assert (await app.call("PUT", "/_inference/rerank/e1", self.NEW)).status == 200
