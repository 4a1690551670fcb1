"""`_inference` for the task type `rerank`: what is shown, deleted and listed, in which formats."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final, cast

import pytest
import yaml

from rerank_proxy.engine import Engine
from rerank_proxy.inference.endpoints import Endpoints
from rerank_proxy.inference.local_models import LocalModels, StartedDeployment
from rerank_proxy.inference.service import ServiceContext
from rerank_proxy.services.elasticsearch import ElasticsearchService
from testbed import RunningElasticsearch
from tests.live.conftest import MakeIndex
from tests.support.endpoints import MemoryStore
from tests.support.inference import (
    ASKED,
    ILLEGAL,
    NEW,
    ONLY_RERANK,
    RANKED,
    STATUS,
    STORED,
    refused,
)
from tests.support.search_app import ENDPOINT, NumberAtTheEnd, SearchApp, search_app
from tests.support.searches import reranking

PRECONFIGURED: Final = {
    "inference_id": ENDPOINT,
    "task_type": "rerank",
    "service": "elasticsearch",
    "service_settings": {
        "num_threads": 1,
        "model_id": "numbers",
        "adaptive_allocations": {
            "enabled": True,
            "min_number_of_allocations": 0,
            "max_number_of_allocations": 32,
        },
    },
    "task_settings": {"return_documents": True},
}


@pytest.fixture
async def app(elasticsearch: RunningElasticsearch) -> AsyncIterator[SearchApp]:
    async with search_app(elasticsearch.url) as serving:
        yield serving


OTHER_TASKS: Final = ("text_embedding", "sparse_embedding", "completion", "chat_completion", "embedding")


class TestOtherTasks:
    """What only an `_inference` API of upstream's could do, where it has none."""

    @pytest.mark.every_version
    @pytest.mark.parametrize("task_type", OTHER_TASKS)
    async def test_new_endpoints(self, app: SearchApp, task_type: str) -> None:
        reason = f"Task type [{task_type}] is not available here: {ONLY_RERANK}"
        for service in ("elser", "openai", "elasticsearch", "nope"):
            body = {"service": service, "service_settings": {"num_threads": 1}}
            for path, named in (("mine", {"task_type": task_type}), (f"{task_type}/mine", {})):
                answer = await app.call("PUT", f"/_inference/{path}", {**body, **named})
                refused(answer, 400, STATUS, reason)

    @pytest.mark.parametrize("task_type", OTHER_TASKS)
    @pytest.mark.parametrize(
        ("method", "rest", "body"),
        [
            ("GET", "", b""),
            ("DELETE", "", b""),
            ("POST", "", {"input": "x"}),
            ("POST", "/_stream", {"input": "x"}),
            ("PUT", "/_update", {"service_settings": {"num_threads": 2}}),
        ],
    )
    async def test_endpoints_that_there_cannot_be(
        self, app: SearchApp, task_type: str, method: str, rest: str, body: Any
    ) -> None:
        answer = await app.call(method, f"/_inference/{task_type}/mine{rest}", body)
        reason = f"Inference endpoint not found [mine]: {ONLY_RERANK}"
        refused(answer, 404, "resource_not_found_exception", reason)

    @pytest.mark.parametrize("task_type", OTHER_TASKS)
    async def test_there_is_none_to_be_listed(self, app: SearchApp, task_type: str) -> None:
        for path in (f"{task_type}/_all", f"{task_type}/*"):
            assert (await app.call("GET", f"/_inference/{path}")).json() == {"endpoints": []}
        assert (await app.call("GET", f"/_inference/_services/{task_type}")).json() == []

    @pytest.mark.parametrize(
        "path", ["_region_policy", "_region_policy/", "_ccm", "_stats", ".diagnostics", "_new/thing/_stream"]
    )
    async def test_other_apis_are_upstreams(self, app: SearchApp, path: str) -> None:
        """Also those that Elasticsearch does not have yet: no endpoint has such a name."""
        for method in ("GET", "PUT", "POST", "DELETE"):
            answer = await app.call(method, f"/_inference/{path}", {} if method in ("PUT", "POST") else b"")
            assert (answer.status, answer.body) == (421, b"")
        assert app.upstream.sent == []


