"""Body and URL together, validated as ``SearchRequest#validate`` does."""

import json
from typing import Any

import pytest

from rerank_proxy.errors import Cause, ElasticsearchError
from rerank_proxy.search.language.request import parse_search
from rerank_proxy.xcontent.params import parse_params
from rerank_proxy.xcontent.source import parse
from tests.support.retrievers import rrf
from tests.support.searches import KNN, STANDARD, request, reranking


def refusal(body: Any, query: str = "", index: str | None = "films") -> Cause:
    with pytest.raises(ElasticsearchError) as raised:
        request(body, query, index)
    assert raised.value.status == 400
    return raised.value.cause


def messages(body: Any, query: str = "", index: str | None = "films") -> str:
    cause = refusal(body, query, index)
    assert cause.type == "action_request_validation_exception"
    return cause.reason.removeprefix("Validation Failed: ")


def test_the_url_overrides_the_body() -> None:
    parsed = request(
        {**reranking(), "size": 3, "from": 1, "track_total_hits": 5},
        "size=4&from=2&track_total_hits=false",
    )
    assert (parsed.size, parsed.from_, parsed.track_total_hits) == (4, 2, False)
    parsed = request({**reranking(), "size": 3, "from": 1, "track_total_hits": 5})
    assert (parsed.size, parsed.from_, parsed.track_total_hits) == (3, 1, 5)


def test_size_is_the_window_by_default() -> None:
    assert request(reranking(rank_window_size=7)).page_size == 7
    assert request({**reranking(rank_window_size=7), "size": 0}).page_size == 0


@pytest.mark.parametrize(
    ("query", "index", "expected"),
    [
        ("", "films", "films"),
        ("", None, None),
        ("index=a", "films", "films"),
        ("index=a,b", None, "a%2Cb"),
        ("index=%3Clogs-%7Bnow%2Fd%7D%3E", None, "%3Clogs-%7Bnow%2Fd%7D%3E"),
        ("index=", None, None),
    ],
)
def test_the_index_is_ready_for_a_path(query: str, index: str | None, expected: str | None) -> None:
    assert request(reranking(), query, index).index == expected


def test_a_body_that_only_mentions_a_reranker() -> None:
    assert (
        parse_search("films", parse_params(""), b'{"query":{"term":{"a":"text_similarity_reranker"}}}')
        is None
    )


@pytest.mark.parametrize(
    ("options", "top", "query", "expected"),
    [
        ({}, {"size": 10}, "", None),
        ({}, {"size": 10, "from": 9}, "", None),
        ({}, {}, "from=500", None),
        ({"rank_window_size": 5}, {}, "", None),
        (
            {},
            {"size": 11},
            "",
            "1: [text_similarity_reranker] requires [rank_window_size: 10] "
            "be greater than or equal to [size: 11];",
        ),
        (
            {"rank_window_size": 5},
            {"size": 1},
            "size=6",
            "1: [text_similarity_reranker] requires [rank_window_size: 5] "
            "be greater than or equal to [size: 6];",
        ),
        ({}, {}, "scroll=1m", "1: cannot specify [text_similarity_reranker] and [scroll];"),
        (
            {"rank_window_size": -1},
            {},
            "",
            "1: [rank_window_size] parameter cannot be negative, found [-1];",
        ),
    ],
)  # fmt: skip
def test_windows_and_scrolls(
    options: dict[str, Any], top: dict[str, Any], query: str, expected: str | None
) -> None:
    body = {**reranking(**options), **top}
    if expected is None:
        request(body, query)
    else:
        assert messages(body, query) == expected


@pytest.mark.parametrize(
    ("top", "query", "names"),
    [
        ({"query": {"match_all": {}}}, "", "query"),
        ({"sort": []}, "", "sort"),
        ({}, "q=a:b", "query"),
        ({}, "sort=n", "sort"),
        ({}, "terminate_after=3", "terminate_after"),
        ({"terminate_after": 3}, "", "terminate_after"),
        (
            {
                "rescore": {},
                "rank": {},
                "sort": "n",
                "terminate_after": 1,
                "search_after": [1],
                "knn": {},
                "query": {},
            },
            "",
            "query, knn, search_after, terminate_after, sort, rank, rescore",
        ),
    ],
)
def test_what_may_not_stand_beside_a_retriever(top: dict[str, Any], query: str, names: str) -> None:
    assert messages({**top, **reranking()}, query) == f"1: cannot specify [retriever] and [{names}];"


