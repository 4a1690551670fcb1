"""`PUT _inference/rerank/{id}`: what makes an endpoint, and what is refused."""

import json
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import unquote

import pytest

from testbed import RunningElasticsearch
from tests.support.inference import (
    ILLEGAL,
    INVALID,
    NEW,
    NUMBER_AND_ADAPTIVE,
    ONLY_RERANK,
    REQUEST,
    SERVICE,
    STATUS,
    STORED,
    invalid,
    refused,
    settings,
)
from tests.support.search_app import ENDPOINT, SearchApp, search_app

POWER_OF_TWO: Final = "[threads_per_allocation] must be a power of 2 less than or equal to 32"


@pytest.fixture
async def app(elasticsearch: RunningElasticsearch) -> AsyncIterator[SearchApp]:
    async with search_app(elasticsearch.url) as serving:
        yield serving


class TestPut:
    @pytest.mark.every_version
    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("rerank/mine", NEW),
            ("mine", {**NEW, "task_type": "rerank"}),
            ("rerank/mine/?timeout=5s", {**NEW, "task_type": "rerank", "task_settings": {}}),
            ("RERANK/mine", {**NEW, "task_settings": None}),
            ("any/mine?timeout=-1", {**NEW, "task_type": "Rerank"}),
        ],
    )
    async def test_the_answer_is_the_endpoint(self, app: SearchApp, path: str, body: Any) -> None:
        answer = await app.call("PUT", f"/_inference/{path}", body)
        assert answer.status == 200, answer.body
        assert answer.body == json.dumps(STORED, separators=(",", ":")).encode()
        assert answer.headers["X-elastic-product"] == "Elasticsearch"
        assert (await app.call("GET", "/_inference/mine")).json() == {"endpoints": [STORED]}

    @pytest.mark.parametrize("inference_id", ["a", "0", "a-b_c.d", "x" * 300])
    async def test_ids(self, app: SearchApp, inference_id: str) -> None:
        answer = await app.call("PUT", f"/_inference/rerank/{inference_id}", NEW)
        assert answer.json()["inference_id"] == inference_id

    @pytest.mark.parametrize(
        "inference_id", ["A", "a-", "-a", "_all", "a%20b", "a%2Fb", "%C3%A9", ENDPOINT, "_a", "a.", "*"]
    )
    async def test_ids_that_are_none(self, app: SearchApp, inference_id: str) -> None:
        answer = await app.call("PUT", f"/_inference/rerank/{inference_id}", NEW)
        reason = (
            f"Invalid inference_id; '{unquote(inference_id)}' can contain lowercase alphanumeric (a-z and "
            "0-9), hyphens or underscores; must start and end with alphanumeric"
        )
        refused(answer, 400, REQUEST, invalid(reason))

    @pytest.mark.parametrize(
        ("path", "body", "type_", "reason"),
        [
            ("nope/mine", {}, STATUS, "Unknown task_type [nope]"),
            ("mine", NEW, STATUS, "model is missing required setting [task_type]"),
            (
                "rerank/mine",
                {**NEW, "task_type": "any"},
                STATUS,
                "task_type [any] is not valid type for inference",
            ),
            ("mine", {**NEW, "task_type": "nope"}, STATUS, "Unknown task_type [nope]"),
            (
                "rerank/mine",
                {**NEW, "task_type": "text_embedding"},
                STATUS,
                "Cannot resolve conflicting task_type parameter in the request URL [rerank] and the request "
                "body [text_embedding]",
            ),
            (
                "rerank/mine",
                {"service_settings": SERVICE},
                STATUS,
                "Inference endpoint configuration is missing the [service] setting",
            ),
            (
                "rerank/mine",
                {"service": "nope"},
                STATUS,
                f"Unknown service [nope]: {ONLY_RERANK}; the services here are [elasticsearch]",
            ),
            (
                "rerank/mine",
                {"service": "elasticsearch"},
                STATUS,
                "Missing required field [service_settings]",
            ),
            (
                "text_embedding/mine",
                NEW,
                STATUS,
                f"Task type [text_embedding] is not available here: {ONLY_RERANK}",
            ),
            (
                "rerank/mine",
                {**NEW, "chunking_settings": {"strategy": "none"}},
                STATUS,
                "Configuration contains settings [{chunking_settings={strategy=none}}] unknown to the "
                "[elasticsearch] service",
            ),
            (
                "rerank/mine",
                settings(num_threads=None),
                INVALID,
                invalid("[service_settings] does not contain the required setting [num_threads]"),
            ),
            (
                "rerank/mine",
                settings(num_allocations=None),
                INVALID,
                invalid(
                    "[service_settings] does not contain one of the required settings [num_allocations, "
                    "adaptive_allocations]"
                ),
            ),
            (
                "rerank/mine",
                settings(num_threads="abc", num_allocations=0),
                INVALID,
                invalid(
                    "[service_settings] Invalid value [0]. [num_allocations] must be a positive integer",
                    "field [num_threads] is not of the expected type. The value [abc] cannot be converted to "
                    "a [Integer]",
                ),
            ),
            (
                "rerank/mine",
                settings(model_id=""),
                INVALID,
                invalid(
                    "[service_settings] Invalid value empty string. [model_id] must be a non-empty string"
                ),
            ),
            (
                "rerank/mine",
                settings(foo={"bar": [1, None, True, 1.5]}),
                STATUS,
                "Configuration contains settings [{foo={bar=[1, null, true, 1.5]}}] unknown to the "
                "[elasticsearch] service",
            ),
            (
                "rerank/mine",
                {**NEW, "task_settings": {"top_n": 3}},
                STATUS,
                "Configuration contains settings [{top_n=3}] unknown to the [elasticsearch] service",
            ),
            (
                "rerank/mine",
                {**NEW, "task_settings": {"return_documents": "yes"}},
                INVALID,
                invalid(
                    "field [return_documents] is not of the expected type. The value [yes] cannot be "
                    "converted to a [Boolean]"
                ),
            ),
            (
                "rerank/mine",
                {**NEW, "service_settings": "x"},
                STATUS,
                "field [service_settings] is not of the expected type. A [String] cannot be converted to a "
                "[Map]",
            ),
            (
                "rerank/mine",
                settings(model_id=None),
                ILLEGAL,
                "Error parsing service settings, model_id must be provided",
            ),
            (
                "rerank/mine",
                settings(model_id="nope"),
                ILLEGAL,
                "Error parsing request config, model id does not match any models available on this "
                "platform. Was [nope]. You may need to load it into the cluster using eland.",
            ),
            ("rerank/mine", b"", "parse_exception", "request body is required"),
            (
                "rerank/mine?timeout=5",
                NEW,
                ILLEGAL,
                "failed to parse setting [timeout] with value [5] as a time value: unit is missing or "
                "unrecognized",
            ),
            (
                "rerank/mine?tiemout=5s&foo=",
                NEW,
                ILLEGAL,
                "request [/_inference/rerank/mine] contains unrecognized parameters: [foo], [tiemout] -> did "
                "you mean [timeout]?",
            ),
        ],
    )
    async def test_refusals(self, app: SearchApp, path: str, body: Any, type_: str, reason: str) -> None:
        refused(await app.call("PUT", f"/_inference/{path}", body), 400, type_, reason)
        assert (await app.call("GET", "/_inference/mine")).status == 404

    @pytest.mark.every_version
    @pytest.mark.parametrize(
        ("changed", "messages"),
        [
            ({"num_threads": 3}, [POWER_OF_TWO]),
            ({"num_threads": 64}, [POWER_OF_TWO]),
            ({"num_threads": 2**31 - 1}, [POWER_OF_TWO]),
            ({"adaptive_allocations": {"enabled": True}}, [NUMBER_AND_ADAPTIVE]),
            (
                {"num_threads": 6, "adaptive_allocations": {"enabled": True, "max_number_of_allocations": 4}},
                [NUMBER_AND_ADAPTIVE, POWER_OF_TWO],
            ),
            ({"num_threads": 32, "adaptive_allocations": {"enabled": False}}, []),
            ({"num_threads": 16, "num_allocations": None, "adaptive_allocations": {"enabled": True}}, []),
        ],
    )
    async def test_what_no_deployment_may_have(
        self, app: SearchApp, changed: Any, messages: list[str]
    ) -> None:
        """As `_ml/trained_models/…/deployment/_start` words it, which starts the endpoint's model."""
        answer = await app.call("PUT", "/_inference/rerank/mine", settings(**changed))
        found = await app.call("GET", "/_inference/mine")
        if messages:
            refused(answer, 400, REQUEST, invalid(*messages))
            assert found.status == 404
        else:
            assert (answer.status, found.status) == (200, 200)

    @pytest.mark.parametrize(
        ("path", "body", "reason"),
        [
            ("nope/A?timeout=x&foo", b"", "Unknown task_type [nope]"),
            ("rerank/A?timeout=x&foo", b"", "failed to parse setting [timeout] with value [x]"),
            ("rerank/A?foo", b"", "request body is required"),
            ("rerank/A?foo", b"no", "request [/_inference/rerank/A] contains unrecognized parameter: [foo]"),
            ("rerank/A", b"no", "Validation Failed: 1: Invalid inference_id; 'A'"),
            ("mine", b'{"service": 1, "x": 1}', "model is missing required setting [task_type]"),
            ("text_embedding/mine", b'{"x": 1}', "Inference endpoint configuration is missing the [service]"),
            ("text_embedding/mine", b'{"service": "no", "x": 1}', "Task type [text_embedding] is not"),
            ("rerank/mine", b'{"service": "no", "x": 1}', "Unknown service [no]"),
            (
                "rerank/mine",
                b'{"service": "elasticsearch", "x": 1}',
                "Missing required field [service_settings]",
            ),
            (
                "rerank/mine",
                b'{"service": "elasticsearch", "x": 1, "service_settings": {"y": 1}}',
                "Configuration contains settings [{x=1}]",
            ),
            (
                "rerank/mine",
                b'{"service": "elasticsearch", "service_settings": {"num_threads": 1, "y": 1}}',
                "Validation Failed: 1: [service_settings] does not contain one of",
            ),
        ],
    )
    async def test_the_order_of_checks(self, app: SearchApp, path: str, body: bytes, reason: str) -> None:
        answer = await app.call("PUT", f"/_inference/{path}", body)
        assert answer.json()["error"]["reason"].startswith(reason)

    @pytest.mark.parametrize(
        ("body", "type_", "reason"),
        [
            (b"{", "x_content_e_o_f_exception", "[1:2] Unexpected end of file"),
            (b"[]", "x_content_parse_exception", "[1:1] "),
            (b'{"service": }', "x_content_parse_exception", "[1:13] Unexpected character"),
        ],
    )
    async def test_bodies_that_cannot_be_read(
        self, app: SearchApp, body: bytes, type_: str, reason: str
    ) -> None:
        answer = await app.call("PUT", "/_inference/rerank/mine", body)
        assert answer.status == 400, answer.body
        assert answer.json()["error"]["type"] == type_
        assert answer.json()["error"]["reason"].startswith(reason)

    async def test_an_id_is_there_once(self, app: SearchApp) -> None:
        assert (await app.call("PUT", "/_inference/rerank/mine", NEW)).status == 200
        again = await app.call("PUT", "/_inference/rerank/mine", settings(num_threads=2))
        reason = "Inference endpoint [mine] already exists"
        refused(again, 400, "resource_already_exists_exception", reason)
        assert (await app.call("GET", "/_inference/mine")).json() == {"endpoints": [STORED]}

    @pytest.mark.parametrize(
        "body",
        [
            settings(api_key="sk-1234"),
            settings(nested={"secret_parameters": {"x": "sk-1234"}}),
            {**NEW, "access_key": ["sk-1234"]},
            {**NEW, "service_settings": "sk-1234"},
            {**NEW, "task_settings": {"Password": "sk-1234"}},
        ],
    )
    async def test_keys_in_a_wrong_place_are_not_shown(self, app: SearchApp, body: Any) -> None:
        answer = await app.call("PUT", "/_inference/rerank/mine", body)
        assert answer.status == 400
        assert b"sk-1234" not in answer.body
