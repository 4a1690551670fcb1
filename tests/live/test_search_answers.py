"""What a reranked search answers, in front of a real Elasticsearch, compared with native's rules.

Twelve films match "crime". The child ranks them by `n`, so that a window of five holds 11, 10, 9, 8 and 7;
the reranker's score of a film is the number at the end of its text.
"""

import asyncio
import json
import math
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import pytest

from testbed import RunningElasticsearch
from tests.live.conftest import MakeIndex
from tests.support.search_app import TWO_STAGES, Answer, SearchApp, search_app
from tests.support.searches import reranking

WINDOW: Final = 5
LOGITS: Final = [0.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, -1.5, 0.5, 2.0, 1.0]
"""Of films 0 … 11. Film 1 would win, were it in the window."""

MAPPINGS: Final = {
    "properties": {
        "text": {"type": "text"},
        "title": {"type": "keyword", "ignore_above": 6, "store": True},
        "n": {"type": "long"},
        "genre": {"type": "keyword"},
        "v": {
            "type": "dense_vector",
            "dims": 2,
            "similarity": "l2_norm",
            "index_options": {"type": "flat"},  # exact, without quantization
        },
    }
}
SHARDS: Final = {"number_of_shards": 2}

BY_N: Final = {
    "function_score": {
        "query": {"match": {"text": "crime"}},
        "field_value_factor": {"field": "n", "modifier": "ln2p"},
        "boost_mode": "replace",
    }
}
CHILD: Final = {"standard": {"query": BY_N}}
NEAREST: Final = {"knn": {"field": "v", "query_vector": [11, 0], "k": 4, "num_candidates": 20}}
"""Films 11, 10, 9 and 8."""

BOTH_PATHS: Final = pytest.mark.parametrize("path", ["", TWO_STAGES], ids=["one search", "point in time"])


def film(n: int) -> dict[str, Any]:
    return {
        "text": f"crime {LOGITS[n]}",
        "title": f"film {n:02}",
        "n": n,
        "genre": "abc"[n % 3],
        "v": [n, 0],
    }


DOCUMENTS: Final = [
    *map(film, range(12)),
    *({"text": "peace 100", "n": 50, "genre": "d", "v": [99, 99]} for _ in range(4)),
]


def top5(**options: Any) -> dict[str, Any]:
    return reranking(CHILD, rank_window_size=WINDOW, **options)


def score(raw: float) -> Any:
    """The normalised score of a logit that is exact in float32."""
    return raw + 1 if raw >= 0 else pytest.approx(math.exp(raw), rel=1e-6)


@pytest.fixture
async def app(elasticsearch: RunningElasticsearch) -> AsyncIterator[SearchApp]:
    async with search_app(elasticsearch.url) as serving:
        yield serving


@pytest.fixture(scope="module")
def films(elasticsearch: RunningElasticsearch) -> Iterator[str]:
    """Nobody changes it, so that one serves all tests of this file."""
    name = f"films-{uuid.uuid4().hex[:12]}"
    call = elasticsearch.server.call
    settings = {**SHARDS, "number_of_replicas": 0}
    assert call("PUT", f"/{name}", {"settings": settings, "mappings": MAPPINGS}).status == 200
    lines = b"".join(
        json.dumps(line).encode() + b"\n"
        for place, document in enumerate(DOCUMENTS)
        for line in ({"index": {"_id": str(place)}}, document)
    )
    assert call("POST", f"/{name}/_bulk?refresh=true", lines).json()["errors"] is False
    yield name
    call("DELETE", f"/{name}")


