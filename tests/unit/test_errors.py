"""Errors in Elasticsearch's shape."""

import json

import pytest

from rerank_proxy.errors import Cause, ElasticsearchError, encode, error, fresh, reason_of, validation_error

PARSING = Cause("parsing_exception", "unknown query [bogus]", {"line": 1, "col": 5})
X_CONTENT = Cause("x_content_parse_exception", "[1:5] [standard] failed to parse field [filter]")
JAVA = Cause("number_format_exception", 'For input string: "abc"')


def over(outer: Cause, inner: Cause) -> Cause:
    return Cause(outer.type, outer.reason, outer.metadata, inner)


def test_the_shape() -> None:
    failure = error(
        404, "index_not_found_exception", "no such index [x]", caused_by=JAVA, **{"resource.id": "x"}
    )
    alone = {"type": "index_not_found_exception", "reason": "no such index [x]", "resource.id": "x"}
    inner = {"type": "number_format_exception", "reason": 'For input string: "abc"'}
    assert failure.status == 404
    assert failure.body() == {
        "error": {"root_cause": [alone], **alone, "caused_by": inner},
        "status": 404,
    }
    assert str(failure) == "no such index [x]"


def test_keys_are_in_elasticsearchs_order() -> None:
    body = ElasticsearchError(400, over(PARSING, JAVA)).body()
    assert list(body) == ["error", "status"]
    assert list(body["error"]) == ["root_cause", "type", "reason", "line", "col", "caused_by"]


@pytest.mark.parametrize(
    ("cause", "root"),
    [
        (PARSING, "parsing_exception"),
        (X_CONTENT, "x_content_parse_exception"),
        (over(X_CONTENT, PARSING), "parsing_exception"),  # a bad query in a filter
        (over(X_CONTENT, JAVA), "x_content_parse_exception"),  # a bad number
        (over(PARSING, X_CONTENT), "parsing_exception"),  # an error inside a wrapping retriever
        (over(PARSING, over(X_CONTENT, JAVA)), "parsing_exception"),
        (over(X_CONTENT, over(X_CONTENT, JAVA)), "x_content_parse_exception"),
        (over(X_CONTENT, over(X_CONTENT, PARSING)), "parsing_exception"),
        (over(JAVA, X_CONTENT), "number_format_exception"),
        (
            over(PARSING, Cause("named_object_not_found_exception", "[1:5] unknown field [x]")),
            "parsing_exception",
        ),
        (
            over(X_CONTENT, Cause("named_object_not_found_exception", "[1:5] unknown field [x]")),
            "named_object_not_found_exception",
        ),
    ],
)
def test_root_causes(cause: Cause, root: str) -> None:
    """As Elasticsearch 9 chooses them for these chains."""
    assert [each.type for each in cause.root_causes()] == [root]


def test_suppressed_are_shown_without_causes_at_the_root() -> None:
    inner = Cause("search_phase_execution_exception", "failed", {"phase": "query"}, caused_by=JAVA)
    body = ElasticsearchError(500, Cause("status_exception", "wrapped", suppressed=(inner,))).body()["error"]
    assert "caused_by" in body["suppressed"][0]
    assert "caused_by" not in body["root_cause"][0]["suppressed"][0]
    assert body["root_cause"][0]["suppressed"][0]["phase"] == "query"


def test_the_failures_of_shards_lose_their_causes_too() -> None:
    shard = {"shard": 0, "reason": {"type": "x", "caused_by": {"type": "y"}}}
    inner = Cause("search_phase_execution_exception", "failed", {"failed_shards": [shard], "grouped": True})
    body = ElasticsearchError(500, Cause("status_exception", "wrapped", suppressed=(inner,))).body()["error"]
    assert body["suppressed"][0]["failed_shards"] == [shard]
    at_root = body["root_cause"][0]["suppressed"][0]
    assert at_root["failed_shards"] == [{"shard": 0, "reason": {"type": "x"}}]
    assert at_root["grouped"] is True


def test_validation_messages_are_numbered() -> None:
    failure = validation_error(["a", "b"])
    assert failure.status == 400
    assert failure.cause.type == "action_request_validation_exception"
    assert failure.cause.reason == "Validation Failed: 1: a;2: b;"


def test_encoding_is_compact_utf_8() -> None:
    assert encode({"a": "é", "b": [1]}) == '{"a":"é","b":[1]}'.encode()
    json.loads(encode(error(400, "x", 'quote " and \n').body()))


def test_a_fresh_copy_has_all_but_the_traceback() -> None:
    class OutOfOrderError(ElasticsearchError):
        def __init__(self, floor: int) -> None:
            super().__init__(503, Cause("lift_exception", f"stuck at {floor}"))
            self.floor = floor

    first = OutOfOrderError(3)
    with pytest.raises(OutOfOrderError):
        raise first
    copy = fresh(first)
    assert copy is not first
    assert type(copy) is OutOfOrderError
    assert (str(copy), copy.status, copy.cause, copy.floor) == (str(first), 503, first.cause, 3)
    assert (first.__traceback__ is None, copy.__traceback__) == (False, None)


def test_the_innermost_reason_is_told() -> None:
    """A retriever whose children fail has its cause among what it suppressed."""
    cause = {"type": "resource_not_found_exception", "reason": "Inference endpoint not found [nope]"}
    failed = {"reason": "Computing updated ranks for results failed", "caused_by": cause}
    assert reason_of(json.dumps({"error": {"reason": "errors", "suppressed": [failed]}})) == cause["reason"]
    assert reason_of(json.dumps({"error": {"reason": "errors", "suppressed": [1, {}]}})) == "errors"


@pytest.mark.parametrize("body", ['{"error": "\\ud800"}', '{"error": {"reason": "\\udfff"}}'])
def test_every_reason_can_be_written(body: str) -> None:
    assert reason_of(body).encode() == b"?"


def test_what_the_shards_say_is_told_where_all_of_them_failed() -> None:
    shard = {"shard": 0, "reason": {"reason": "Failed to parse", "caused_by": {"reason": "no such operator"}}}
    assert (
        reason_of(json.dumps({"error": {"reason": "all shards failed", "failed_shards": [shard]}}))
        == "no such operator"
    )
    assert (
        reason_of(json.dumps({"error": {"reason": "all shards failed", "failed_shards": [1]}}))
        == "all shards failed"
    )
