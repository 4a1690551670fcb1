"""From a body to a retriever: every key, its type and default, and native's complaints."""

import json
from typing import Any

import pytest

from proxy.errors import Cause, ElasticsearchError
from proxy.search.grammar import SearchBody, names_reranker, parse_search_body
from proxy.search.retrievers import KnnRetriever, StandardRetriever
from proxy.search.source import parse
from tests.support.searches import KNN, QUERY, RERANKER, STANDARD, reranking


def read(body: Any) -> SearchBody:
    parsed = parse_search_body(body if isinstance(body, bytes) else json.dumps(body).encode())
    assert parsed is not None
    return parsed


def refusal(body: Any) -> Cause:
    with pytest.raises(ElasticsearchError) as raised:
        parse_search_body(body if isinstance(body, bytes) else json.dumps(body).encode())
    assert raised.value.status == 400
    return raised.value.cause


def chain(cause: Cause | None) -> list[tuple[str, str]]:
    found = []
    while cause is not None:
        found.append((cause.type, cause.reason))
        cause = cause.caused_by
    return found


def test_defaults() -> None:
    body = read(reranking())
    retriever = body.retriever
    assert retriever.inference_id == ".rerank-v1-elasticsearch"
    assert retriever.rank_window_size == 10
    assert retriever.allow_rerank_failures is False
    assert (retriever.filters, retriever.min_score, retriever.name) == ((), None, None)
    assert (body.size, body.from_, body.track_total_hits, body.min_score) == (None, None, None, None)
    assert body.others == {}
    child = retriever.child
    assert isinstance(child, StandardRetriever)
    assert json.loads(child.query or b"") == QUERY
    assert (child.sort, child.collapse, child.search_after, child.terminate_after) == (None, None, None, 0)


def test_every_key_of_the_reranker() -> None:
    retriever = read(
        reranking(
            inference_id="mine",
            field="a.b",
            inference_text="",
            rank_window_size="50",
            allow_rerank_failures="true",
            filter=[{"term": {"a": 1}}, {"term": {"b": 2}}],
            min_score="0.5",
            _name="top",
        )
    ).retriever
    assert (retriever.inference_id, retriever.field, retriever.inference_text) == ("mine", "a.b", "")
    assert (retriever.rank_window_size, retriever.allow_rerank_failures) == (50, True)
    assert retriever.filters == (b'{"term": {"a": 1}}', b'{"term": {"b": 2}}')
    assert (retriever.min_score, retriever.name) == (0.5, "top")


def test_every_key_of_standard() -> None:
    standard = {
        "query": {"match_all": {}},
        "search_after": [1],
        "terminate_after": 3,
        "sort": [{"n": "asc"}],
        "collapse": {"field": "n"},
        "min_score": 1,
        "filter": {"term": {"a": 1}},
        "_name": "child",
    }
    child = read(reranking({"standard": standard})).retriever.child
    assert isinstance(child, StandardRetriever)
    assert (child.query, child.search_after, child.terminate_after) == (b'{"match_all": {}}', b"[1]", 3)
    assert (child.sort, child.collapse) == (b'[{"n": "asc"}]', b'{"field": "n"}')
    assert (child.min_score, child.filters, child.name) == (1.0, (b'{"term": {"a": 1}}',), "child")


@pytest.mark.parametrize("sort", ["n", {"n": "asc"}, ["n", "_score"]])
def test_sort_takes_strings_objects_and_arrays(sort: Any) -> None:
    child = read(reranking({"standard": {"sort": sort}})).retriever.child
    assert isinstance(child, StandardRetriever)
    assert json.loads(child.sort or b"") == sort


