"""The official client through the application: vendor media types, typed errors."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from elasticsearch import ApiError, AsyncElasticsearch, BadRequestError, NotFoundError
from elasticsearch import __version__ as client_version

from testbed import RunningElasticsearch
from tests.live.conftest import MakeIndex
from tests.support.search_app import SearchApp, search_app
from tests.support.searches import RERANKER, reranking


@pytest.fixture
async def app(elasticsearch: RunningElasticsearch) -> AsyncIterator[SearchApp]:
    async with search_app(elasticsearch.url) as serving:
        yield serving


@pytest.fixture
async def client(app: SearchApp, elasticsearch: RunningElasticsearch) -> AsyncIterator[AsyncElasticsearch]:
    if elasticsearch.major < client_version[0]:
        pytest.skip(f"the installed client is for Elasticsearch {client_version[0]} and later")
    async with AsyncElasticsearch(app.url, max_retries=0) as official:
        yield official


@pytest.fixture
def index(make_index: MakeIndex) -> str:
    return make_index([{"text": f"crime {n}", "n": n} for n in range(5)])


def retriever(**options: Any) -> Any:
    return reranking(**options)["retriever"]


async def test_a_search(client: AsyncElasticsearch, index: str) -> None:
    answer = await client.search(index=index, retriever=retriever(), size=2, source_includes=["n"])
    assert [hit["_id"] for hit in answer["hits"]["hits"]] == ["4", "3"]
    assert [hit["_source"] for hit in answer["hits"]["hits"]] == [{"n": 4}, {"n": 3}]
    assert (
        answer.meta.headers["content-type"]
        .replace(" ", "")
        .startswith("application/vnd.elasticsearch+json;compatible-with=")
    )


async def test_more_than_one_round_trip(client: AsyncElasticsearch, index: str) -> None:
    answer = await client.search(
        index=index, retriever=retriever(_name="top"), aggs={"n": {"sum": {"field": "n"}}}, size=1
    )
    assert answer["aggregations"]["n"]["value"] == 10.0
    assert answer["hits"]["hits"][0]["matched_queries"] == ["top"]


async def test_a_point_in_time(
    client: AsyncElasticsearch, elasticsearch: RunningElasticsearch, index: str
) -> None:
    opened = elasticsearch.server.call("POST", f"/{index}/_pit?keep_alive=1m").json()["id"]
    answer = await client.search(pit={"id": opened}, retriever=retriever())
    assert len(answer["hits"]["hits"]) == 5
    assert answer["pit_id"]


async def test_errors_are_the_clients_own(client: AsyncElasticsearch, index: str) -> None:
    with pytest.raises(NotFoundError) as missing:
        await client.search(index=index, retriever=retriever(inference_id="nope"))
    assert missing.value.error == "status_exception"
    with pytest.raises(BadRequestError) as invalid:
        await client.search(index=index, retriever=retriever(), size=99)
    assert invalid.value.error == "action_request_validation_exception"
    assert invalid.value.meta.headers["content-type"].startswith("application/vnd.elasticsearch+json")
    with pytest.raises(ApiError) as unknown:
        await client.search(index=index, retriever={RERANKER: {"fild": "x"}})
    assert "did you mean [field]?" in unknown.value.body["error"]["reason"]