@pytest.mark.parametrize(("top", "query"), [({"terminate_after": 0}, ""), ({}, "terminate_after=0")])
def test_a_terminate_after_of_0_is_the_default(top: dict[str, Any], query: str) -> None:
    request({**top, **reranking()}, query)


def test_sub_searches() -> None:
    """As Elasticsearch treats them beside a `standard` retriever."""
    one: dict[str, Any] = {"query": {"match_all": {}}}
    request({**reranking(), "sub_searches": []})
    refused = "1: cannot specify [retriever] and [query];"
    assert messages({**reranking(), "sub_searches": [one]}) == refused
    both = messages({**reranking(), "sub_searches": [one, one]})
    assert both == refused + "2: [sub_searches] requires [rank];"


def test_slice_needs_a_point_in_time() -> None:
    slice_ = {"slice": {"id": 0, "max": 2}}
    assert messages({**reranking(), **slice_}) == (
        "1: [slice] can only be used with [scroll] or [point-in-time] requests;"
    )
    request({**reranking(), **slice_, "pit": {"id": "x"}}, index=None)


def test_a_point_in_time_excludes_what_it_fixes() -> None:
    body = {**reranking(), "pit": {"id": "x"}}
    assert messages(body, "routing=a&preference=b") == (
        "1: [indices] cannot be used with point in time. Do not specify any index with point in time.;"
        "2: [routing] cannot be used with point in time;3: [preference] cannot be used with point in time;"
    )
    assert messages(body, "index=a", index=None).startswith("1: [indices] cannot be used")
    request(body, index=None)


def test_several_failures_are_numbered_tree_first() -> None:
    body = {
        **reranking(rank_window_size=2),
        "size": 3,
        "from": 1,
        "query": {},
        "slice": {},
        "pit": {"id": "x"},
    }
    assert messages(body, "scroll=1m") == (
        "1: [text_similarity_reranker] requires [rank_window_size: 2] be greater than or equal to [size: 3];"
        "2: cannot specify [text_similarity_reranker] and [scroll];"
        "3: cannot specify [retriever] and [query];"
        "4: using [from] is not allowed in a scroll context;"
        "5: using [point in time] is not allowed in a scroll context;"
        "6: [indices] cannot be used with point in time. Do not specify any index with point in time.;"
    )


@pytest.mark.parametrize(
    ("top", "query"),
    [({}, "allow_partial_search_results=true"), ({"min_score": 1}, ""), ({"track_scores": True}, "")],
)
def test_what_newer_versions_allow_is_allowed(top: dict[str, Any], query: str) -> None:
    request({**reranking(), **top}, query)


@pytest.mark.parametrize(
    ("top", "query", "total"),
    [
        ({}, "", None),
        ({}, "rest_total_hits_as_int=true", True),
        ({}, "rest_total_hits_as_int", True),
        ({}, "rest_total_hits_as_int=false", None),
        ({"track_total_hits": False}, "rest_total_hits_as_int=true", False),
        ({"track_total_hits": -1}, "rest_total_hits_as_int=true", False),
        ({"track_total_hits": 5}, "rest_total_hits_as_int=true&track_total_hits=true", True),
        ({}, "track_total_hits=7", 7),
        ({}, "track_total_hits=-1", False),
    ],
)
def test_track_total_hits(top: dict[str, Any], query: str, total: bool | int | None) -> None:
    assert request({**reranking(), **top}, query).track_total_hits is total


