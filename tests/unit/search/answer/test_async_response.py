"""The answers of asynchronous searches."""

import json
from typing import Any

import pytest

from rerank_proxy.errors import Cause, ElasticsearchError, error
from rerank_proxy.search.answer.async_response import (
    AsyncResult,
    SearchProgress,
    completed,
    failed,
    print_acknowledged,
    print_search,
    print_status,
    refused,
    unstorable,
)
from rerank_proxy.upstream.protocol import Reply

ANSWER = (
    b'{"took":12,"timed_out":false,"_shards":{"total":3,"successful":2,"skipped":1,"failed":1,"failures":[{}]},'
    b'"hits":{"max_score":null,"hits":[{"_source":{"n":100000000000000000000000000000}}]}}'
)
START, END = 1_700_000_000_001, 1_700_000_060_001


def progress(result: AsyncResult | None, id_: str | None = "rerank.x") -> SearchProgress:
    return SearchProgress(id_, START, END, 7, result)


def search(result: AsyncResult | None, id_: str | None = "rerank.x", **how: bool) -> Any:
    return json.loads(print_search(progress(result, id_), **{"pretty": False, "human": False, **how}))


def status(result: AsyncResult | None, **how: bool) -> Any:
    return json.loads(print_status(progress(result), **{"pretty": False, "human": False, **how}))


class TestSearch:
    def test_running(self) -> None:
        body = search(None)
        assert list(body) == [
            "id", "is_partial", "is_running", "start_time_in_millis", "expiration_time_in_millis", "response",
        ]  # fmt: skip
        assert body == {
            "id": "rerank.x",
            "is_partial": True,
            "is_running": True,
            "start_time_in_millis": START,
            "expiration_time_in_millis": END,
            "response": {
                "took": 7,
                "timed_out": False,
                "terminated_early": False,
                "num_reduce_phases": 0,
                "_shards": {"total": 0, "successful": 0, "skipped": 0, "failed": 0},
                "hits": {"total": {"value": 0, "relation": "gte"}, "max_score": None, "hits": []},
            },
        }
        assert search(None, total_as_int=True)["response"]["hits"]["total"] == 0

    def test_completed(self) -> None:
        assert print_search(progress(completed(ANSWER, [])), pretty=False, human=False) == (
            b'{"id":"rerank.x","is_partial":false,"is_running":false,"start_time_in_millis":%d,'
            b'"expiration_time_in_millis":%d,"completion_time_in_millis":%d,"response":%b}'
            % (START, END, START + 12, ANSWER)
        )

    def test_without_an_id(self) -> None:
        body = search(completed(ANSWER, []), None)
        assert next(iter(body)) == "is_partial"
        assert "id" not in body

    def test_failed(self) -> None:
        body = search(failed(error(429, "es_rejected_execution_exception", "full", bytes=3)))
        assert list(body) == [
            "id", "is_partial", "is_running", "start_time_in_millis", "expiration_time_in_millis", "error",
        ]  # fmt: skip
        assert (body["is_partial"], body["is_running"]) == (True, False)
        assert body["error"] == {
            "type": "status_exception",
            "reason": "error while executing search",
            "caused_by": {"type": "es_rejected_execution_exception", "reason": "full", "bytes": 3},
        }

    def test_with_readable_times(self) -> None:
        body = search(completed(ANSWER, []), human=True)
        times = {name: body[name] for name in body if "time" in name}
        assert list(times.items()) == [
            ("start_time", "2023-11-14T22:13:20.001Z"),
            ("start_time_in_millis", START),
            ("expiration_time", "2023-11-14T22:14:20.001Z"),
            ("expiration_time_in_millis", END),
            ("completion_time", "2023-11-14T22:13:20.013Z"),
            ("completion_time_in_millis", START + 12),
        ]

    def test_pretty(self) -> None:
        laid_out = print_search(progress(completed(ANSWER, [])), pretty=True, human=False)
        assert laid_out.startswith(b'{\n  "id" : "rerank.x",\n  "is_partial" : false,\n')
        assert b'\n  "response" : {\n    "took" : 12,\n' in laid_out
        assert b'"n" : 100000000000000000000000000000\n' in laid_out
        assert laid_out.endswith(b"\n  }\n}\n")

    @pytest.mark.parametrize(
        ("clusters", "is_partial"),
        [
            ('{"total":2,"successful":2,"skipped":0,"running":0,"partial":0,"failed":0}', False),
            ('{"total":2,"successful":1,"skipped":1,"running":0,"partial":0,"failed":0}', True),
            ('{"total":2,"successful":1,"skipped":0,"running":0,"partial":1,"failed":0}', True),
            ('{"total":2,"successful":1,"skipped":0,"running":0,"partial":0,"failed":1}', True),
        ],
    )
    def test_only_remote_clusters_make_an_answer_partial(self, clusters: str, is_partial: bool) -> None:
        answer = ANSWER[:-1] + f',"_clusters":{clusters}}}'.encode()
        assert search(completed(answer, []))["is_partial"] is is_partial
        assert status(completed(answer, []))["is_partial"] is is_partial
        assert status(completed(answer, []))["_clusters"] == json.loads(clusters)


