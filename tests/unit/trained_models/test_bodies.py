"""Read the bodies of requests: configurations, parts, vocabularies, deployments, documents."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.engine.loading.packages.vocabulary import Vocabulary
from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.trained_models.deployment import AdaptiveAllocations, Deployment
from rerank_proxy.trained_models.requests.config import is_text_similarity, parse_config
from rerank_proxy.trained_models.requests.deployments import parse_start, parse_stop, parse_update
from rerank_proxy.trained_models.requests.ids import IdExpression, id_faults
from rerank_proxy.trained_models.requests.infer import parse_infer
from rerank_proxy.trained_models.requests.parts import parse_part, parse_vocabulary
from rerank_proxy.xcontent.byte_size import ByteSize, parse_byte_size
from rerank_proxy.xcontent.params import parse_params
from tests.support.trained_models import CONFIG, NOW, config_of, part_body


def encoded(body: Any) -> bytes:
    return json.dumps(body).encode()


def refusal(work: Any) -> tuple[str, str]:
    """Return the type and reason of the innermost cause of a 400."""
    with pytest.raises(ElasticsearchError) as refused:
        work()
    assert refused.value.status == 400
    cause = refused.value.cause
    while cause.caused_by is not None:
        cause = cause.caused_by
    return cause.type, cause.reason


class TestConfig:
    def test_what_eland_sends(self) -> None:
        shown = config_of("mine").document()
        assert [*shown] == [
            "model_id", "model_type", "created_by", "version", "create_time", "model_size_bytes",
            "estimated_operations", "license_level", "description", "tags", "metadata", "input",
            "inference_config", "location",
        ]  # fmt: skip
        assert shown["inference_config"] == {
            "text_similarity": {
                "vocabulary": {"index": ".ml-inference-native-000002"},
                "tokenization": {
                    "bert": {
                        "do_lower_case": True,
                        "with_special_tokens": True,
                        "max_sequence_length": 48,
                        "truncate": "second",
                        "span": -1,
                    }
                },
                "span_score_combination_function": "max",
            }
        }
        assert shown["create_time"] == NOW

    def test_defaults(self) -> None:
        config = parse_config(
            "mine", b'{"model_type":"PyTorch","inference_config":{"text_similarity":{}}}', NOW
        )
        assert config.field_names == ("text_field",)
        assert config.tokenization["bert"]["truncate"] == "first"
        assert config.tokenization["bert"]["max_sequence_length"] == 512
        assert "description" not in config.document()

    def test_for_another_cluster_what_is_generated_is_left_out(self) -> None:
        assert "create_time" not in config_of("mine").document(exclude_generated=True)

    @pytest.mark.parametrize(
        ("body", "is_one"),
        [
            (CONFIG, True),
            ({"inference_config": {"text_similarity": 5}}, True),
            ({"inference_config": {"ner": {}}}, False),
            ({"input": {"field_names": ["text_field"]}}, False),
            ([], False),
        ],
    )
    def test_which_are_for_text_similarity(self, body: Any, is_one: bool) -> None:
        assert is_text_similarity(encoded(body)) is is_one
        assert not is_text_similarity(encoded(body)[:-1])

    @pytest.mark.parametrize(
        ("changes", "message"),
        [
            ({"model_type": None}, None),
            ({"descriptoin": "x"}, "unknown field [descriptoin] did you mean [description]?"),
            (
                {"model_id": "other"},
                "Inconsistent model_id; 'other' specified in the body",
            ),
            ({"tags": ["mine"]}, "1: none of the tags must equal the model_id;"),
            ({"tags": ["A"]}, "1: Invalid tags [A];"),
            ({"version": "8"}, "1: illegal to set [version] at inference model creation;"),
            ({"input": {"field_names": []}}, "1: [input.field_names] must not be empty;"),
            ({"input": {"field_names": ["a..b"]}}, "must only contain valid dot delimited field names"),
            ({"compressed_definition": "x"}, "upload it in parts"),
            ({"model_type": "tree_ensemble"}, "not [tree_ensemble]"),
            ({"estimated_operations": -1}, "[estimated_operations] must be greater than or equal to 0"),
            ({"inference_config": {"text_similarity": {"vocabulary": {}}}}, "illegal setting [vocabulary]"),
            ({"inference_config": {"text_similarity": {"tokenization": {"latin": {}}}}}, "[latin]"),
        ],
    )
    def test_refused(self, changes: dict[str, Any], message: str | None) -> None:
        body = {name: value for name, value in {**CONFIG, **changes}.items() if value is not None}
        _, reason = refusal(lambda: parse_config("mine", encoded(body), NOW))
        assert (message or "[model_type] must be set if [definition] is not defined.") in reason

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"max_sequence_length": 0}, "[max_sequence_length] must be positive"),
            ({"span": -2}, "[span] must be non-negative"),
            ({"span": 5}, "[span] must not be provided when [truncate] is not [none]"),
            ({"span": 600, "truncate": "none"}, "must not be greater than [max_sequence_length]"),
            ({"truncate": "third"}, "No enum constant"),
            ({"add_prefix_space": True}, "unknown field [add_prefix_space]"),
        ],
    )
    def test_tokenization_refused(self, options: dict[str, Any], message: str) -> None:
        body = {**CONFIG, "inference_config": {"text_similarity": {"tokenization": {"bert": options}}}}
        assert message in refusal(lambda: parse_config("mine", encoded(body), NOW))[1]


class TestParts:
    @given(st.binary(min_size=1))
    def test_any_bytes(self, content: bytes) -> None:
        part = parse_part(2, encoded(part_body(content, 100, 3)))
        assert (part.number, part.content, part.total_length, part.total_parts) == (2, content, 100, 3)

    def test_escaped_slashes(self) -> None:
        content = b"\xff\xff\xff"
        body = encoded(part_body(content, 3, 1)).replace(b"/", b"\\/")
        assert b"\\/" in body
        assert parse_part(0, body).content == content

    @pytest.mark.parametrize("definition", ["ab=", "a!==", "YWI", "YWI=\n", "YW==YW=="])
    def test_damaged_base64(self, definition: str) -> None:
        body = encoded({**part_body(b"", 3, 1), "definition": definition})
        assert refusal(lambda: parse_part(0, body))[1].startswith(
            "Failed to decode VALUE_STRING as base64 (MIME-NO-LINEFEEDS): "
        )

    @pytest.mark.parametrize(
        ("number", "changes", "faults"),
        [
            (-1, {}, ["[part] must be greater or equal to 0"]),
            (3, {}, ["[part] must be less than total_parts"]),
            (
                0,
                {"total_parts": 0},
                ["[total_parts] must be greater than 0", "[part] must be less than total_parts"],
            ),
            (0, {"total_parts": 10_001}, ["[total_parts] must be less than or equal to 10000"]),
            (0, {"total_definition_length": 0}, ["[total_definition_length] must be greater than 0"]),
        ],
    )
    def test_numbers(self, number: int, changes: dict[str, int], faults: list[str]) -> None:
        body = encoded({**part_body(b"abc", 3, 3), **changes})
        numbered = "".join(f"{n}: {fault};" for n, fault in enumerate(faults, 1))
        assert refusal(lambda: parse_part(number, body)) == (
            "action_request_validation_exception",
            f"Validation Failed: {numbered}",
        )

    def test_a_definition_is_needed(self) -> None:
        assert refusal(lambda: parse_part(0, b'{"total_parts":1}'))[1] == "[definition] must not be null."


class TestVocabulary:
    @given(st.lists(st.text(), min_size=1), st.booleans())
    def test_any_tokens(self, tokens: list[str], scored: bool) -> None:
        scores = [float(n) for n in range(len(tokens))] if scored else []
        body = encoded({"vocabulary": tokens, "merges": [], "scores": scores})
        assert parse_vocabulary(body) == Vocabulary(tokens, scores=scores)

    def test_long_ones_with_comments_and_numbers(self) -> None:
        body = b'{"vocabulary":["a",/* b */1' + b',"c"' * 40 + b"]}"
        assert parse_vocabulary(body).vocabulary == ["a", "1", *["c"] * 40]

    @pytest.mark.parametrize(
        ("body", "message"),
        [
            ({}, "[vocabulary] must not be null."),
            ({"vocabulary": []}, "Validation Failed: 1: [vocabulary] must not be empty;"),
            (
                {"vocabulary": ["a"], "scores": [1, 2]},
                "Validation Failed: 1: [scores] must have same length as [vocabulary];",
            ),
            (
                {"vocabulary": ["\ud800"]},
                "a token holds half of a surrogate pair, which no tokenizer can read",
            ),
        ],
    )
    def test_refused(self, body: dict[str, Any], message: str) -> None:
        assert refusal(lambda: parse_vocabulary(encoded(body)))[1] == message


class TestDeployments:
    def start(self, query: str = "", body: Any = None) -> Any:
        return parse_start("mine", parse_params(query), b"" if body is None else encoded(body))

    def test_defaults(self) -> None:
        request = self.start()
        assert (str(request.timeout), request.wait_for) == ("20s", "started")
        assert request.deployment(1000, NOW) == Deployment(
            "mine", "mine", 1, 1, 10_000, "1000b", "normal", NOW, None
        )

    def test_the_url_is_stronger_than_the_body(self) -> None:
        request = self.start(
            "number_of_allocations=2&threads_per_allocation=4&cache_size=1mb&deployment_id=d&timeout=1m",
            {"number_of_allocations": 3, "queue_capacity": 5, "priority": "normal", "cache_size": "2mb"},
        )
        deployment = request.deployment(1000, NOW)
        assert deployment == Deployment("d", "mine", 2, 4, 5, "1mb", "normal", NOW, None)
        assert deployment.threads == 8
        assert deployment.keep_loaded

    def test_old_names(self) -> None:
        assert self.start("inference_threads=2&model_threads=3").deployment(0, NOW).threads == 6
        assert self.start("", {"inference_threads": 2, "model_threads": 3}).deployment(0, NOW).threads == 6

    @pytest.mark.parametrize(
        ("adaptive", "number", "threads", "keep_loaded"),
        [
            ({"enabled": True}, 1, None, True),
            ({"enabled": True, "min_number_of_allocations": 0}, 1, None, False),
            (
                {"enabled": True, "min_number_of_allocations": 2, "max_number_of_allocations": 3},
                2,
                6,
                True,
            ),
            ({"enabled": False, "max_number_of_allocations": 3}, 1, 2, True),
            (None, 1, 2, True),
        ],
    )
    def test_adaptive(self, adaptive: Any, number: int, threads: int | None, keep_loaded: bool) -> None:
        request = self.start("threads_per_allocation=2", {"adaptive_allocations": adaptive})
        deployment = request.deployment(0, NOW)
        assert deployment.number_of_allocations == number
        assert deployment.threads == threads
        assert deployment.keep_loaded is keep_loaded

    @pytest.mark.parametrize(
        ("query", "body", "message"),
        [
            ("threads_per_allocation=3", None, "must be a power of 2 less than or equal to 32"),
            ("threads_per_allocation=64", None, "must be a power of 2 less than or equal to 32"),
            ("number_of_allocations=0", None, "[number_of_allocations] must be a positive integer"),
            ("queue_capacity=0", None, "[queue_capacity] must be a positive integer"),
            ("queue_capacity=100001", None, "[queue_capacity] must be less than 100000"),
            ("timeout=0s", None, "[timeout] must be positive"),
            ("timeout=soon", None, "failed to parse setting [timeout]"),
            ("wait_for=later", None, "AllocationStatus.State.LATER"),
            ("priority=high", None, "Priority.HIGH"),
            ("priority=low&number_of_allocations=2", None, "must be 1 when [priority] is low"),
            ("cache_size=many", None, "unit is missing or unrecognized"),
            (
                "number_of_allocations=1",
                {"adaptive_allocations": {"enabled": True}},
                "[number_of_allocations] cannot be set if adaptive allocations is enabled",
            ),
            (
                "",
                {"adaptive_allocations": {"min_number_of_allocations": 3, "max_number_of_allocations": 2}},
                "[min_number_of_allocations] must not be larger than [max_number_of_allocations]",
            ),
            ("", {"model_id": "other"}, "Inconsistent model_id"),
            ("", {"adaptive_allocations": {"enabeld": True}}, "did you mean [enabled]?"),
        ],
    )
    def test_refused(self, query: str, body: Any, message: str) -> None:
        with pytest.raises(ElasticsearchError) as refused:
            self.start(query, body)
        assert refused.value.status == 400
        assert message in json.dumps(refused.value.body())

    def test_update(self) -> None:
        deployment = self.start().deployment(0, NOW)

        def updated(deployment: Deployment, body: Any) -> Deployment:
            return parse_update("mine", parse_params(""), encoded(body)).applied_to(deployment)

        assert updated(deployment, {"number_of_allocations": 4}).threads == 4
        adaptive = updated(
            deployment, {"adaptive_allocations": {"enabled": True, "max_number_of_allocations": 9}}
        )
        assert adaptive.adaptive_allocations == AdaptiveAllocations(True, None, 9)
        unbounded = updated(adaptive, {"adaptive_allocations": {"max_number_of_allocations": None}})
        assert unbounded.adaptive_allocations == AdaptiveAllocations(True)
        assert updated(unbounded, {"adaptive_allocations": None}) == deployment
        assert "cannot be set" in refusal(lambda: updated(adaptive, {"number_of_allocations": 2}))[1]
        assert refusal(lambda: parse_update("mine", parse_params(""), b""))[1] == "request body is required"

    def test_stop(self) -> None:
        def stop(query: str, body: bytes = b"") -> tuple[bool, bool]:
            request = parse_stop("mine", parse_params(query), body)
            return request.allow_no_match, request.force

        assert stop("") == (True, False)
        assert stop("allow_no_match=false&force") == (False, True)
        assert stop("", b'{"id":"mine","allow_no_match":false,"force":true}') == (False, True)


class TestInfer:
    def test_documents(self) -> None:
        body = {
            "docs": [{"text_field": "a", "other": [1]}, {"text_field": "b"}],
            "inference_config": {"text_similarity": {"text": "q", "results_field": "score"}},
        }
        request = parse_infer(parse_params("timeout=3s"), encoded(body))
        config = config_of("mine")
        assert request.query(config) == "q"
        assert request.texts(config) == ["a", "b"]
        assert request.name_of_results(config) == "score"
        assert str(request.timeout) == "3s"

    def test_a_path_to_the_text(self) -> None:
        config = config_of("mine", input={"field_names": ["a.b"]})
        body = encoded({"docs": [{"a": {"b": "nested"}}, {"a.b": "dotted"}]})
        assert parse_infer(parse_params(""), body).texts(config) == ["nested", "dotted"]

    @pytest.mark.parametrize(
        ("body", "status", "message"),
        [
            ({"docs": [{}]}, 400, "Input field [text_field] does not exist in the source document"),
            ({"docs": [{"text_field": 1}]}, 400, "The value of input field [text_field] must be a string"),
            ({"docs": [], "inference_config": {"text_similarity": {}}}, 400, "[text] must not be null."),
            (
                {"docs": [], "inference_config": {"ner": {}}},
                403,
                "Trained model [mine] is configured for task [text_similarity] but called with task [ner]",
            ),
        ],
    )
    def test_not_for_the_model(self, body: Any, status: int, message: str) -> None:
        request, config = parse_infer(parse_params(""), encoded(body)), config_of("mine")
        with pytest.raises(ElasticsearchError) as refused:
            _ = request.texts(config), request.query(config)
        assert (refused.value.status, str(refused.value)) == (status, message)

    def test_refused(self) -> None:
        assert refusal(lambda: parse_infer(parse_params(""), b""))[1] == "requires body"
        assert refusal(lambda: parse_infer(parse_params(""), b"{}"))[1] == "[docs] must not be null."
        body = encoded({"docs": [], "inference_config": {"text_similarity": {"tokenization": {"bert": {}}}}})
        assert "[tokenization] cannot be changed" in refusal(lambda: parse_infer(parse_params(""), body))[1]


@pytest.mark.parametrize(
    ("text", "as_given", "size", "shown"),
    [
        ("0", "0b", 0, "0b"),
        ("1000b", "1000b", 1000, "1000b"),
        ("1536", None, 0, ""),
        ("10 MB", "10mb", 10 << 20, "10mb"),
        ("1536k", "1536kb", 1536 << 10, "1.5mb"),
        ("2tb", "2tb", 2 << 40, "2tb"),
        ("1.5mb", None, 0, ""),
        ("-5b", None, 0, ""),
        ("9999999999gb", None, 0, ""),
    ],
)
def test_byte_sizes(text: str, as_given: str | None, size: int, shown: str) -> None:
    if as_given is None:
        with pytest.raises(ElasticsearchError, match="failed to parse setting"):
            parse_byte_size(text, "cache_size")
        return
    parsed = parse_byte_size(text, "cache_size")
    assert (parsed.as_given, parsed.bytes, str(parsed)) == (as_given, size, shown)
    assert parse_byte_size(parsed.as_given, "cache_size") == parsed


@given(st.integers(0, 2**62))
def test_a_size_reads_back_as_the_same(count: int) -> None:
    assert parse_byte_size(ByteSize(count).as_given, "x").bytes == count


@given(st.text(min_size=1, max_size=70))
def test_an_id_is_a_safe_name_of_a_file(name: str) -> None:
    if not id_faults("model_id", name):
        assert "/" not in name
        assert "\x00" not in name
        assert name[0] != "."
        assert len(name.encode()) <= 64


@pytest.mark.parametrize(
    "name", ["..", "a/b", "a/../../b", ".hidden", "", "A", "a_", "_a", "a" * 65, "a\x00b", "a\n"]
)
def test_no_ids(name: str) -> None:
    assert id_faults("model_id", name)


@pytest.mark.parametrize(
    ("expression", "name", "matches"),
    [
        ("*", "any", True),
        ("_all", "any", True),
        ("a,b", "b", True),
        ("a,b", "c", False),
        ("cross-*", "cross-encoder", True),
        ("*[a]?", "xa", False),
    ],
)
def test_expressions(expression: str, name: str, matches: bool) -> None:
    assert IdExpression.of(expression).matches(name) is matches


def test_what_an_expression_does_not_match() -> None:
    expression = IdExpression.of("a,b,x*")
    assert expression.unmatched(["a"], allow_no_match=True) == ["b"]
    assert expression.unmatched(["a"], allow_no_match=False) == ["b", "x*"]
    assert str(expression.without(["a"])) == "b,x*"