class TestGet:
    @pytest.mark.every_version
    @pytest.mark.parametrize(
        "path", ["", "/", "/_all", "/*", "/rerank/_all", "/rerank/*", "/any/_all", "/_all/"]
    )
    async def test_all_by_id(self, app: SearchApp, path: str) -> None:
        for inference_id in ("z", "a"):
            await app.call("PUT", f"/_inference/rerank/{inference_id}", NEW)
        answer = await app.call("GET", f"/_inference{path}")
        endpoints = [PRECONFIGURED, {**STORED, "inference_id": "a"}, {**STORED, "inference_id": "z"}]
        assert answer.body == json.dumps({"endpoints": endpoints}, separators=(",", ":")).encode()

    @pytest.mark.parametrize("path", [ENDPOINT, f"rerank/{ENDPOINT}", "%2Ererank-v1-elasticsearch"])
    async def test_one(self, app: SearchApp, path: str) -> None:
        answer = await app.call("GET", f"/_inference/{path}")
        assert answer.json() == {"endpoints": [PRECONFIGURED]}

    async def test_of_another_task_type_there_are_none(self, app: SearchApp) -> None:
        answer = await app.call("GET", "/_inference/sparse_embedding/_all")
        assert (answer.status, answer.body) == (200, b'{"endpoints":[]}')

    @pytest.mark.every_version
    @pytest.mark.parametrize(
        ("path", "status", "type_", "reason"),
        [
            ("nope", 404, "resource_not_found_exception", "Inference endpoint not found [nope]"),
            ("rerank", 404, "resource_not_found_exception", "Inference endpoint not found [rerank]"),
            ("a%2Fb%20c", 404, "resource_not_found_exception", "Inference endpoint not found [a/b c]"),
            ("rerank/nope", 404, "resource_not_found_exception", "Inference endpoint not found [nope]"),
            ("nope/_all", 400, STATUS, "Unknown task_type [nope]"),
            (
                f"text_embedding/{ENDPOINT}",
                400,
                STATUS,
                "Requested task type [text_embedding] does not match the inference endpoint's task type "
                "[rerank]",
            ),
            (
                "_all?timeout=5s",
                400,
                ILLEGAL,
                "request [/_inference/_all] contains unrecognized parameter: [timeout]",
            ),
        ],
    )
    async def test_refusals(self, app: SearchApp, path: str, status: int, type_: str, reason: str) -> None:
        refused(await app.call("GET", f"/_inference/{path}"), status, type_, reason)

    async def test_a_body_is_none_of_its_business(self, app: SearchApp) -> None:
        answer = await app.call("GET", "/_inference/rerank/_all", b"{}")
        refused(answer, 400, ILLEGAL, "request [GET /_inference/rerank/_all] does not support having a body")


class TestDelete:
    @pytest.mark.every_version
    @pytest.mark.parametrize("path", ["mine", "rerank/mine", "mine/?force=true", "mine?force&dry_run=false"])
    async def test_it_is_gone(self, app: SearchApp, path: str) -> None:
        await app.call("PUT", "/_inference/rerank/mine", NEW)
        answer = await app.call("DELETE", f"/_inference/{path}")
        assert (answer.status, answer.body) == (200, b'{"acknowledged":true,"pipelines":[],"indexes":[]}')
        gone = await app.call("DELETE", f"/_inference/{path}")
        refused(gone, 404, "resource_not_found_exception", "Inference endpoint not found [mine]")
        assert (await app.call("PUT", "/_inference/rerank/mine", NEW)).status == 200

    async def test_a_dry_run_leaves_it(self, app: SearchApp) -> None:
        await app.call("PUT", "/_inference/rerank/mine", NEW)
        answer = await app.call("DELETE", "/_inference/mine?dry_run=true&force=true")
        assert answer.body == b'{"acknowledged":false,"pipelines":[],"indexes":[],"error_message":""}'
        assert (await app.call("GET", "/_inference/mine")).status == 200

    @pytest.mark.parametrize(
        ("path", "status", "type_", "reason"),
        [
            (
                "text_embedding/mine",
                400,
                STATUS,
                "Requested task type [text_embedding] does not match the inference endpoint's task type "
                "[rerank]",
            ),
            (
                "mine?force=yes",
                400,
                ILLEGAL,
                "Failed to parse value [yes] as only [true] or [false] are allowed.",
            ),
            (
                "mine?forse=true",
                400,
                ILLEGAL,
                "request [/_inference/mine] contains unrecognized parameter: [forse] -> did you mean "
                "[force]?",
            ),
            (
                ENDPOINT,
                400,
                STATUS,
                f"[{ENDPOINT}] is a reserved inference endpoint. Use the force=true query parameter to "
                "delete the inference endpoint.",
            ),
        ],
    )
    async def test_refusals(self, app: SearchApp, path: str, status: int, type_: str, reason: str) -> None:
        await app.call("PUT", "/_inference/rerank/mine", NEW)
        refused(await app.call("DELETE", f"/_inference/{path}"), status, type_, reason)
        assert (await app.call("GET", "/_inference/mine")).status == 200

    async def test_a_body_is_none_of_its_business(self, app: SearchApp) -> None:
        answer = await app.call("DELETE", "/_inference/mine", b"{}")
        refused(answer, 400, ILLEGAL, "request [DELETE /_inference/mine] does not support having a body")

    async def test_the_preconfigured_one_comes_back(self, app: SearchApp) -> None:
        answer = await app.call("DELETE", f"/_inference/{ENDPOINT}?force=true")
        assert answer.json()["acknowledged"] is True
        assert (await app.call("GET", f"/_inference/{ENDPOINT}")).json() == {"endpoints": [PRECONFIGURED]}