@BOTH_PATHS
@pytest.mark.every_version
async def test_the_window_is_reranked(app: SearchApp, films: str, path: str) -> None:
    answer = await app.search(films, top5(), path)
    assert answer.ids == ["7", "10", "11", "9", "8"]
    assert answer.scores == [4.0, 3.0, 2.0, 1.5, score(-1.5)]
    assert list(answer.json()) == ["took", "timed_out", "_shards", "hits"]
    assert answer.json()["_shards"] == {"total": 2, "successful": 2, "skipped": 0, "failed": 0}
    hits = answer.json()["hits"]
    assert list(hits) == ["total", "max_score", "hits"]
    assert hits["max_score"] == 4.0
    source = hits["hits"][0]["_source"]
    assert source.items() <= film(7).items()  # Elasticsearch 9.2 and later do not show vectors
    first = {"_index": films, "_id": "7", "_score": 4.0, "_ignored": ["title"], "_source": source}
    assert hits["hits"][0] == first
    assert answer.headers["X-elastic-product"] == "Elasticsearch"
    assert answer.headers["X-Rerank"].startswith(
        "applied; endpoint=.rerank-v1-elasticsearch; model=numbers; window=5; scored=5; "
    )
    assert (len(app.upstream.sent) == 1) is (path == "")


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


GENRES: Final = {"aggs": {"genres": {"terms": {"field": "genre", "order": {"_key": "asc"}}}}}


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


@BOTH_PATHS
@pytest.mark.parametrize(
    ("options", "top", "ids", "total"),
    [
        ({}, {}, "10 11 9 8", {"value": 4, "relation": "eq"}),
        ({"rank_window_size": 2}, {}, "10 11", {"value": 2, "relation": "eq"}),
        ({}, {"track_total_hits": 3}, "10 11 9 8", {"value": 3, "relation": "gte"}),
        ({}, {"track_total_hits": False}, "10 11 9 8", None),
        ({"filter": {"term": {"genre": "c"}}}, {}, "2 5 11 8", {"value": 4, "relation": "eq"}),
        ({"min_score": 0.5}, {}, "10 11 9", {"value": 3, "relation": "eq"}),
        ({}, {"min_score": 2}, "10 11", {"value": 2, "relation": "eq"}),
    ],
)
@pytest.mark.every_version
async def test_vector_search(
    app: SearchApp, films: str, path: str, options: dict[str, Any], top: dict[str, Any], ids: str, total: Any
) -> None:
    answer = await app.search(films, {**reranking(NEAREST, **options), **top}, path)
    assert answer.ids == ids.split()
    assert answer.total == total


async def test_aggregations_over_a_vector_search_see_what_it_returned(app: SearchApp, films: str) -> None:
    assert genres(await app.search(films, {**reranking(NEAREST), **GENRES})) == {"a": 1, "b": 1, "c": 2}


@pytest.mark.every_version
async def test_highlight(app: SearchApp, films: str) -> None:
    highlight = {"highlight": {"fields": {"text": {}}}, "size": 1}
    shown = await app.search(films, {**top5(), **highlight})
    assert shown.hits[0]["highlight"] == {"text": ["<em>crime</em> 3.0"]}
    without_tail = await app.search(films, {**top5(), **highlight, "track_total_hits": False})
    assert "highlight" not in without_tail.hits[0]


@pytest.mark.every_version
async def test_collapse(app: SearchApp, films: str) -> None:
    """Groups reach beyond the window: their best unranked document shows with a score of 0."""
    body = {**reranking(CHILD, rank_window_size=2), "collapse": {"field": "genre"}}
    answer = await app.search(films, body)
    assert answer.ids == ["10", "11"]
    assert answer.total == {"value": 12, "relation": "eq"}
    assert [hit["fields"]["genre"] for hit in answer.hits] == [["b"], ["c"]]
    same = {
        **reranking({"standard": {"query": BY_N, "filter": {"terms": {"n": [11, 8, 6]}}}}, rank_window_size=2)
    }
    answer = await app.search(films, {**same, "collapse": {"field": "genre"}})
    assert (answer.ids, answer.scores) == (["11", "6"], [2.0, 0.0])
    answer = await app.search(films, {**same, "collapse": {"field": "genre"}, "track_total_hits": False})
    assert answer.ids == ["11"]


@pytest.mark.every_version
async def test_post_filter(app: SearchApp, films: str) -> None:
    """Freed places are filled with unranked matches, scored 0."""
    body = {**top5(), "post_filter": {"terms": {"n": [7, 9, 3, 4]}}}
    answer = await app.search(films, body)
    assert answer.ids[:2] == ["7", "9"]
    assert answer.scores == [4.0, 1.5, 0.0, 0.0]
    assert sorted(answer.ids[2:]) == ["3", "4"]
    assert answer.total == {"value": 4, "relation": "eq"}
    answer = await app.search(films, {**body, "track_total_hits": False})
    assert answer.ids == ["7", "9"]