def test_every_key_of_knn() -> None:
    section = {
        "field": "v",
        "k": "4",
        "num_candidates": 6,
        "query_vector": [0.1] * 20,
        "visit_percentage": 0.5,
        "similarity": 0.2,
        "rescore_vector": {"oversample": 2},
    }
    child = read(
        reranking({"knn": {**section, "filter": [{"term": {"a": 1}}], "min_score": 0.1, "_name": "leg"}})
    ).retriever.child
    assert isinstance(child, KnnRetriever)
    assert {name: json.loads(raw) for name, raw in child.section.items()} == section
    assert (child.filters, child.name) == ((b'{"term": {"a": 1}}',), "leg")
    assert child.min_score == pytest.approx(0.1)


def test_the_body_around_it() -> None:
    body = read(
        {
            **reranking(),
            "size": "5",
            "from": 2.9,
            "track_total_hits": 3,
            "min_score": 1,
            "aggs": {"a": {"max": {"field": "n"}}},
            "_source": False,
        }
    )
    assert (body.size, body.from_, body.track_total_hits, body.min_score) == (5, 2, 3, 1.0)
    assert body.others == {"aggs": b'{"a": {"max": {"field": "n"}}}', "_source": b"false"}


@pytest.mark.parametrize(
    ("total", "read_as"),
    [(True, True), ("false", False), (-1, False), (0, 0), ("7", 7), (2**31 - 1, True), (1.5, 1)],
)
def test_track_total_hits(total: Any, read_as: bool | int) -> None:
    value = read({**reranking(), "track_total_hits": total}).track_total_hits
    assert value == read_as
    assert type(value) is type(read_as)


def test_names_may_be_escaped_and_comments_stand_anywhere() -> None:
    body = json.dumps(reranking()).replace("text_similarity_reranker", "text\\u005fsimilarity_reranker")
    assert read(b"// find\n" + body.encode() + b"/* it */").retriever.field == "text"


def test_an_unpaired_surrogate_in_the_question_is_replaced() -> None:
    assert read(reranking(inference_text="a\ud800b")).retriever.inference_text == "a\ufffdb"


@pytest.mark.parametrize(
    "body",
    [
        {"query": {"match": {"text": RERANKER}}},
        {"query": {"term": {RERANKER: 1}}},
        {"retriever": {"standard": {"query": {"match": {"text": RERANKER}}}}},
        {"retriever": {"standard": {"query": {"match": {RERANKER: "x"}}}}},
        {"retriever": {"standard": {"_name": RERANKER}}},
        {"retriever": RERANKER},
        {"retriever": [{RERANKER: {}}]},
        {"retriever": {"rrf": {"retrievers": [STANDARD, KNN], "query": RERANKER}}},
        {"_source": [RERANKER]},
        [RERANKER],
        RERANKER,
    ],
)
def test_a_mention_is_none_of_ours(body: Any) -> None:
    assert parse_search_body(json.dumps(body).encode()) is None


@pytest.mark.parametrize(
    ("key", "value", "token"),
    [
        ("field", 1, "VALUE_NUMBER"),
        ("inference_text", None, "VALUE_NULL"),
        ("inference_id", True, "VALUE_BOOLEAN"),
        ("rank_window_size", True, "VALUE_BOOLEAN"),
        ("rank_window_size", [1], "START_ARRAY"),
        ("allow_rerank_failures", 1, "VALUE_NUMBER"),
        ("filter", "x", "VALUE_STRING"),
        ("filter", None, "VALUE_NULL"),
        ("min_score", {}, "START_OBJECT"),
        ("_name", 1, "VALUE_NUMBER"),
        ("retriever", [STANDARD], "START_ARRAY"),
        ("retriever", "standard", "VALUE_STRING"),
        ("chunk_rescorer", 1, "VALUE_NUMBER"),
    ],
)
def test_wrong_types(key: str, value: Any, token: str) -> None:
    options = {**reranking()["retriever"][RERANKER], key: value}
    text = json.dumps({"retriever": {RERANKER: options}})
    at = text.index(f'"{key}": ') + len(f'"{key}": ') + 1
    if key == "retriever":
        at = text.index('"retriever": ', 5) + len('"retriever": ') + 1
    cause = refusal(text.encode())
    assert cause.type == "x_content_parse_exception"
    assert cause.reason == f"[1:{at}] [{RERANKER}] {key} doesn't support values of type: {token}"
    assert cause.root_causes() == [cause]


