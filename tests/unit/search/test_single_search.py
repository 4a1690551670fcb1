"""Which requests take one round trip; all others take a point in time."""

from typing import Any

import pytest

from rerank_proxy.search.ranks.ranking import RankDoc
from rerank_proxy.search.single_search import one_search, one_search_suffices
from tests.support.searches import KNN, STANDARD, request, reranking


@pytest.mark.parametrize(
    ("body", "query"),
    [
        (reranking(), ""),
        (reranking(KNN), ""),
        ({**reranking(), "size": 2, "from": 3, "track_total_hits": 4, "min_score": 1}, ""),
        ({**reranking(), "_source": True, "version": True, "seq_no_primary_term": True}, ""),
        (reranking(filter={"term": {"a": 1}}, min_score=1, rank_window_size=50), ""),
        (reranking({"standard": {"min_score": 1, "filter": [{"term": {"a": 1}}]}}), ""),
        (reranking(), "routing=a&preference=b&typed_keys&pretty&size=1"),
    ],
)
def test_one_search(body: Any, query: str) -> None:
    path = one_search(request(body, query))
    assert path is not None
    assert path.child == path.reranker.child


def named(query: Any) -> Any:
    return {"standard": {"query": query}}


@pytest.mark.parametrize(
    ("body", "query"),
    [
        *(
            ({**reranking(), name: {}}, "")
            for name in (
                "aggs", "aggregations", "collapse", "docvalue_fields", "explain", "ext", "fields", "profile",
                "highlight", "indices_boost", "post_filter", "runtime_mappings", "script_fields", "stats",
                "stored_fields", "suggest", "anything_new",
            )
        ),
        *(
            (reranking(), query)
            for query in ("search_type=dfs_query_then_fetch", "stored_fields=a", "docvalue_fields=a", "foo=1")
        ),
        *(({**reranking(), "_source": filter_}, "") for filter_ in ("a", ["a"], [], {"excludes": ["a"]})),
        *((reranking(), f"_source{end}") for end in ("=a", "_includes=a", "_excludes=a")),
        (reranking(_name="top"), ""),
        (reranking({"standard": {"_name": "child"}}), ""),
        (reranking({"standard": {"sort": ["n"]}}), ""),
        (reranking({"standard": {"collapse": {"field": "n"}}}), ""),
        (reranking(named({"match": {"a": {"query": "x", "_name": "clause"}}})), ""),
        (reranking(named({"nested": {"path": "n", "query": {}, "inner_hits": {}}})), ""),
        (reranking(filter={"term": {"a": {"value": 1, "_name": "f"}}}), ""),
        (reranking({"knn": {**KNN["knn"], "filter": {"term": {"a": {"value": 1, "_name": "f"}}}}}), ""),
        (reranking({"knn": {**KNN["knn"], "_name": "leg"}}), ""),
        (reranking({"standard": {"min_score": 1}}, min_score=0), ""),
        ({**reranking(), "from": 11}, ""),  # may be beyond index.max_result_window
    ],
)  # fmt: skip
def test_a_point_in_time(body: Any, query: str) -> None:
    assert one_search(request(body, query)) is None


def test_the_clients_point_in_time() -> None:
    assert one_search(request({**reranking(STANDARD), "pit": {"id": "x"}}, index=None)) is None


def rrf(*children: Any) -> Any:
    return {"rrf": {"retrievers": list(children)}}


@pytest.mark.parametrize(
    "body",
    [
        reranking(reranking()["retriever"]),
        reranking(rrf(STANDARD, KNN)),
        {"retriever": rrf(STANDARD, reranking()["retriever"])},
        reranking(rank_window_size=0),
    ],
)
def test_larger_trees(body: Any) -> None:
    assert one_search(request(body)) is None


def test_the_leaf_has_all_the_filters() -> None:
    path = one_search(
        request(reranking({"standard": {"filter": {"term": {"a": 1}}}}, filter={"term": {"b": 2}}))
    )
    assert path is not None
    assert path.child.filters == (b'{"term": {"a": 1}}', b'{"term": {"b": 2}}')
    assert path.reranker.filters == ()


@pytest.mark.parametrize(
    ("top", "suffices"),
    [
        ({}, True),
        ({"size": 0}, True),
        ({"from": 9, "track_total_hits": False}, True),
        ({"track_total_hits": True}, True),
        # Elasticsearch reports differently on a search that only counts
        ({"size": 0, "track_total_hits": True}, False),
        ({"size": 0, "track_total_hits": 0}, False),
        ({"from": 2, "track_total_hits": 5}, False),
        ({"from": 1, "track_total_hits": 5}, True),
    ],
)
def test_whether_one_search_suffices(top: dict[str, Any], suffices: bool) -> None:
    ranked = [RankDoc("films", str(place), place, score=2.0 - place) for place in range(2)]
    assert one_search_suffices(request({**reranking(), **top}), ranked) is suffices


def test_ties_need_a_point_in_time() -> None:
    tied = [RankDoc("films", str(place), place, first_score=-place, score=1.0) for place in range(2)]
    assert not one_search_suffices(request(reranking()), tied)