class TestStatus:
    def test_running(self) -> None:
        body = status(None)
        assert list(body.items()) == [
            ("id", "rerank.x"),
            ("is_running", True),
            ("is_partial", True),
            ("start_time_in_millis", START),
            ("expiration_time_in_millis", END),
            ("_shards", {"total": 0, "successful": 0, "skipped": 0, "failed": 0}),
        ]

    def test_completed(self) -> None:
        body = status(completed(ANSWER, []))
        assert list(body.items())[3:] == [
            ("start_time_in_millis", START),
            ("expiration_time_in_millis", END),
            ("completion_time_in_millis", START + 12),
            ("_shards", {"total": 3, "successful": 2, "skipped": 1, "failed": 1}),
            ("completion_status", 200),
        ]

    def test_failed(self) -> None:
        body = status(failed(error(504, "status_exception", "late")))
        assert list(body.items())[4:] == [
            ("expiration_time_in_millis", END),
            ("_shards", {"total": 0, "successful": 0, "skipped": 0, "failed": 0}),
            ("completion_status", 504),
        ]
        assert body["is_partial"] is True

    def test_pretty_with_readable_times(self) -> None:
        laid_out = print_status(progress(None), pretty=True, human=True)
        assert b'\n  "start_time" : "2023-11-14T22:13:20.001Z",\n  "start_time_in_millis" : ' in laid_out


def test_acknowledged() -> None:
    assert print_acknowledged(pretty=False) == b'{"acknowledged":true}'
    assert print_acknowledged(pretty=True) == b'{\n  "acknowledged" : true\n}\n'


class TestFailures:
    def cause(self, result: AsyncResult) -> Any:
        assert result.error is not None
        return json.loads(result.error)["caused_by"]

    def test_of_upstream_keep_all_but_the_root_causes(self) -> None:
        body = (
            b'{\n "error" : {"root_cause":[{"type":"x"}], "type":"x","reason":"\\ud800","a":1.10,'
            b'"caused_by":{"type":"y","root_cause":7}},"status":404}'
        )
        result = refused(Reply(404, [("content-type", "x"), ("Warning", '299 "a"')], body))
        assert result.status == 404
        assert result.error is not None
        assert (
            b'{"type":"x","reason":"\\ud800","a":1.10,"caused_by":{"type":"y","root_cause":7}}'
            in result.error
        )
        assert result.headers == (("Warning", '299 "a"'),)

    @pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"error":"text","status":405}'])
    def test_of_another_server_in_upstreams_place(self, body: bytes) -> None:
        result = refused(Reply(503, [], body))
        assert result.status == 503
        assert self.cause(result) == {
            "type": "status_exception",
            "reason": "upstream answered an inner search with status 503",
        }

    def test_of_the_proxy_keep_their_causes(self) -> None:
        inner = Cause("b", "inner")
        failure = ElasticsearchError(500, Cause("a", "outer", {"phase": "p"}, inner, (inner,)))
        assert self.cause(failed(failure)) == {
            "type": "a",
            "reason": "outer",
            "phase": "p",
            "caused_by": {"type": "b", "reason": "inner"},
            "suppressed": [{"type": "b", "reason": "inner"}],
        }

    def test_to_keep_a_result_stands_alone(self) -> None:
        result = unstorable(error(400, "illegal_argument_exception", "too large"))
        assert (result.status, result.response) == (400, None)
        assert json.loads(result.error or b"") == {
            "type": "illegal_argument_exception",
            "reason": "too large",
        }


def test_size_counts_answer_and_error() -> None:
    assert completed(b"12345", [("a", "b")]).size == 5
    assert AsyncResult(500, None, b"123").size == 3