@pytest.mark.parametrize(
    ("unknown", "hint"),
    [
        ("fild", " did you mean [field]?"),
        ("rank_window", " did you mean [rank_window_size]?"),
        ("inference_tex", " did you mean any of [inference_text, inference_id]?"),
        ("foo", ""),
    ],
)
def test_unknown_keys(unknown: str, hint: str) -> None:
    cause = refusal({"retriever": {RERANKER: {unknown: 1}}})
    assert cause.type == "x_content_parse_exception"
    assert cause.reason == f"[1:45] [{RERANKER}] unknown field [{unknown}]{hint}"


def test_missing_keys() -> None:
    cause = refusal({"retriever": {RERANKER: {}}})
    assert chain(cause) == [
        ("illegal_argument_exception", "Required [retriever, inference_text, field]"),
    ]
    cause = refusal({"retriever": {RERANKER: {"field": "text", "retriever": STANDARD}}})
    assert cause.reason == "Required [inference_text]"


@pytest.mark.parametrize(
    ("child", "types"),
    [
        (
            {"standrd": {}},
            ["x_content_parse_exception", "x_content_parse_exception", "named_object_not_found_exception"],
        ),
        (
            {},
            ["x_content_parse_exception", "x_content_parse_exception", "named_object_not_found_exception"],
        ),
    ],
)
def test_unknown_and_empty_children(child: Any, types: list[str]) -> None:
    cause = refusal(reranking(child))
    found = chain(cause)
    assert [type_ for type_, _ in found] == types
    name = next(iter(child), "retriever")
    assert found[0][1].endswith(f"[{RERANKER}] failed to parse field [retriever]")
    assert found[1][1].endswith(f"[retriever] failed to parse field [{name}]")
    assert found[2][1].endswith(f"unknown field [{name}]")
    assert [root.type for root in cause.root_causes()] == ["named_object_not_found_exception"]


def test_errors_of_a_child_are_chained() -> None:
    found = chain(refusal(reranking({"standard": {"querry": {}}})))
    assert [type_ for type_, _ in found] == ["x_content_parse_exception"] * 3
    assert [reason.partition("] ")[2] for _, reason in found] == [
        f"[{RERANKER}] failed to parse field [retriever]",
        "[retriever] failed to parse field [standard]",
        "[standard] unknown field [querry] did you mean [query]?",
    ]
    found = chain(refusal(reranking({"knn": {"k": 1}})))
    assert found[-1] == ("illegal_argument_exception", "Required [field]")


def test_two_children_are_refused() -> None:
    cause = refusal(reranking({**STANDARD, **KNN}))
    assert "malformed retriever, expected [END_OBJECT] but found [FIELD_NAME]" in chain(cause)[-1][1]


@pytest.mark.parametrize("retriever", [{RERANKER: 1}, {RERANKER: "x"}, {RERANKER: None}, {RERANKER: []}])
def test_a_reranker_that_is_no_object(retriever: Any) -> None:
    cause = refusal({"retriever": retriever})
    assert cause.type == "parsing_exception"
    assert cause.reason == f"[{RERANKER}] retriever malformed, no [START_OBJECT] after retriever name"
    assert cause.metadata == {"line": 1, "col": 44}


def test_two_names_at_the_top() -> None:
    valid = reranking()["retriever"]
    for retriever, first in (({**valid, **STANDARD}, RERANKER), ({**STANDARD, **valid}, "standard")):
        cause = refusal({"retriever": retriever})
        assert cause.type == "parsing_exception"
        assert cause.reason == f"[{first}] malformed retriever, expected [END_OBJECT] but found [FIELD_NAME]"


def test_an_unknown_retriever_around_it() -> None:
    cause = refusal({"retriever": {"rescrer": reranking()}})
    assert cause.reason == "unknown retriever [rescrer] did you mean [rescorer]?"
    assert cause.root_causes() == [cause]
    assert chain(cause)[1] == ("named_object_not_found_exception", "[1:27] unknown field [rescrer]")