class TestServices:
    @pytest.mark.every_version
    @pytest.mark.parametrize("path", ["", "/", "/rerank", "/any"])
    async def test_the_catalogue(self, app: SearchApp, path: str) -> None:
        answer = await app.call("GET", f"/_inference/_services{path}")
        (row,) = answer.json()
        assert [*row] == ["service", "name", "task_types", "configurations"]
        assert (row["service"], row["name"], row["task_types"]) == (
            "elasticsearch",
            "Elasticsearch",
            ["rerank"],
        )
        threads = row["configurations"]["num_threads"]
        assert threads == {
            "description": threads["description"],
            "label": "Number Threads",
            "required": True,
            "sensitive": False,
            "updatable": False,
            "type": "int",
            "supported_task_types": ["rerank"],
        }

    async def test_of_another_task_type(self, app: SearchApp) -> None:
        assert (await app.call("GET", "/_inference/_services/completion")).body == b"[]"
        answer = await app.call("GET", "/_inference/_services/nope")
        refused(answer, 400, STATUS, "Unknown task_type [nope]")


class TestFormats:
    async def test_pretty(self, app: SearchApp) -> None:
        answer = await app.call("GET", "/_inference/_all?pretty&human")
        assert (
            answer.body.decode()
            == json.dumps({"endpoints": [PRECONFIGURED]}, indent=2, separators=(",", " : ")) + "\n"
        )
        ranked = await app.call("POST", f"/_inference/{ENDPOINT}?pretty=true", {**ASKED, "top_n": 1})
        assert ranked.body == (
            b'{\n  "rerank" : [\n    {\n      "index" : 1,\n      "relevance_score" : 3.0,\n'
            b'      "text" : "b 3"\n    }\n  ]\n}\n'
        )

    async def test_filters(self, app: SearchApp) -> None:
        path = f"/_inference/{ENDPOINT}?filter_path=rerank.index"
        answer = await app.call("POST", path, ASKED)
        assert answer.body == b'{"rerank":[{"index":1},{"index":2},{"index":0}]}'

    async def test_yaml(self, app: SearchApp) -> None:
        headers = {"Content-Type": "application/yaml"}
        body = yaml.safe_dump(ASKED).encode()
        answer = await app.call("POST", f"/_inference/{ENDPOINT}", body, headers=headers)
        assert answer.headers["Content-Type"] == "application/yaml"
        assert yaml.safe_load(answer.body) == {"rerank": RANKED}

    @pytest.mark.every_version
    async def test_vendor_types_come_back(self, app: SearchApp, elasticsearch: RunningElasticsearch) -> None:
        info = elasticsearch.server.call("GET", "/").json()
        major = info["version"]["number"].partition(".")[0]
        vendor = f"application/vnd.elasticsearch+json;compatible-with={major}"
        headers = {"Accept": vendor, "Content-Type": vendor}
        answer = await app.call("PUT", "/_inference/rerank/mine", NEW, headers=headers)
        assert answer.json() == STORED
        assert answer.headers["Content-Type"] == vendor
        gone = await app.call("GET", "/_inference/nope", headers=headers)
        assert (gone.status, gone.headers["Content-Type"]) == (404, vendor)

    async def test_an_opaque_id_comes_back(self, app: SearchApp) -> None:
        answer = await app.call("GET", "/_inference", headers={"X-Opaque-Id": "7"})
        assert answer.headers["X-Opaque-Id"] == "7"

    @pytest.mark.every_version
    @pytest.mark.parametrize("content_type", ["text/plain", None])
    async def test_other_types_are_refused_as_elasticsearch_does(
        self, app: SearchApp, elasticsearch: RunningElasticsearch, content_type: str | None
    ) -> None:
        """Compared with an API of its own that reads JSON."""
        headers = {} if content_type is None else {"Content-Type": content_type}
        async with app.session.put(
            f"{elasticsearch.url}/_cluster/settings",
            data=b"{}",
            headers=headers,
            skip_auto_headers=["Content-Type"],
        ) as native:
            theirs = native.status, await native.json()
        async with app.session.put(
            f"{app.url}/_inference/rerank/mine",
            data=b"{}",
            headers=headers,
            skip_auto_headers=["Content-Type"],
        ) as ours:
            assert (ours.status, await ours.json()) == theirs