@pytest.mark.parametrize(
    ("top", "query", "expected"),
    [
        ({"_source": False}, "", {}),
        ({}, "_source=false", {}),
        ({"_source": ["n"]}, "", {"_source": {"n": 7}}),
        ({}, "_source_includes=n,genre&_source_excludes=genre", {"_source": {"n": 7}}),
        ({"_source": False, "fields": ["n", "gen*"]}, "", {"fields": {"n": [7], "genre": ["b"]}}),
        ({"_source": False, "fields": ["text"]}, "", {"fields": {"text": ["crime 3.0"]}}),
        ({"_source": False, "docvalue_fields": ["n"]}, "", {"fields": {"n": [7]}}),
        ({"_source": False}, "docvalue_fields=n", {"fields": {"n": [7]}}),
        ({"_source": False, "version": True}, "", {"_version": 1}),
    ],
)
async def test_what_of_a_hit_is_shown(
    app: SearchApp, films: str, top: dict[str, Any], query: str, expected: dict[str, Any]
) -> None:
    first = (await app.search(films, {**top5(), "size": 1, **top}, query)).hits[0]
    assert first.pop("_ignored", None) in (None, ["title"])
    assert first == {"_index": films, "_id": "7", "_score": 4.0, **expected}


async def test_sequence_numbers(app: SearchApp, films: str) -> None:
    for path in ("", TWO_STAGES):
        query = f"_source=false&seq_no_primary_term=true&size=1&{path}"
        first = (await app.search(films, top5(), query)).hits[0]
        assert first["_primary_term"] == 1
        assert first["_seq_no"] >= 0


async def test_stored_fields(app: SearchApp, make_index: MakeIndex) -> None:
    mapping = {"properties": {"text": {"type": "text"}, "kept": {"type": "keyword", "store": True}}}
    index = make_index([{"text": "crime 1", "kept": "x"}], mappings=mapping)
    body = {**reranking(), "stored_fields": ["kept"]}
    (hit,) = (await app.search(index, body)).hits
    assert hit == {"_index": index, "_id": "0", "_score": 2.0, "fields": {"kept": ["x"]}}
    (hit,) = (await app.search(index, {**reranking(), "stored_fields": "_none_"})).hits
    assert hit["_score"] == 2.0


@pytest.mark.every_version
async def test_fields_that_only_the_reranker_needs_do_not_show(app: SearchApp, films: str) -> None:
    """`title` is longer than `ignore_above`: with `fields` Elasticsearch would tell so in each hit."""
    app.engine.table = {f"film {n:02}": 0.0 for n in range(12)}
    for path in ("", TWO_STAGES):
        answer = await app.search(films, {**top5(field="title"), "size": 1}, path)
        assert answer.hits == []
        assert "scored=0;" in answer.headers["X-Rerank"]
        answer = await app.search(films, {**top5(), "size": 1}, path)
        assert set(answer.hits[0]) <= {"_index", "_id", "_score", "_source", "_ignored"}


@pytest.mark.every_version
async def test_named_queries(app: SearchApp, films: str) -> None:
    clause = {"bool": {"must": [BY_N], "filter": [{"term": {"genre": {"value": "b", "_name": "clause"}}}]}}
    child = {"standard": {"query": clause, "_name": "child"}}
    body = {**reranking(child, rank_window_size=2, _name="parent"), "size": 1}
    answer = await app.search(films, body)
    assert sorted(answer.hits[0]["matched_queries"]) == ["child", "clause", "parent"]
    plain = {"standard": {"query": BY_N, "_name": "child"}}
    named = await app.search(films, {**reranking(plain, _name="parent"), "size": 1})
    assert sorted(named.hits[0]["matched_queries"]) == ["child", "parent"]
    without_tail = await app.search(films, {**body, "track_total_hits": False})
    assert without_tail.hits[0]["matched_queries"] == ["parent"]
    scored = await app.search(
        films, {**reranking(CHILD, _name="parent"), "size": 1}, "include_named_queries_score"
    )
    assert scored.hits[0]["matched_queries"] == {"parent": scored.scores[0]}


