"""`_inference/{id}/_update`: what may change of an endpoint, and what is refused."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from testbed import RunningElasticsearch
from tests.support.inference import (
    ASKED,
    INVALID,
    NEW,
    NUMBER_AND_ADAPTIVE,
    REQUEST,
    STATUS,
    STORED,
    invalid,
    refused,
)
from tests.support.search_app import ENDPOINT, SearchApp, search_app


@pytest.fixture
async def app(elasticsearch: RunningElasticsearch) -> AsyncIterator[SearchApp]:
    async with search_app(elasticsearch.url) as serving:
        yield serving


class TestUpdate:
    @pytest.mark.every_version
    @pytest.mark.parametrize("method", ["PUT", "POST"])
    @pytest.mark.parametrize("path", ["mine", "rerank/mine"])
    async def test_settings_of_the_request_win(self, app: SearchApp, method: str, path: str) -> None:
        await app.call("PUT", "/_inference/rerank/mine", NEW)
        change = {
            "service": "elasticsearch",
            "task_type": "rerank",
            "service_settings": {"num_allocations": 4},
            "task_settings": {"return_documents": False},
        }
        answer = await app.call(method, f"/_inference/{path}/_update", change)
        changed = {
            **STORED,
            "service_settings": {"num_allocations": 4, "num_threads": 1, "model_id": "numbers"},
            "task_settings": {"return_documents": False},
        }
        assert answer.body == json.dumps(changed, separators=(",", ":")).encode()
        assert (await app.call("GET", "/_inference/mine")).json() == {"endpoints": [changed]}
        ranked = (await app.call("POST", "/_inference/mine", ASKED)).json()["rerank"]
        assert all("text" not in doc for doc in ranked)

    async def test_what_is_not_said_stays(self, app: SearchApp) -> None:
        await app.call("PUT", "/_inference/rerank/mine", NEW)
        change = {"service_settings": {"num_allocations": None}, "task_settings": {}}
        answer = await app.call("PUT", "/_inference/mine/_update", change)
        assert answer.json() == STORED

    @pytest.mark.parametrize(
        ("path", "body", "status", "type_", "reason"),
        [
            ("mine", {}, 400, STATUS, "Request body is empty"),
            ("mine", b"", 400, "parse_exception", "request body is required"),
            (
                "mine",
                {"task_settings": {}, "foo": {"api_key": "sk"}, "bar": 1},
                400,
                STATUS,
                "Request contained fields which cannot be updated, remove these fields and try again "
                "[{bar=1, foo={api_key=::es_redacted::}}]",
            ),
            ("mine", {"task_type": "nope"}, 400, STATUS, "Unknown task_type [nope]"),
            (
                "mine",
                {"task_type": 1, "bar": 1},
                400,
                STATUS,
                "Failed to parse [task_type] in update request [{bar=1, task_type=1}]",
            ),
            (
                "mine",
                {"task_type": "rerank", "service_settings": 1},
                400,
                STATUS,
                "Unable to parse service settings in the request [{service_settings=1}]",
            ),
            (
                "mine",
                {"service_settings": {}, "task_settings": []},
                400,
                STATUS,
                "Unable to parse task settings in the request [{task_settings=[]}]",
            ),
            ("mine", {"task_type": "any"}, 400, STATUS, "task_type [any] is not valid type for inference"),
            (
                "rerank/mine",
                {"task_type": "completion"},
                400,
                STATUS,
                "Cannot resolve conflicting task_type parameter in the request URL [rerank] and the request "
                "body [completion]",
            ),
            (
                "mine",
                {"task_type": "completion"},
                400,
                STATUS,
                "Task type must match the task type of the existing endpoint",
            ),
            (
                "completion/mine",
                {"task_settings": {}},
                400,
                STATUS,
                "Task type must match the task type of the existing endpoint",
            ),
            (
                "nope",
                {"task_settings": {}},
                404,
                "resource_not_found_exception",
                "The inference endpoint [nope] does not exist and cannot be updated",
            ),
            (
                "mine",
                {"service_settings": {"num_threads": 2}},
                400,
                STATUS,
                "Request contained fields which cannot be updated, remove these fields and try again "
                "[{num_threads=2}]",
            ),
            (
                "mine",
                {"service_settings": {"num_allocations": 0}},
                400,
                INVALID,
                invalid("[service_settings] Invalid value [0]. [num_allocations] must be a positive integer"),
            ),
            (
                ENDPOINT,
                {"task_settings": {}},
                400,
                REQUEST,
                invalid(
                    f"Invalid inference_id; '{ENDPOINT}' can contain lowercase alphanumeric (a-z and 0-9), "
                    "hyphens or underscores; must start and end with alphanumeric"
                ),
            ),
        ],
    )
    async def test_refusals(
        self, app: SearchApp, path: str, body: Any, status: int, type_: str, reason: str
    ) -> None:
        await app.call("PUT", "/_inference/rerank/mine", NEW)
        refused(await app.call("PUT", f"/_inference/{path}/_update", body), status, type_, reason)
        assert (await app.call("GET", "/_inference/mine")).json() == {"endpoints": [STORED]}

    async def test_what_no_deployment_may_have(self, app: SearchApp) -> None:
        await app.call("PUT", "/_inference/rerank/mine", NEW)
        both = {"num_allocations": 2, "adaptive_allocations": {"enabled": True}}
        answer = await app.call("PUT", "/_inference/mine/_update", {"service_settings": both})
        refused(answer, 400, REQUEST, invalid(NUMBER_AND_ADAPTIVE))
        assert (await app.call("GET", "/_inference/mine")).json() == {"endpoints": [STORED]}