async def test_a_new_endpoint_reranks_searches_until_it_is_deleted(
    app: SearchApp, make_index: MakeIndex
) -> None:
    index = make_index([{"text": "a 1"}, {"text": "b 3"}, {"text": "c 2"}])
    search = reranking({"standard": {"query": {"match_all": {}}}}, inference_id="mine")
    before = await app.search(index, search)
    await app.call("PUT", "/_inference/rerank/mine", NEW)
    applied = await app.search(index, search)
    changed = await app.call("PUT", "/_inference/mine/_update", {"service_settings": {"num_allocations": 2}})
    after_change = await app.search(index, search)
    await app.call("DELETE", "/_inference/mine")
    after = await app.search(index, search)
    assert changed.status == 200
    for answer in (applied, after_change):
        assert answer.ids == ["1", "2", "0"]
        assert "endpoint=mine; model=numbers;" in answer.headers["X-Rerank"]
    for answer in (before, after):
        assert answer.status == 404
        assert answer.cause["reason"] == "Inference endpoint not found [mine]"


async def test_many_at_once(app: SearchApp) -> None:
    """One of equal ids wins; no endpoint is lost."""
    answers = await asyncio.gather(
        *(app.call("PUT", f"/_inference/rerank/n{number % 10}", NEW) for number in range(30))
    )
    assert sorted(answer.status for answer in answers) == [200] * 10 + [400] * 20
    listed = (await app.call("GET", "/_inference/rerank/_all")).json()["endpoints"]
    assert [each["inference_id"] for each in listed] == [ENDPOINT, *(f"n{number}" for number in range(10))]


class Uploaded:
    """One uploaded model, started under another id."""

    def has_model(self, model_id: str) -> bool:
        return model_id == "uploaded"

    def deployments(self) -> Mapping[str, StartedDeployment]:
        return {"started": StartedDeployment("started", "uploaded", 2, 1)}


async def test_an_id_may_not_be_a_deployments(elasticsearch: RunningElasticsearch) -> None:
    models = LocalModels({}, Uploaded())
    engine = cast("Engine", NumberAtTheEnd())
    service = ElasticsearchService(ServiceContext(engine=engine, models=models))
    endpoints = Endpoints({service.name: service}, [], MemoryStore())
    attached = {"service": "elasticsearch", "service_settings": {"deployment_id": "started"}}
    async with search_app(elasticsearch.url, endpoints=endpoints) as app:
        for taken in ("started", "uploaded"):
            answer = await app.call("PUT", f"/_inference/rerank/{taken}", attached)
            refused(
                answer,
                400,
                STATUS,
                f"Inference endpoint IDs must be unique. Requested inference endpoint ID [{taken}] matches "
                "existing trained model ID(s) but must not.",
            )
        made = await app.call("PUT", "/_inference/rerank/mine", attached)
        ranked = await app.call("POST", "/_inference/mine", ASKED)
    assert made.json()["service_settings"] == {
        "num_allocations": 2,
        "num_threads": 1,
        "model_id": "uploaded",
        "deployment_id": "started",
    }
    assert ranked.json() == {"rerank": RANKED}
