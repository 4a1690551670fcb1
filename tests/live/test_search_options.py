"""Options of a reranked search: what of a hit is shown, points in time, parameters."""

import json
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from testbed import RunningElasticsearch
from tests.live.conftest import MakeIndex
from tests.support.crime_indices import BY_N, CHILD, MAPPINGS, SHARDS, film, indexed_films, top5
from tests.support.search_app import BOTH_PATHS, TWO_STAGES, SearchApp, search_app
from tests.support.searches import reranking


@pytest.fixture
async def app(elasticsearch: RunningElasticsearch) -> AsyncIterator[SearchApp]:
    async with search_app(elasticsearch.url) as serving:
        yield serving


@pytest.fixture(scope="module")
def films(elasticsearch: RunningElasticsearch) -> Iterator[str]:
    with indexed_films(elasticsearch.server) as name:
        yield name


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
