"""Asynchronous searches while Elasticsearch, or one of its nodes, is out of reach."""

import json
from contextlib import AsyncExitStack
from typing import Any

import pytest

from testbed import RunningElasticsearch
from tests.live.conftest import MakeIndex
from tests.support.fault_hop import Fault, FaultHop, fault_hop
from tests.support.left_behind import open_contexts
from tests.support.search_app import BOTH_PATHS, Answer, SearchApp, search_app
from tests.support.searches import reranking

KEPT = "wait_for_completion_timeout=60s&keep_on_completion=true"
FAULTS = (
    Fault("request", "all", "end"),
    Fault("answer", "none", "garbage"),
    Fault("answer", "within the head", "reset"),
    Fault("answer", "within the body", "end"),
)


@pytest.fixture
def crimes(make_index: MakeIndex) -> str:
    return make_index({"text": f"crime {n}"} for n in range(1, 5))


async def submit(app: SearchApp, index: str, query: str) -> Answer:
    return await app.call("POST", f"/{index}/_async_search?{KEPT}&{query}", reranking())


def ids(answer: Answer) -> list[str]:
    assert answer.status == 200, answer.body
    return [hit["_id"] for hit in answer.json()["response"]["hits"]["hits"]]


def die(node: FaultHop) -> None:
    node.refuse()
    node.drop()


@BOTH_PATHS
async def test_a_node_that_dies_while_texts_are_scored(
    elasticsearch: RunningElasticsearch, crimes: str, path: str
) -> None:
    """Two addresses of one Elasticsearch stand for two nodes of a cluster."""
    before = open_contexts(elasticsearch.server)
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(fault_hop(elasticsearch.url)) for _ in range(2)]
        app = await stack.enter_async_context(search_app([node.url for node in nodes]))
        expected = ids(await submit(app, crimes, path))
        for dying in nodes:

            async def kill(node: FaultHop = dying) -> None:
                die(node)

            for node in nodes:
                node.arm()
            app.engine.before = kill
            answer = await submit(app, crimes, path)
            app.engine.before = None
            assert ids(answer) == expected
            kept = await app.call("GET", f"/_async_search/{answer.headers['X-Elasticsearch-Async-Id']}")
            assert kept.json() == answer.json()
            await dying.listen()
        await app.executor.drain()
    assert open_contexts(elasticsearch.server) == before


@BOTH_PATHS
async def test_a_node_that_dies_within_an_inner_search(
    elasticsearch: RunningElasticsearch, crimes: str, path: str
) -> None:
    """Each request of the search in turn meets a node that takes it and dies; what only reads is sent to
    the other one.
    """
    async with AsyncExitStack() as stack:
        nodes = [await stack.enter_async_context(fault_hop(elasticsearch.url)) for _ in range(2)]
        app = await stack.enter_async_context(search_app([node.url for node in nodes]))
        expected = ids(await submit(app, crimes, path))
        await app.executor.drain()
        for number in range(3):
            for node in nodes:
                node.arm(Fault("answer", "none", "reset"), number)
            answer = await submit(app, crimes, path)
            await app.executor.drain()
            struck = [node.struck.call for node in nodes if node.struck is not None]
            if any(call.startswith("POST ") and call.endswith("/_pit") for call in struck):
                assert answer.status == 502  # it may have been opened, and is not opened twice
            elif len(struck) < 2:  # else the second try may have met the other node's death
                assert ids(answer) == expected, struck
            else:
                assert answer.status in (200, 502)


async def test_what_follows_meets_a_fault(elasticsearch: RunningElasticsearch, crimes: str) -> None:
    """Elasticsearch is asked who the caller is: if it does not say, the search stays as it is."""
    async with fault_hop(elasticsearch.url) as hop, search_app(hop.url) as app:
        answer = await submit(app, crimes, "")
        search = answer.headers["X-Elasticsearch-Async-Id"]
        # Without security the question is answered 400, which ends a connection: then none is kept, on which
        # it would be asked again.
        assert (await app.call("GET", f"/_async_search/status/{search}")).status == 200
        for fault in FAULTS:
            for method, target in (
                ("GET", f"/_async_search/{search}"),
                ("GET", f"/_async_search/status/{search}"),
                ("DELETE", f"/_async_search/{search}"),
            ):
                hop.arm(fault)
                check_unreached(await app.call(method, target), hop)
                assert hop.struck is not None
        hop.arm()
        assert (await app.call("GET", f"/_async_search/{search}")).json() == answer.json()
        assert (await app.call("DELETE", f"/_async_search/{search}")).status == 200
        assert (await app.call("GET", f"/_async_search/{search}")).status == 404


def check_unreached(answer: Answer, hop: FaultHop) -> None:
    assert answer.status == 502, answer.body
    error: dict[str, Any] = json.loads(answer.body)["error"]
    assert error["type"] == "node_disconnected_exception"
    assert error["reason"].startswith(f"Elasticsearch at [{hop.url}] ")