@pytest.mark.parametrize(("top", "query"), [({"track_total_hits": 5}, ""), ({}, "&track_total_hits=5")])
def test_a_total_with_a_limit_cannot_be_an_int(top: dict[str, Any], query: str) -> None:
    cause = refusal({**reranking(), **top}, "rest_total_hits_as_int=true" + query)
    assert cause.type == "illegal_argument_exception"
    assert cause.reason == (
        "[rest_total_hits_as_int] cannot be used if the tracking of total hits is not accurate, got 5"
    )


@pytest.mark.parametrize(
    ("query", "reason"),
    [
        ("size=-3", "[size] parameter cannot be negative, found [-3]"),
        ("from=-3", "[from] parameter cannot be negative but was [-3]"),
        ("size=abc", "Failed to parse int parameter [size] with value [abc]"),
        ("track_total_hits", "Failed to parse int parameter [track_total_hits] with value []"),
        ("track_total_hits=x", "Failed to parse int parameter [track_total_hits] with value [x]"),
        ("track_total_hits=-5", "[track_total_hits] parameter must be positive or equals to -1, got -5"),
        (
            "rest_total_hits_as_int=foo",
            "Failed to parse value [foo] as only [true] or [false] are allowed.",
        ),
    ],
)
def test_bad_urls(query: str, reason: str) -> None:
    cause = refusal(reranking(), query)
    assert (cause.type, cause.reason) == ("illegal_argument_exception", reason)


def test_what_is_found_when_the_tree_is_rewritten_is_found_at_run_time() -> None:
    tree = rrf(reranking({"standard": {"search_after": [1]}})["retriever"])
    request({"retriever": tree})
    assert messages({"retriever": tree, "size": 11}).startswith("1: [rrf] requires [rank_window_size: 10]")


def test_the_clients_text_is_kept() -> None:
    text = b"\xef\xbb\xbf " + json.dumps(reranking(), indent=2).encode()
    assert request(text).body == text


def test_a_body_may_come_parsed() -> None:
    root = parse(json.dumps({**reranking(), "size": 4}).encode())
    parsed = parse_search("films", parse_params(""), root)
    assert parsed is not None
    assert parsed.page_size == 4
    assert parsed.body == root.body


def test_types_to_evaluate() -> None:
    body = json.dumps({"retriever": rrf(STANDARD, KNN, rank_window_size=25)}).encode()
    assert parse_search("films", parse_params(""), body) is None
    parsed = parse_search("films", parse_params(""), body, evaluate={"rrf"})
    assert parsed is not None
    assert parsed.page_size == 25
    assert parsed.retriever.TYPE == "rrf"


@pytest.mark.parametrize(
    ("own", "child", "top", "expected"),
    [
        (None, None, None, None),
        (None, None, 2.5, 2.5),
        (0.5, None, 2.5, 0.5),
        (None, 0.0, 2.5, 1.401298464324817e-45),
        (0.0, 3.0, None, 0.0),
        (-1.0, None, 2.5, -1.0),
    ],
)
def test_which_min_score_the_final_search_has(
    own: float | None, child: float | None, top: float | None, expected: float | None
) -> None:
    standard = {**STANDARD["standard"], **({} if child is None else {"min_score": child})}
    body = reranking({"standard": standard}, **({} if own is None else {"min_score": own}))
    if top is not None:
        body["min_score"] = top
    assert request(body).final_min_score == expected


def test_a_min_score_of_knn_counts_too() -> None:
    body = reranking({"knn": {**KNN["knn"], "min_score": 0.9}})
    assert request(body).final_min_score == 1.401298464324817e-45


@pytest.mark.parametrize(
    ("body", "query", "shown"),
    [
        ({}, "", None),
        ({"timeout": "2s"}, "", "2s"),
        ({"timeout": "2s"}, "timeout=150ms", "150ms"),
        ({}, "timeout=1m", "1m"),
        ({"timeout": "-1"}, "", "-1"),
        ({"timeout": -1}, "", "-1"),
        ({"timeout": 0}, "", "0s"),
        ({"timeout": "0s"}, "", "0s"),
    ],
)
def test_the_timeout(body: dict[str, Any], query: str, shown: str | None) -> None:
    timeout = request({**reranking(), **body}, query).timeout
    assert (None if timeout is None else str(timeout)) == shown
