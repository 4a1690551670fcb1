"""Checks of an inference endpoint before it is asked for scores, with and without hits."""

import json
from typing import Any

import pytest
from aiohttp import web

from testbed import RunningElasticsearch
from tests.live.conftest import MakeIndex
from tests.support.relay import relay
from tests.support.search_app import TWO_STAGES, search_app
from tests.support.searches import reranking

NOTHING: dict[str, Any] = {"standard": {"query": {"match_none": {}}}}


async def describe(request: web.Request) -> web.Response:
    """Answer `GET /_inference/{id}`: there is one endpoint, which embeds."""
    if request.match_info["id"] != "embeds":
        return web.json_response({"error": {"type": "resource_not_found_exception"}}, status=404)
    endpoint = {"inference_id": "embeds", "task_type": "sparse_embedding", "service": "elser"}
    return web.json_response({"endpoints": [endpoint]})


@pytest.mark.parametrize("path", ["", TWO_STAGES])
@pytest.mark.parametrize("child", [{"standard": {"query": {"match_all": {}}}}, NOTHING])
async def test_an_endpoint_of_another_kind(
    elasticsearch: RunningElasticsearch, make_index: MakeIndex, child: dict[str, Any], path: str
) -> None:
    index = make_index([{"text": "a 1"}])
    async with (
        relay(elasticsearch.url, {("GET", "/_inference/{id}"): describe}) as url,
        search_app(url) as app,
    ):
        answer = await app.search(index, reranking(child, inference_id="embeds"), path)
        unknown = await app.search(index, reranking(child, inference_id="no/where"), path)
    assert (answer.status, unknown.status) == (400, 404)
    assert answer.cause == {
        "type": "status_exception",
        "reason": "Requested task type [rerank] does not match the inference endpoint's task type "
        "[sparse_embedding]",
    }
    assert unknown.cause["reason"] == "Inference endpoint not found [no/where]"
    assert answer.json()["error"]["reason"].startswith(
        "[text_similarity_reranker] search failed - retrievers"
    )


async def test_an_endpoint_whose_top_n_is_below_the_window(
    elasticsearch: RunningElasticsearch, make_index: MakeIndex
) -> None:
    index = make_index([{"text": "a 1"}])
    async with search_app(elasticsearch.url, top_n=3) as app:
        answer = await app.search(index, reranking(rank_window_size=4))
        enough = await app.search(index, reranking({"standard": {}}, rank_window_size=3))
    assert answer.status == 400
    assert answer.cause == {
        "type": "illegal_argument_exception",
        "reason": "Inference endpoint [.rerank-v1-elasticsearch] is configured to return the top [3] "
        "results, but rank_window_size is [4]. Reduce rank_window_size to be less than or equal to the "
        "configured top N value.",
    }
    assert json.loads(enough.body)["hits"]["hits"][0]["_score"] == 2.0