async def test_a_childs_sort_selects_the_window(app: SearchApp, films: str) -> None:
    child = {"standard": {"query": {"match": {"text": "crime"}}, "sort": [{"n": "asc"}]}}
    answer = await app.search(films, reranking(child, rank_window_size=3))
    assert answer.ids == ["1", "2", "0"]
    assert answer.scores == [10.0, 9.0, 1.0]
    assert "sort" not in answer.hits[0]
    for sort in ({"n": "asc"}, ["n"]):
        child["standard"]["sort"] = sort
        assert (await app.search(films, reranking(child, rank_window_size=3))).ids == ["1", "2", "0"]
    empty = {"standard": {"query": BY_N, "sort": []}}
    assert (await app.search(films, reranking(empty, rank_window_size=2))).ids == ["10", "11"]


async def test_a_childs_collapse_lets_one_of_each_group_in(app: SearchApp, films: str) -> None:
    child = {"standard": {"query": BY_N, "collapse": {"field": "genre"}}}
    answer = await app.search(films, reranking(child))
    assert answer.ids == ["10", "11", "9"]
    assert answer.total == {"value": 12, "relation": "eq"}
    assert "fields" not in answer.hits[0]


async def test_options_that_do_not_change_hits(app: SearchApp, films: str) -> None:
    plain = await app.search(films, top5())
    for top in (
        {"indices_boost": [{films: 7.5}]},
        {"timeout": "30s"},
        {"track_scores": True},
        {"stats": ["a"]},
        {"explain": False, "profile": False},
        {"runtime_mappings": {"r": {"type": "long"}}},
    ):
        answer = await app.search(films, {**top5(), **top})
        assert answer.without_took == plain.without_took, top
    for query in (
        "typed_keys",
        "request_cache=false",
        "search_type=dfs_query_then_fetch",
        "batched_reduce_size=2",
    ):
        assert (await app.search(films, top5(), query)).without_took == plain.without_took, query


async def test_suggest(app: SearchApp, films: str) -> None:
    body = {**top5(), "suggest": {"s": {"text": "crme", "term": {"field": "text"}}}, "size": 0}
    suggest = (await app.search(films, body)).json()["suggest"]
    assert suggest["s"][0]["options"][0]["text"] == "crime"


@pytest.mark.every_version
async def test_the_clients_point_in_time(
    app: SearchApp, elasticsearch: RunningElasticsearch, films: str
) -> None:
    opened = elasticsearch.server.call("POST", f"/{films}/_pit?keep_alive=1m").json()["id"]
    pit = {"pit": {"id": opened, "keep_alive": "1m"}}
    answer = await app.search(None, {**top5(), **pit})
    assert answer.ids == ["7", "10", "11", "9", "8"]
    assert next(iter(answer.json())) == "pit_id"
    sent = list(app.upstream.sent)
    assert [line.partition("?")[0] for line in sent] == ["POST /_search", "POST /_search"]
    body = {**top5(), **pit, "track_total_hits": False}
    slices = [await app.search(None, {**body, "slice": {"id": number, "max": 2}}) for number in (0, 1)]
    assert sorted([*slices[0].ids, *slices[1].ids]) == sorted(answer.ids)
    closed = elasticsearch.server.call("DELETE", "/_pit", {"id": opened})
    assert closed.status == 200
    gone = await app.search(None, {**top5(), **pit})
    assert gone.status == 404
    (failed,) = gone.json()["error"]["suppressed"]  # as the failure of a child: it was searched
    assert failed["type"] == "search_phase_execution_exception"
    reasons = {shard["reason"]["type"] for shard in failed["failed_shards"]}
    assert reasons == {"search_context_missing_exception"}


