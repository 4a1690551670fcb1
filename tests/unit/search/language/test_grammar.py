"""The body of a search: which ones are evaluated here, and how they are read."""

import json
from typing import Any

import pytest

from rerank_proxy.errors import Cause, ElasticsearchError
from rerank_proxy.search.language.grammar import SearchBody, parse_search_body
from rerank_proxy.search.retrievers.text_similarity_reranker import TextSimilarityReranker
from rerank_proxy.xcontent.source import parse
from tests.support.retrievers import RESCORE, linear, pinned, rescorer, rrf, rule
from tests.support.searches import KNN, RERANKER, STANDARD, reranking


def read(body: Any, *evaluate: str) -> SearchBody:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    parsed = parse_search_body(data, evaluate)
    assert parsed is not None
    return parsed


def refusal(body: Any) -> Cause:
    with pytest.raises(ElasticsearchError) as raised:
        parse_search_body(body if isinstance(body, bytes) else json.dumps(body).encode())
    assert raised.value.status == 400
    return raised.value.cause


def test_a_bare_body() -> None:
    body = read(reranking())
    assert (body.size, body.from_, body.track_total_hits, body.min_score) == (None, None, None, None)
    assert body.opaque_members == {}


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
    assert body.opaque_members == {"aggs": b'{"a": {"max": {"field": "n"}}}', "_source": b"false"}


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
    retriever = read(b"// find\n" + body.encode() + b"/* it */").retriever
    assert isinstance(retriever, TextSimilarityReranker)
    assert retriever.field == "text"


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
def test_a_mention_is_not_evaluated_here(body: Any) -> None:
    assert parse_search_body(json.dumps(body).encode()) is None


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
        ({"timeout": None}, "parsing_exception", "Unknown key for a VALUE_NULL in [timeout]."),
        (
            {"timeout": 5},
            "illegal_argument_exception",
            "failed to parse setting [timeout] with value [5] as a time value: unit is missing or "
            "unrecognized",
        ),
    ],
)
def test_members_of_the_body_that_are_refused(member: dict[str, Any], type_: str, reason: str) -> None:
    cause = refusal({**member, **reranking()})
    assert (cause.type, cause.reason) == (type_, reason)


@pytest.mark.parametrize(
    ("body", "first"),
    [
        (b'{"size":-1,"retriever":{"text_similarity_reranker":{}}}', "[size] parameter"),
        (b'{"retriever":{"text_similarity_reranker":{}},"size":-1}', "Required [retriever"),
        (b'{"from":"x","min_score":[],"retriever":{"text_similarity_reranker":1}}', "For input string"),
    ],
)
def test_the_first_fault_in_the_text_counts(body: bytes, first: str) -> None:
    assert refusal(body).reason.startswith(first)


QUERIES: dict[str, Any] = {"query": {"match_all": {}}, "sub_searches": [{"query": {"match_all": {}}}]}


@pytest.mark.parametrize(
    ("members", "refused"),
    [
        (QUERIES, "cannot specify field [sub_searches] and field [query]"),
        (dict(reversed(QUERIES.items())), "cannot specify field [query] and field [sub_searches]"),
        ({**QUERIES, "sub_searches": []}, "cannot specify field [sub_searches] and field [query]"),
        ({"sub_searches": [], "query": {}}, None),
        ({"sub_searches": [1], "query": 5}, None),  # which upstream refuses
        ({"query": {}, "sub_searches": 5}, None),
    ],
)
def test_the_second_of_two_places_for_queries_is_refused(members: Any, refused: str | None) -> None:
    body = reranking() | members
    if refused is None:
        assert read(body).opaque_members.keys() == members.keys()
    else:
        assert refusal(body) == Cause("illegal_argument_exception", refused)


@pytest.mark.parametrize(
    ("tree", "evaluate", "ours"),
    [
        (reranking()["retriever"], (), True),
        (rule(reranking()["retriever"]), (), True),
        (rrf(STANDARD, KNN), (), False),
        (rrf(STANDARD, KNN), ("rrf",), True),
        (rrf(STANDARD, KNN), ("linear", "pinned"), False),
        (rescorer(rrf(STANDARD)), ("rrf",), True),
        (rrf(rescorer()), ("rrf",), True),
        (rescorer(), ("rrf",), False),
        (rule(rrf(STANDARD)), ("rrf",), False),
        (linear(rrf(STANDARD), pinned()), ("rrf", "linear"), True),
        (linear(rrf(STANDARD), pinned()), ("rrf", "linear", "pinned"), True),
        (STANDARD, ("rrf", "standard"), False),
        ({"unknown": {"retriever": rrf(STANDARD)}}, ("linear",), False),
    ],
)
def test_which_searches_are_evaluated_here(tree: Any, evaluate: tuple[str, ...], ours: bool) -> None:
    body = json.dumps({"retriever": tree, "size": 3}).encode()
    assert (parse_search_body(body, evaluate) is not None) is ours


def test_a_misspelt_retriever_is_reported_in_a_tree_that_is_evaluated_here() -> None:
    body = json.dumps({"retriever": rrf({"standrd": {}})}).encode()
    assert parse_search_body(body) is None
    with pytest.raises(ElasticsearchError, match="failed to parse field"):
        parse_search_body(body, ["rrf"])


def test_a_parsed_body() -> None:
    root = parse(json.dumps(reranking()).encode())
    assert parse_search_body(root) == parse_search_body(root.raw)


def test_a_rescore_of_the_body_is_not_a_retrievers() -> None:
    assert read({**reranking(), "rescore": RESCORE}).opaque_members == {
        "rescore": json.dumps(RESCORE).encode()
    }
