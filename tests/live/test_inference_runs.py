"""`POST _inference`: what is asked, how it is answered, and what is refused."""

import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from rerank_proxy.engine import DeadlineExceededError, QueueFullError
from testbed import RunningElasticsearch
from tests.support.inference import ASKED, ILLEGAL, RANKED, REQUEST, STATUS, invalid, refused
from tests.support.search_app import ENDPOINT, SearchApp, search_app


@pytest.fixture
async def app(elasticsearch: RunningElasticsearch) -> AsyncIterator[SearchApp]:
    async with search_app(elasticsearch.url) as serving:
        yield serving


class TestRun:
    @pytest.mark.every_version
    @pytest.mark.parametrize("path", ["", "rerank/", "any/"])
    async def test_the_best_first(self, app: SearchApp, path: str) -> None:
        answer = await app.call("POST", f"/_inference/{path}{ENDPOINT}?timeout=30s", ASKED)
        assert answer.status == 200, answer.body
        assert answer.body == json.dumps({"rerank": RANKED}, separators=(",", ":")).encode()
        assert app.engine.asked == [["a 1", "b 3", "c 2"]]

    @pytest.mark.parametrize(
        ("more", "shown"),
        [
            ({"top_n": 2}, RANKED[:2]),
            ({"top_n": "1"}, RANKED[:1]),
            ({"top_n": 99}, RANKED),
            ({"return_documents": False}, [{**doc, "text": None} for doc in RANKED]),
            ({"return_documents": "false"}, [{**doc, "text": None} for doc in RANKED]),
            ({"task_settings": {"return_documents": False}}, [{**doc, "text": None} for doc in RANKED]),
            ({"task_settings": {"return_documents": False}, "return_documents": True}, RANKED),
            ({"task_settings": {"return_documents": None}}, RANKED),
            ({"query": {"type": "text", "value": "q"}}, RANKED),
            ({"input": "d 4"}, [{"index": 0, "relevance_score": 4.0, "text": "d 4"}]),
            (
                {"input": {"type": " Text ", "format": "TEXT", "value": "d 4"}},
                [{"index": 0, "relevance_score": 4.0, "text": "d 4"}],
            ),
            (
                {"input": ["é 5", {"type": "text", "value": "f 6"}]},
                [
                    {"index": 1, "relevance_score": 6.0, "text": "f 6"},
                    {"index": 0, "relevance_score": 5.0, "text": "é 5"},
                ],
            ),
        ],
    )
    async def test_what_the_request_may_say(self, app: SearchApp, more: Any, shown: Any) -> None:
        answer = await app.call("POST", f"/_inference/rerank/{ENDPOINT}", {**ASKED, **more})
        shown = [{name: each for name, each in doc.items() if each is not None} for doc in shown]
        assert answer.json() == {"rerank": shown}

    async def test_scores_are_printed_as_java_prints_floats(self, app: SearchApp) -> None:
        app.engine.table = {"a": 0.1, "b": 5.614787e-4, "c": -11.0, "d": 1e8, "e": 1e8}
        body = {"query": "q", "input": [*app.engine.table], "return_documents": False}
        answer = await app.call("POST", f"/_inference/{ENDPOINT}", body)
        assert answer.body == (
            b'{"rerank":[{"index":3,"relevance_score":1.0E8},{"index":4,"relevance_score":1.0E8},'
            b'{"index":0,"relevance_score":0.1},{"index":1,"relevance_score":5.614787E-4},'
            b'{"index":2,"relevance_score":-11.0}]}'
        )

    @pytest.mark.parametrize(
        ("body", "type_", "reason"),
        [
            ({**ASKED, "input": []}, REQUEST, invalid("Field [input] cannot be an empty array")),
            ({**ASKED, "query": ""}, REQUEST, invalid("Field [query] cannot be empty")),
            (
                {"query": "", "input": [], "top_n": 0},
                REQUEST,
                invalid(
                    "Field [input] cannot be an empty array",
                    "Field [query] cannot be empty",
                    "Field [top_n] must be greater than or equal to 1",
                ),
            ),
            ({}, ILLEGAL, "Required [input, query]"),
            ({"input": "a 1"}, ILLEGAL, "Required [query]"),
            (
                {"foo": 1, **ASKED},
                "x_content_parse_exception",
                "[1:2] [RerankRequest] unknown field [foo]",
            ),
            (
                {"input_type": "search", **ASKED},
                "x_content_parse_exception",
                "[1:2] [RerankRequest] unknown field [input_type]",
            ),
            (
                {"qeury": "q"},
                "x_content_parse_exception",
                "[1:2] [RerankRequest] unknown field [qeury] did you mean [query]?",
            ),
            (
                {"input": 5},
                "x_content_parse_exception",
                "[1:11] [RerankRequest] input doesn't support values of type: VALUE_NUMBER",
            ),
            (
                {"query": None},
                "x_content_parse_exception",
                "[1:11] [RerankRequest] query doesn't support values of type: VALUE_NULL",
            ),
            (
                {**ASKED, "task_settings": {"foo": 1}},
                STATUS,
                "Configuration contains settings [{foo=1}] unknown to the [elasticsearch] service",
            ),
            (b"", "parse_exception", "request body is required"),
        ],
    )
    async def test_refusals(self, app: SearchApp, body: Any, type_: str, reason: str) -> None:
        refused(await app.call("POST", f"/_inference/rerank/{ENDPOINT}", body), 400, type_, reason)
        assert app.engine.asked == []

    @pytest.mark.parametrize(
        ("body", "field", "cause"),
        [
            (
                {"input": ["a", 5]},
                "input",
                {"type": "x_content_parse_exception", "reason": "Unsupported token [VALUE_NUMBER]"},
            ),
            (
                {"query": "q", "input": {"type": "image", "value": "data:image/png;base64,AA=="}},
                "input",
                {
                    "type": "x_content_parse_exception",
                    "reason": "Field [input] contains unsupported [type] value [image]. Supported values are "
                    "[text]",
                },
            ),
            ({"input": {"type": "text"}}, "input", {"type": ILLEGAL, "reason": "Required [value]"}),
        ],
    )
    async def test_values_that_are_not_text(self, app: SearchApp, body: Any, field: str, cause: Any) -> None:
        answer = await app.call("POST", f"/_inference/rerank/{ENDPOINT}", body)
        error = answer.json()["error"]
        assert (answer.status, error["type"]) == (400, "x_content_parse_exception")
        assert error["reason"].endswith(f"[RerankRequest] failed to parse field [{field}]")
        assert error["caused_by"] == cause

    @pytest.mark.parametrize(
        ("value", "cause"),
        [
            (
                {"type": "nope", "value": "x"},
                "Unrecognized type [nope], must be one of [text, image, audio, video, pdf]",
            ),
            (
                {"type": "text", "format": "base64", "value": "x"},
                "Data type [text] does not support data format [base64], supported formats are [text]",
            ),
            (
                {"type": "image", "format": "png", "value": "x"},
                "Unrecognized format [png], must be one of [text, base64]",
            ),
        ],
    )
    async def test_types_and_formats(self, app: SearchApp, value: Any, cause: str) -> None:
        answer = await app.call("POST", f"/_inference/rerank/{ENDPOINT}", {"query": value})
        assert answer.status == 400
        assert answer.cause == {"type": ILLEGAL, "reason": cause}

    @pytest.mark.parametrize(
        ("path", "body", "status", "reason"),
        [
            ("nope", {}, 404, "Inference endpoint not found [nope]"),
            ("rerank/nope", {}, 400, "Required [input, query]"),
            ("rerank/nope", ASKED, 404, "Inference endpoint not found [nope]"),
            ("nope/x?timeout=y", {}, 400, "Unknown task_type [nope]"),
            (
                f"text_embedding/{ENDPOINT}",
                {},
                400,
                "Incompatible task_type, the requested type [text_embedding] does not match the model type "
                "[rerank]",
            ),
            (
                f"rerank/{ENDPOINT}?time=1s",
                {},
                400,
                f"request [/_inference/rerank/{ENDPOINT}] contains unrecognized parameter: [time] -> did you "
                "mean [timeout]?",
            ),
            (f"{ENDPOINT}/_stream", ASKED, 405, "Streaming is not allowed for service [elasticsearch]."),
            (
                f"rerank/{ENDPOINT}/_stream",
                ASKED,
                405,
                "Streaming is not allowed for service [elasticsearch].",
            ),
            ("nope/_stream", ASKED, 404, "Inference endpoint not found [nope]"),
        ],
    )
    async def test_what_is_looked_at_first(
        self, app: SearchApp, path: str, body: Any, status: int, reason: str
    ) -> None:
        answer = await app.call("POST", f"/_inference/{path}", body)
        assert (answer.status, answer.json()["error"]["reason"]) == (status, reason)
        assert app.engine.asked == []

    @pytest.mark.parametrize(
        ("query", "time", "limit"),
        [
            ("?timeout=1500ms", "1.5s", "[timeout: 1.5s] of the request"),
            ("", "30s", "[timeout: 30s], which a request may set,"),
            ("?timeout=-1", "30s", "[timeout: 30s], which a request may set,"),
        ],
    )
    async def test_the_time_is_the_requests(self, app: SearchApp, query: str, time: str, limit: str) -> None:
        app.engine.failure = DeadlineExceededError("the model still loads")
        answer = await app.call("POST", f"/_inference/{ENDPOINT}{query}", ASKED)
        assert answer.status == 429
        error = answer.json()["error"]
        assert error["type"] == STATUS
        assert error["reason"] == f"Request timed out after [{time}] for inference id [{ENDPOINT}]"
        told = f"the model still loads: {limit} has passed"
        assert error["caused_by"] == {"type": "timeout_exception", "reason": told}

    async def test_overload(self, app: SearchApp) -> None:
        app.engine.failure = QueueFullError("the queue is full")
        answer = await app.call("POST", f"/_inference/{ENDPOINT}", ASKED)
        refused(answer, 429, "es_rejected_execution_exception", "the queue is full")