@pytest.mark.parametrize(
    ("query", "what"),
    [
        ("ignore_unavailable=true", "indicesOptions"),
        ("ccs_minimize_roundtrips=true", "ccs_minimize_roundtrips"),
        ("routing=a", "routing"),
        ("preference=_local", "preference"),
    ],
)
async def test_options_that_a_point_in_time_fixes(
    app: SearchApp, elasticsearch: RunningElasticsearch, films: str, query: str, what: str
) -> None:
    opened = elasticsearch.server.call("POST", f"/{films}/_pit?keep_alive=1m").json()["id"]
    answer = await app.search(None, {**top5(), "pit": {"id": opened}}, query)
    elasticsearch.server.call("DELETE", "/_pit", {"id": opened})
    assert answer.status == 400
    assert answer.cause["type"] == "action_request_validation_exception"
    assert answer.cause["reason"] == f"Validation Failed: 1: [{what}] cannot be used with point in time;"


async def test_own_points_in_time_are_closed(
    app: SearchApp, elasticsearch: RunningElasticsearch, films: str
) -> None:
    await app.search(films, top5(), TWO_STAGES)
    await app.search(films, {**top5(), "fields": 5})  # refused by Elasticsearch
    await app.executor.drain()
    assert [line.partition("?")[0] for line in app.upstream.sent].count("DELETE /_pit") == 2
    stats = elasticsearch.server.call("GET", f"/{films}/_stats/search").json()
    assert stats["_all"]["total"]["search"]["scroll_current"] == 0
    assert stats["_all"]["total"]["search"]["open_contexts"] == 0


@BOTH_PATHS
async def test_routing_and_preference(
    app: SearchApp, elasticsearch: RunningElasticsearch, make_index: MakeIndex, path: str
) -> None:
    index = make_index([], mappings=MAPPINGS, settings=SHARDS)
    for place in range(6):
        target = f"/{index}/_doc/{place}?routing={'ab'[place % 2]}&refresh=true"
        elasticsearch.server.call("PUT", target, film(place))
    one = await app.search(index, top5(), f"routing=a&{path}")
    assert one.json()["_shards"]["total"] == 1
    assert {hit["_routing"] for hit in one.hits} >= {"a"}
    direct = elasticsearch.server.call("POST", f"/{index}/_search?routing=a", {"query": BY_N}).json()
    assert sorted(one.ids) == sorted(hit["_id"] for hit in direct["hits"]["hits"])
    shard = await app.search(index, top5(), f"preference=_shards:0&{path}")
    assert shard.json()["_shards"]["total"] == 1


@BOTH_PATHS
@pytest.mark.every_version
async def test_equal_scores_are_in_native_order(
    app: SearchApp, elasticsearch: RunningElasticsearch, make_index: MakeIndex, path: str
) -> None:
    """Shard number, then index name, then document: the order of any plain search over the same shards."""
    documents = [{"text": "crime 1", "n": place % 4} for place in range(12)]
    indices = sorted(make_index(documents, mappings=MAPPINGS, settings=SHARDS) for _ in range(3))
    names = ",".join(reversed(indices))
    opened = elasticsearch.server.call("POST", f"/{names}/_pit?keep_alive=1m").json()["id"]
    plain = {"pit": {"id": opened}, "size": 100, "sort": [{"_shard_doc": "asc"}]}
    expected = elasticsearch.server.call("POST", "/_search", plain).json()["hits"]["hits"]
    elasticsearch.server.call("DELETE", "/_pit", {"id": opened})
    answer = await app.search(names, reranking(CHILD, rank_window_size=100), path)
    assert [(hit["_index"], hit["_id"]) for hit in answer.hits] == [
        (hit["_index"], hit["_id"]) for hit in expected
    ]
    assert set(answer.scores) == {2.0}
    part = await app.search(names, {**reranking(CHILD, rank_window_size=100), "from": 7, "size": 5}, path)
    assert part.hits == answer.hits[7:12]


