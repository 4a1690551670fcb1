"""The bodies of the `_inference` API. Most refusals are tested through the API, in `tests/live`."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.inference.configuration import RERANK, TASK_TYPES
from rerank_proxy.inference.ranking import RerankRequest
from rerank_proxy.inference.requests import (
    ANY,
    PutRequest,
    UpdateRequest,
    check_id,
    check_task_type,
    is_valid_id,
    parse_put,
    parse_rerank,
    parse_update,
    required,
    resolve_task_type,
    task_type_of,
)

ID = st.from_regex(r"[a-z0-9]([a-z0-9_.\-]*[a-z0-9])?", fullmatch=True)


def raw(value: Any) -> bytes:
    return json.dumps(value).encode()


def refusal(call: Any, *arguments: Any) -> tuple[int, str, str]:
    with pytest.raises(ElasticsearchError) as raised:
        call(*arguments)
    cause = raised.value.cause
    return raised.value.status, cause.type, cause.reason


def outcome(call: Any, *arguments: Any) -> Any:
    """Return what a call returns, or the status of its refusal."""
    try:
        return call(*arguments)
    except ElasticsearchError as failure:
        return failure.status


class TestIds:
    @given(ID)
    def test_valid(self, inference_id: str) -> None:
        check_id(inference_id)

    @given(ID, st.sampled_from("_-.A é/*\n"))
    def test_must_start_and_end_with_alphanumeric(self, inference_id: str, other: str) -> None:
        assert not is_valid_id(inference_id + other)
        assert not is_valid_id(other + inference_id)

    @pytest.mark.parametrize("inference_id", ["", "_all", "a\n", ".rerank-v1-elasticsearch"])
    def test_others(self, inference_id: str) -> None:
        status, type_, reason = refusal(check_id, inference_id)
        assert (status, type_) == (400, "action_request_validation_exception")
        assert reason == (
            f"Validation Failed: 1: Invalid inference_id; '{inference_id}' can contain lowercase "
            "alphanumeric (a-z and 0-9), hyphens or underscores; must start and end with alphanumeric;"
        )

    def test_no_longer_than_elasticsearch_keeps(self) -> None:
        check_id("a" * 506)
        status, type_, reason = refusal(check_id, "a" * 507)
        assert (status, type_) == (400, "action_request_validation_exception")
        assert reason.endswith("] is too long, must be no longer than 512 bytes but was: 513;")


class TestTaskTypes:
    @pytest.mark.parametrize("name", [*TASK_TYPES, ANY])
    def test_in_any_case(self, name: str) -> None:
        assert task_type_of(f" {name.upper()}\t") == name

    def test_unknown(self) -> None:
        assert refusal(task_type_of, "Nope") == (400, "status_exception", "Unknown task_type [Nope]")

    @given(st.sampled_from(TASK_TYPES), st.sampled_from(TASK_TYPES))
    def test_url_and_body_agree_or_one_says_it(self, one: str, other: str) -> None:
        assert resolve_task_type(one, None) == one
        assert resolve_task_type(ANY, one) == one
        if one == other:
            assert resolve_task_type(one, other) == one
        else:
            _, _, reason = refusal(resolve_task_type, one, other)
            assert reason == (
                f"Cannot resolve conflicting task_type parameter in the request URL [{one}] and the request "
                f"body [{other}]"
            )

    @given(st.sampled_from([*TASK_TYPES, ANY]))
    def test_any_is_none(self, url: str) -> None:
        assert refusal(resolve_task_type, url, "ANY")[2] == "task_type [any] is not valid type for inference"

    def test_neither_names_it(self) -> None:
        assert refusal(resolve_task_type, ANY, None)[2] == "model is missing required setting [task_type]"

    def test_what_runs(self) -> None:
        check_task_type(ANY)
        check_task_type(RERANK)
        assert refusal(check_task_type, "completion")[2] == (
            "Incompatible task_type, the requested type [completion] does not match the model type [rerank]"
        )


def test_a_body_is_required() -> None:
    assert required(b" ") == b" "
    assert refusal(required, b"") == (400, "parse_exception", "request body is required")


class TestPut:
    def test_everything(self) -> None:
        body = {"service": "cohere", "service_settings": {"a": [1]}, "task_settings": {"b": None}, "c": 1.5}
        assert parse_put(raw(body), RERANK) == PutRequest(
            RERANK, "cohere", {"a": [1]}, {"b": None}, {"c": 1.5}
        )

    def test_what_may_be_absent(self) -> None:
        assert parse_put(raw({"service": "x", "task_type": "RERANK"}), ANY) == PutRequest(
            RERANK, "x", None, {}, {}
        )

    @pytest.mark.parametrize("name", ["service", "task_type", "service_settings", "task_settings"])
    def test_null_is_absent(self, name: str) -> None:
        body = {"service": "x", "task_type": "rerank", name: None}
        if name == "service":
            assert "missing the [service] setting" in refusal(parse_put, raw(body), RERANK)[2]
        else:
            assert parse_put(raw(body), RERANK).unknown == {}

    @pytest.mark.parametrize(
        ("name", "value", "reason"),
        [
            ("service", 1, "A [Integer] cannot be converted to a [String]"),
            ("task_type", ["rerank"], "A [ArrayList] cannot be converted to a [String]"),
            ("service_settings", "sk-secret", "A [String] cannot be converted to a [Map]"),
            ("task_settings", 2**40, "A [Long] cannot be converted to a [Map]"),
        ],
    )
    def test_types(self, name: str, value: Any, reason: str) -> None:
        body = raw({"service": "x", "service_settings": {}, name: value})
        expected = f"field [{name}] is not of the expected type. {reason}"
        assert refusal(parse_put, body, RERANK) == (400, "status_exception", expected)

    @given(st.binary(max_size=20))
    def test_any_bytes_are_read_or_refused(self, body: bytes) -> None:
        assert isinstance(outcome(parse_put, body, RERANK), PutRequest | int)


class TestUpdate:
    def test_everything(self) -> None:
        body = {
            "task_type": "Rerank",
            "service_settings": {"a": 1},
            "task_settings": {"b": 2},
            "service": "x",
        }
        assert parse_update(raw(body), ANY) == UpdateRequest(RERANK, {"a": 1}, {"b": 2})

    @pytest.mark.parametrize("url", [ANY, RERANK])
    def test_the_url_may_name_the_task_type_or_neither(self, url: str) -> None:
        assert parse_update(raw({"task_settings": {}}), url) == UpdateRequest(url, {}, {})

    def test_what_went_before_is_not_printed(self) -> None:
        body = {"task_type": "rerank", "service_settings": {}, "task_settings": 1, "service": "x"}
        reason = "Unable to parse task settings in the request [{service=x, task_settings=1}]"
        assert refusal(parse_update, raw(body), RERANK)[2] == reason

    @given(
        st.dictionaries(
            st.sampled_from(["task_type", "service_settings", "task_settings", "service", "x"]),
            st.none() | st.booleans() | st.text(max_size=3) | st.dictionaries(st.text(), st.integers()),
        )
    )
    def test_any_object_is_read_or_refused(self, body: dict[str, Any]) -> None:
        found = outcome(parse_update, raw(body), RERANK)
        if isinstance(found, UpdateRequest):
            assert "x" not in body
            assert found.service_settings == body.get("service_settings", {})
        else:
            assert found == 400


class TestRerank:
    def test_everything(self) -> None:
        body = {
            "query": {"type": "text", "value": "q"},
            "input": ["a", {"type": "TEXT", "format": "text", "value": "b"}],
            "top_n": 3,
            "return_documents": False,
            "task_settings": {"x": 1},
        }
        assert parse_rerank(raw(body)) == RerankRequest("q", ("a", "b"), 3, False, {"x": 1})

    def test_what_may_be_absent(self) -> None:
        assert parse_rerank(raw({"query": "q", "input": "a"})) == RerankRequest("q", ("a",))

    @given(st.lists(st.text(), min_size=1), st.text(min_size=1))
    def test_any_texts(self, inputs: list[str], query: str) -> None:
        request = parse_rerank(raw({"input": inputs, "query": query}))
        assert (request.texts, request.query) == (tuple(inputs), query)

    @given(st.lists(st.integers(), min_size=1, max_size=60))
    def test_numbers_are_not_texts_however_many(self, inputs: list[int]) -> None:
        """Long arrays of scalars are read another way."""
        status, type_, reason = refusal(parse_rerank, raw({"input": inputs, "query": "q"}))
        assert (status, type_) == (400, "x_content_parse_exception")
        assert reason == "[1:12] [RerankRequest] failed to parse field [input]"

    @given(st.binary(max_size=20))
    def test_any_bytes_are_read_or_refused(self, body: bytes) -> None:
        assert refusal(parse_rerank, body)[0] == 400
