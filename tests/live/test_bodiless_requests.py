"""Requests without a body are answered here whatever headers a client sends along."""

import json
from typing import Any, Final

import pytest

from proxy.app.messages import Request, Response
from testbed import RunningElasticsearch
from tests.live.conftest import MakeIndex
from tests.support.search_app import ENDPOINT, SearchApp, search_app
from tests.support.searches import reranking

VENDOR: Final = "application/vnd.elasticsearch+json; compatible-with=8"
CLIENTS: Final[dict[str, dict[str, str]]] = {
    "JavaScript": {"accept": f"{VENDOR},text/plain", "content-type": VENDOR},
    "JavaScript, any type": {"accept": "*/*", "content-type": VENDOR},
    "JSON wanted beside a vendor type": {"accept": "application/json", "content-type": VENDOR},
    "Python": {"accept": VENDOR},
    "Java": {"accept": VENDOR, "content-type": VENDOR},
    "Java, low-level": {},
    "Go": {"accept": "application/json", "content-type": "application/json"},
    "a browser": {"accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"},
    "curl": {"accept": "*/*"},
    "a type that is none of ours": {"accept": "*/*", "content-type": "application/x-www-form-urlencoded"},
}


async def ask(app: SearchApp, name: str, method: str, target: str) -> Response:
    fields = [(name.encode(), value.encode()) for name, value in CLIENTS[name].items()]
    return await app.handle(Request(method, target, fields))


async def submitted(app: SearchApp, index: str) -> str:
    search = reranking()
    answer = await app.call("POST", f"/{index}/_async_search?keep_on_completion=true", search)
    id_: str = answer.json()["id"]
    return id_


@pytest.mark.parametrize("name", CLIENTS)
async def test_endpoints(elasticsearch: RunningElasticsearch, name: str) -> None:
    async with search_app(elasticsearch.url, check_privileges=True) as app:
        for target in ("/_inference/_all", "/_inference/rerank/_all", f"/_inference/{ENDPOINT}"):
            answer = await ask(app, name, "GET", target)
            assert answer.status == 200, target
            ids = [each["inference_id"] for each in json.loads(answer.body)["endpoints"]]
            assert ENDPOINT in ids
        local = {"model_id": "numbers", "num_allocations": 1, "num_threads": 1}
        settings = {"service": "elasticsearch", "service_settings": local}
        created = await app.call("PUT", "/_inference/rerank/mine", settings)
        assert created.status == 200, created.body
        removed = await ask(app, name, "DELETE", "/_inference/rerank/mine")
        assert (removed.status, json.loads(removed.body)["acknowledged"]) == (200, True)
        unknown = await ask(app, name, "GET", "/_inference/rerank/mine")
        assert unknown.status == 404


@pytest.mark.parametrize("name", CLIENTS)
async def test_asynchronous_searches(
    elasticsearch: RunningElasticsearch, make_index: MakeIndex, name: str
) -> None:
    index = make_index([{"text": "first 1"}, {"text": "second 2"}])
    async with search_app(elasticsearch.url, check_privileges=True) as app:
        id_ = await submitted(app, index)
        for method, target in (
            ("GET", f"/_async_search/{id_}?wait_for_completion_timeout=10s"),
            ("GET", f"/_async_search/status/{id_}"),
            ("DELETE", f"/_async_search/{id_}"),
        ):
            answer = await ask(app, name, method, target)
            assert answer.status == 200, target
            found: dict[str, Any] = json.loads(answer.body)
            assert "error" not in found
        gone = await ask(app, name, "GET", f"/_async_search/{id_}")
        assert gone.status == 404