@BOTH_PATHS
@pytest.mark.every_version
async def test_sources_are_the_bytes_that_were_indexed(
    app: SearchApp, elasticsearch: RunningElasticsearch, make_index: MakeIndex, path: str
) -> None:
    mapping = {"properties": {"text": {"type": "text"}, "any": {"type": "object", "enabled": False}}}
    index = make_index([], mappings=mapping)
    sources = [
        b'{"text":"crime 3", "any": {"price":1.10,"big":123456789012345678901234567890,"exp":1E5,"zero":-0}}',
        b'{"text":"crime 2","any":{"s":"\\/\\u00e9\\n","lone":"\\ud800","pi":3.14159265358979323846}}',
        '{ "text" : "crime 1",\n\t"any":{"é":"日本語 😀"} }'.encode(),
        b'{"any":' + b'{"a":' * 900 + b"1" + b"}" * 900 + b',"text":"crime 0"}',
    ]
    for place, source in enumerate(sources):
        indexed = elasticsearch.server.call(
            "PUT", f"/{index}/_doc/{place}?refresh=true", source, headers={"Content-Type": "application/json"}
        )
        assert indexed.status == 201, indexed.body
    answer = await app.search(index, reranking(), path)
    places = [answer.body.index(source) for source in sources]
    assert places == sorted(places)
    assert b'"_score":4.0,"_source":' + sources[0] + b"}" in answer.body


@BOTH_PATHS
async def test_pretty(app: SearchApp, elasticsearch: RunningElasticsearch, films: str, path: str) -> None:
    """The layout is Elasticsearch's: only scores and order differ from a plain search."""
    page = {"size": 3, "_source": ["genre"]}
    answer = await app.search(films, {**top5(), **page}, f"pretty&{path}")
    query = {"query": BY_N, **page}
    plain = elasticsearch.server.call("POST", f"/{films}/_search?pretty", query).body
    assert answer.body.startswith(b'{\n  "took" : ')
    assert answer.body.endswith(b"}\n")
    shapes = [
        [line[: len(line) - len(line.lstrip())] + line.split()[0] for line in body.decode().splitlines()]
        for body in (answer.body, plain)
    ]
    assert shapes[0] == shapes[1]


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


TEXTS: Final[list[tuple[Any, str | None]]] = [
    ({"text": ["crime 5", "second 1"]}, "crime 5"),
    ({"text": [None, "crime 4"]}, "crime 4"),
    ({"text": ""}, ""),
    ({"text": None}, None),
    ({"text": []}, None),
    ({"n": 3}, None),
]


@BOTH_PATHS
@pytest.mark.every_version
async def test_which_text_is_scored(app: SearchApp, make_index: MakeIndex, path: str) -> None:
    index = make_index([source for source, _ in TEXTS], mappings=MAPPINGS)
    app.engine.table[""] = -1.0
    answer = await app.search(index, reranking({"standard": {}}), path)
    assert sorted(app.engine.asked[-1]) == sorted(text for _, text in TEXTS if text is not None)
    assert answer.ids == ["0", "1", "2"]
    assert answer.total == {"value": 6, "relation": "eq"}  # the others still count
    assert "window=6; scored=3;" in answer.headers["X-Rerank"]


@pytest.mark.parametrize(
    ("field", "texts"),
    [
        ("n", ["7"]),
        ("price", ["5.0"]),
        ("day", ["2020-01-02T00:00:00.000Z"]),
        ("flag", ["true"]),
        ("text.raw", ["crime 1"]),
        ("alias", ["crime 1"]),
        ("copy", ["crime 1"]),
        ("o.a", ["first"]),
        ("short", []),
        ("nothing", []),
        ("te*", []),
        ("*", []),
        ("o", []),
        ("nst.a", []),
    ],
)
async def test_fields_of_any_type(
    app: SearchApp, make_index: MakeIndex, field: str, texts: list[str]
) -> None:
    mapping = {
        "properties": {
            "text": {"type": "text", "copy_to": "copy", "fields": {"raw": {"type": "keyword"}}},
            "copy": {"type": "text"},
            "alias": {"type": "alias", "path": "text"},
            "n": {"type": "long"},
            "price": {"type": "double"},
            "day": {"type": "date"},
            "flag": {"type": "boolean"},
            "short": {"type": "keyword", "ignore_above": 2},
            "nst": {"type": "nested", "properties": {"a": {"type": "keyword"}}},
        }
    }
    source = {
        "text": "crime 1", "n": 7, "price": 5, "day": "2020-01-02", "flag": True, "short": "long",
        "o": [{"a": "first"}, {"a": "second"}], "nst": [{"a": "x"}],
    }  # fmt: skip
    index = make_index([source], mappings=mapping)
    app.engine.table = dict.fromkeys(texts, 0.0)
    for path in ("", TWO_STAGES):
        app.engine.asked.clear()
        answer = await app.search(index, {**reranking({"standard": {}}, field=field), "_source": False}, path)
        assert answer.json()["hits"]["hits"] == [
            {"_index": index, "_id": "0", "_score": 1.0, "_ignored": ["short"]} for _ in texts
        ]
        assert app.engine.asked == ([texts] if texts else [])


