"""Totals, pages, `min_score` and aggregations of reranked searches."""

from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from testbed import RunningElasticsearch
from tests.support.crime_indices import BY_N, GENRES, LOGITS, NEAREST, WINDOW, indexed_films, top5
from tests.support.search_app import BOTH_PATHS, TWO_STAGES, Answer, SearchApp, search_app
from tests.support.searches import reranking


@pytest.fixture
async def app(elasticsearch: RunningElasticsearch) -> AsyncIterator[SearchApp]:
    async with search_app(elasticsearch.url) as serving:
        yield serving


@pytest.fixture(scope="module")
def films(elasticsearch: RunningElasticsearch) -> Iterator[str]:
    with indexed_films(elasticsearch.server) as name:
        yield name


@BOTH_PATHS
@pytest.mark.parametrize(
    ("top", "ids", "max_score"),
    [
        ({"size": 2}, "7 10", 4.0),
        ({"from": 1, "size": 2}, "10 11", 4.0),
        ({"from": 3}, "9 8", 4.0),
        ({"from": 4, "size": 5}, "8", 4.0),
        ({"from": 5}, "", None),
        ({"from": 50}, "", None),
        ({"size": 0}, "", None),
    ],
)
async def test_paging(
    app: SearchApp, films: str, path: str, top: dict[str, Any], ids: str, max_score: float | None
) -> None:
    answer = await app.search(films, {**top5(), **top}, path)
    assert answer.ids == ids.split()
    assert answer.json()["hits"]["max_score"] == max_score
    assert answer.total == {"value": 12, "relation": "eq"}


@BOTH_PATHS
@pytest.mark.parametrize(
    ("track", "total"),
    [
        (None, {"value": 12, "relation": "eq"}),
        (True, {"value": 12, "relation": "eq"}),
        (False, None),
        (-1, None),
        (0, {"value": 0, "relation": "gte"}),
        (3, {"value": 3, "relation": "gte"}),
        (5, {"value": 5, "relation": "eq"}),
        (6, {"value": 6, "relation": "gte"}),
        (12, {"value": 12, "relation": "eq"}),
        (2147483647, {"value": 12, "relation": "eq"}),
    ],
)
@pytest.mark.every_version
async def test_totals(app: SearchApp, films: str, path: str, track: Any, total: Any) -> None:
    body = top5() if track is None else {**top5(), "track_total_hits": track}
    answer = await app.search(films, body, path)
    assert answer.total == total
    assert answer.ids == ["7", "10", "11", "9", "8"]
    if track is not None:
        by_url = await app.search(films, top5(), f"track_total_hits={str(track).lower()}&{path}")
        assert by_url.without_took == answer.without_took


@BOTH_PATHS
@pytest.mark.parametrize(
    ("track", "total"), [(None, 12), ("track_total_hits=false", -1), ("track_total_hits=true", 12)]
)
async def test_totals_as_int(app: SearchApp, films: str, path: str, track: str | None, total: int) -> None:
    answer = await app.search(films, top5(), f"rest_total_hits_as_int=true&{track or ''}&{path}")
    assert answer.total == total


MIN_SCORES = [
    # the reranker's own: compared with raw scores
    ({"min_score": 1.0}, {}, {}, "7 10 11", {"value": 3, "relation": "eq"}),
    ({"min_score": 1.5}, {}, {}, "7 10", {"value": 2, "relation": "eq"}),
    ({"min_score": 0}, {}, {}, "7 10 11 9", {"value": 12, "relation": "eq"}),
    ({"min_score": -2}, {}, {}, "7 10 11 9 8", {"value": 12, "relation": "eq"}),
    ({"min_score": 99}, {}, {}, "", {"value": 0, "relation": "eq"}),
    # the child's: compared with first-stage scores, ln(2 + n); removes the tail
    ({}, {"min_score": 2.45}, {}, "10 11", {"value": 2, "relation": "eq"}),
    ({}, {"min_score": 0}, {}, "7 10 11 9 8", {"value": 5, "relation": "eq"}),
    # the top-level one: compared with reranked scores
    ({}, {}, {"min_score": 1.5}, "7 10 11 9", {"value": 4, "relation": "eq"}),
    ({}, {}, {"min_score": 0}, "7 10 11 9 8", {"value": 12, "relation": "eq"}),
    ({}, {}, {"min_score": 99}, "", {"value": 0, "relation": "eq"}),
    ({}, {}, {"min_score": 1.5, "track_total_hits": 2}, "7 10 11 9", {"value": 2, "relation": "gte"}),
    ({}, {}, {"min_score": 1.5, "from": 3}, "9", {"value": 4, "relation": "eq"}),
    ({}, {}, {"min_score": 1e39}, "", {"value": 0, "relation": "eq"}),
    # a retriever's overwrites it
    ({"min_score": 0}, {}, {"min_score": 2.5}, "7 10 11 9", {"value": 12, "relation": "eq"}),
    ({}, {"min_score": 0}, {"min_score": 2.5}, "7 10 11 9 8", {"value": 5, "relation": "eq"}),
]