RRF = {"rrf": {"retrievers": [reranking()["retriever"], {"retriever": STANDARD}]}}


@pytest.mark.parametrize(
    ("body", "what"),
    [
        (reranking(chunk_rescorer={"size": 1}), "[chunk_rescorer] of [text_similarity_reranker]"),
        (reranking(reranking()["retriever"]), f"[{RERANKER}] inside of [{RERANKER}]"),
        (reranking({"rrf": {"retrievers": []}}), f"[rrf] inside of [{RERANKER}]"),
        (reranking({"linear": {}}), f"[linear] inside of [{RERANKER}]"),
        (reranking({"rescorer": {}}), f"[rescorer] inside of [{RERANKER}]"),
        (reranking({"pinned": {}}), f"[pinned] inside of [{RERANKER}]"),
        ({"retriever": RRF}, f"[{RERANKER}] inside of [rrf]"),
        (
            {"retriever": {"linear": {"retrievers": [{"retriever": reranking()["retriever"], "weight": 2}]}}},
            f"[{RERANKER}] inside of [linear]",
        ),
        ({"retriever": {"pinned": {"ids": ["1"], **reranking()}}}, f"[{RERANKER}] inside of [pinned]"),
        ({"retriever": {"rescorer": {"retriever": RRF}}}, f"[{RERANKER}] inside of [rescorer]"),
    ],
)
def test_what_is_not_supported_is_named(body: Any, what: str) -> None:
    cause = refusal(body)
    assert what in chain(cause)[-1][1]
    assert chain(cause)[-1][1].endswith("is not supported by rerank-proxy yet")


def test_deep_nesting_is_no_crash() -> None:
    depth = 490
    nested = b'{"x":{"retriever":' * depth + json.dumps(reranking()["retriever"]).encode() + b"}}" * depth
    cause = refusal(b'{"retriever":' + nested + b"}")
    assert "unknown retriever [x]" in cause.reason


@pytest.mark.parametrize(
    ("member", "type_", "reason"),
    [
        (
            {"size": -1},
            "illegal_argument_exception",
            "[size] parameter cannot be negative, found [-1]",
        ),
        ({"from": -1}, "illegal_argument_exception", "[from] parameter cannot be negative but was [-1]"),
        ({"size": "abc"}, "number_format_exception", 'For input string: "abc"'),
        ({"min_score": "abc"}, "number_format_exception", 'For input string: "abc"'),
        ({"size": None}, "parsing_exception", "Unknown key for a VALUE_NULL in [size]."),
        ({"size": [1]}, "parsing_exception", "Unknown key for a START_ARRAY in [size]."),
        (
            {"track_total_hits": {}},
            "parsing_exception",
            "Unknown key for a START_OBJECT in [track_total_hits].",
        ),
        (
            {"track_total_hits": -5},
            "illegal_argument_exception",
            "[track_total_hits] parameter must be positive or equals to -1, got -5",
        ),
    ],
)
def test_members_of_the_body_that_are_refused(member: dict[str, Any], type_: str, reason: str) -> None:
    cause = refusal({**member, **reranking()})
    assert (cause.type, cause.reason) == (type_, reason)


@pytest.mark.parametrize(
    "document",
    [
        reranking(),
        {"requests": [{"id": "q", "request": reranking()}]},
        {"source": reranking(), "params": {}},
        {"retriever": RRF},
    ],
)
def test_a_reranker_anywhere_in_a_document_is_found(document: Any) -> None:
    assert names_reranker(parse(json.dumps(document).encode()))


@pytest.mark.parametrize(
    "document",
    [
        {"query": {"term": {RERANKER: 1}}},
        {"index": RERANKER},
        {"retriever": {"standard": {"query": {RERANKER: {}}}}},
    ],
)
def test_a_mention_in_a_document_is_not(document: Any) -> None:
    assert not names_reranker(parse(json.dumps(document).encode()))