async def test_a_large_window(app: SearchApp, make_index: MakeIndex) -> None:
    """More rank docs than Lucene's old limit of clauses."""
    index = make_index(({"text": f"crime {place % 701}"} for place in range(1500)), mappings=MAPPINGS)
    body = {**reranking(rank_window_size=1500), "size": 1500}
    one, two = await app.search(index, body), await app.search(index, body, TWO_STAGES)
    assert len(two.hits) == 1500
    assert two.without_took == one.without_took
    assert two.scores == sorted(two.scores, reverse=True)


async def test_the_index_may_be_a_parameter(app: SearchApp, films: str) -> None:
    for query in (f"index={films}", f"index=none-*,{films}&{TWO_STAGES}", f"index=%3C{films}%3E"):
        answer = await app.search(None, top5(), query)
        assert answer.ids == ["7", "10", "11", "9", "8"], query


async def test_the_body_may_be_a_parameter(app: SearchApp, films: str) -> None:
    source = json.dumps(top5())
    params = {"source": source, "source_content_type": "application/json", "size": "2"}
    async with app.session.get(f"{app.url}/{films}/_search", params=params) as answer:
        assert [hit["_id"] for hit in (await answer.json())["hits"]["hits"]] == ["7", "10"]


async def test_expressions_in_the_path_go_through_as_written(app: SearchApp, films: str) -> None:
    answer = await app.search(f"%3C{films}%3E,-none*", top5(), TWO_STAGES)
    assert answer.ids == ["7", "10", "11", "9", "8"]
    assert app.upstream.sent[0].startswith(f"POST /%3C{films}%3E,-none*/_pit?")


async def test_inner_hits_of_the_childs_query(app: SearchApp, make_index: MakeIndex) -> None:
    mapping = {"properties": {"text": {"type": "text"}, "parts": {"type": "nested"}}}
    parts = [{"n": 1, "kind": "a"}, {"n": 2, "kind": "b"}]
    index = make_index(
        [{"text": "crime 1", "parts": parts}, {"text": "crime 2", "parts": []}], mappings=mapping
    )
    nested = {"nested": {"path": "parts", "query": {"match": {"parts.n": 2}}, "inner_hits": {}}}
    answer = await app.search(index, reranking({"standard": {"query": nested}}))
    assert answer.ids == ["0"]
    (inner,) = answer.hits[0]["inner_hits"]["parts"]["hits"]["hits"]
    assert inner["_source"] == {"n": 2, "kind": "b"}


@BOTH_PATHS
async def test_filters_of_an_alias_hold(
    app: SearchApp, elasticsearch: RunningElasticsearch, make_index: MakeIndex, path: str
) -> None:
    index = make_index(DOCUMENTS, mappings=MAPPINGS, settings=SHARDS)
    alias = f"alias-of-{index}"
    added = {"add": {"index": index, "alias": alias, "filter": {"range": {"n": {"lte": 9}}}}}
    assert elasticsearch.server.call("POST", "/_aliases", {"actions": [added]}).status == 200
    answer = await app.search(alias, top5(), path)
    assert answer.ids == ["5", "6", "7", "9", "8"]
    assert answer.total == {"value": 10, "relation": "eq"}
    assert {hit["_index"] for hit in answer.hits} == {index}


async def test_searches_do_not_disturb_each_other(app: SearchApp, films: str) -> None:
    bodies = [
        top5(),
        {**top5(), "size": 1},
        {**top5(), **GENRES},
        reranking(NEAREST),
        top5(inference_id="nope"),
    ]
    alone = [(await app.search(films, body)).without_took for body in bodies]
    together = await asyncio.gather(*(app.search(films, body) for _ in range(8) for body in bodies))
    assert [answer.without_took for answer in together] == alone * 8
