"""Points in time that are lost while a search works in them: Elasticsearch's error is the client's."""

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from testbed import Reporter, RunningElasticsearch, choose
from testbed.accounts import make_work_directory, unprivileged_account
from testbed.node import Node
from testbed.source import Unpacked
from tests.live.conftest import MakeIndex
from tests.support.fault_hop import fault_hop
from tests.support.left_behind import open_contexts
from tests.support.search_app import TWO_STAGES, Answer, search_app
from tests.support.searches import reranking

TWO_RERANKERS = reranking(reranking()["retriever"])


def check_that_it_is_missing(answer: Answer) -> None:
    assert answer.status == 404
    error = answer.json()["error"]
    assert error["type"] == "search_phase_execution_exception"
    assert {shard["reason"]["type"] for shard in error["failed_shards"]} == {
        "search_context_missing_exception"
    }


async def test_it_is_closed_meanwhile(elasticsearch: RunningElasticsearch, make_index: MakeIndex) -> None:
    index = make_index({"text": f"crime {n}"} for n in range(1, 5))
    async with fault_hop(elasticsearch.url) as hop, search_app(hop.url) as app:
        before = open_contexts(elasticsearch.server)

        async def close() -> None:
            for opened in hop.points_in_time():
                elasticsearch.server.call("DELETE", "/_pit", {"id": opened})

        app.engine.before = close
        check_that_it_is_missing(await app.search(index, TWO_RERANKERS, TWO_STAGES))
        app.engine.before = None
        await app.executor.drain()
        assert (await app.search(index, TWO_RERANKERS, TWO_STAGES)).ids == ["3", "2", "1", "0"]
        await app.executor.drain()
        assert open_contexts(elasticsearch.server) == before


@pytest.fixture
def data() -> Iterator[Path]:
    directory = make_work_directory("testbed-data-", unprivileged_account())
    yield directory
    shutil.rmtree(directory)


async def test_elasticsearch_restarts_meanwhile(data: Path, pytestconfig: pytest.Config) -> None:
    if not pytestconfig.getoption("long"):
        pytest.skip("it starts Elasticsearch twice: run this test with --long")
    source = choose(None)
    if not isinstance(source, Unpacked):
        pytest.skip("Elasticsearch is not started by the test bed itself here")
    distribution = source.obtain(Reporter())
    first, second = (Node(distribution, settings={"path.data": str(data)}) for _ in range(2))
    try:
        running = await asyncio.to_thread(first.start)
        for n in range(1, 5):
            running.server.call("PUT", f"/crimes/_doc/{n}?refresh=true", {"text": f"crime {n}"})
        async with fault_hop(running.url) as hop, search_app(hop.url, deadline_s=600) as app:

            async def restart() -> None:
                app.engine.before = None
                await asyncio.to_thread(first.stop)
                hop.lead_to((await asyncio.to_thread(second.start)).url)

            app.engine.before = restart
            check_that_it_is_missing(await app.search("crimes", TWO_RERANKERS, TWO_STAGES))
            await app.executor.drain()
            assert (await app.search("crimes", TWO_RERANKERS, TWO_STAGES)).ids == ["4", "3", "2", "1"]
    finally:
        first.stop()
        second.stop()