@BOTH_PATHS
@pytest.mark.parametrize(("own", "of_child", "top", "ids", "total"), MIN_SCORES)
async def test_min_scores(
    app: SearchApp,
    films: str,
    path: str,
    own: dict[str, Any],
    of_child: dict[str, Any],
    top: dict[str, Any],
    ids: str,
    total: Any,
) -> None:
    child = {"standard": {"query": BY_N, **of_child}}
    answer = await app.search(films, {**reranking(child, rank_window_size=WINDOW, **own), **top}, path)
    assert answer.ids == ids.split()
    assert answer.total == total


def genres(answer: Answer) -> dict[str, int]:
    buckets = answer.json()["aggregations"]["genres"]["buckets"]
    return {bucket["key"]: bucket["doc_count"] for bucket in buckets}


@pytest.mark.parametrize("top", [{}, {"track_total_hits": False}, {"size": 0}, {"from": 3}])
@pytest.mark.every_version
async def test_aggregations_see_all_matches(app: SearchApp, films: str, top: dict[str, Any]) -> None:
    answer = await app.search(films, {**top5(), **GENRES, **top})
    assert genres(answer) == {"a": 4, "b": 4, "c": 4}


async def test_aggregations_with_min_score_see_what_passes(app: SearchApp, films: str) -> None:
    assert genres(await app.search(films, {**top5(min_score=1.0), **GENRES})) == {"b": 2, "c": 1}
    assert genres(await app.search(films, {**top5(), **GENRES, "min_score": 1.6})) == {"b": 2, "c": 1}


async def test_filters_narrow_hits_totals_and_aggregations(app: SearchApp, films: str) -> None:
    filters = {"filter": [{"range": {"n": {"lt": 11}}}]}
    child = {"standard": {"query": BY_N, "filter": {"terms": {"genre": ["b", "c"]}}}}
    body = {**reranking(child, rank_window_size=3, **filters), **GENRES}
    answer = await app.search(films, body)
    assert sorted(app.engine.asked[-1]) == sorted(f"crime {LOGITS[n]}" for n in (10, 8, 7))
    assert answer.ids == ["7", "10", "8"]
    assert answer.total == {"value": 7, "relation": "eq"}
    assert genres(answer) == {"b": 4, "c": 3}
    one = await app.search(films, reranking(child, rank_window_size=3, **filters))
    assert (one.ids, one.total) == (answer.ids, answer.total)


async def test_filters_without_a_query(app: SearchApp, films: str) -> None:
    body = reranking({"standard": {"filter": {"term": {"genre": "d"}}}}, rank_window_size=3)
    for path in ("", TWO_STAGES):
        answer = await app.search(films, body, path)
        assert answer.scores == [101.0] * 3
        assert answer.total == {"value": 4, "relation": "eq"}


async def test_aggregations_over_a_vector_search_see_what_it_returned(app: SearchApp, films: str) -> None:
    assert genres(await app.search(films, {**reranking(NEAREST), **GENRES})) == {"a": 1, "b": 1, "c": 2}


@BOTH_PATHS
@pytest.mark.parametrize("top", [{}, {"track_total_hits": False}, {"size": 0}])
@pytest.mark.every_version
async def test_no_index_at_all(
    app: SearchApp, elasticsearch: RunningElasticsearch, path: str, top: dict[str, Any]
) -> None:
    answer = await app.search("none-such-*", {**top5(), **top}, path)
    query = {"query": BY_N, **top}
    plain = elasticsearch.server.call("POST", "/none-such-*/_search", query).json()
    assert {**answer.json(), "took": 0} == {**plain, "took": 0}


@BOTH_PATHS
async def test_nothing_matches(app: SearchApp, films: str, path: str) -> None:
    child = {"standard": {"query": {"match": {"text": "romance"}}}}
    answer = await app.search(films, reranking(child), path)
    assert (answer.ids, answer.total) == ([], {"value": 0, "relation": "eq"})
    assert answer.json()["hits"]["max_score"] is None
    assert app.engine.asked == []
    unknown = await app.search(films, reranking(child, inference_id="nope"), path)
    assert unknown.status == 404  # looked up even so
