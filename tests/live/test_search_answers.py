"""What a reranked search answers: which hits, in which order, of which texts, by native's rules."""

import asyncio
import math
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import pytest

from testbed import RunningElasticsearch
from tests.live.conftest import MakeIndex
from tests.support.crime_indices import (
    CHILD,
    DOCUMENTS,
    GENRES,
    MAPPINGS,
    NEAREST,
    SHARDS,
    film,
    indexed_films,
    top5,
)
from tests.support.search_app import BOTH_PATHS, TWO_STAGES, SearchApp, search_app
from tests.support.searches import reranking


def score(raw: float) -> Any:
    """Return the normalised score of a logit that is exact in float32."""
    return raw + 1 if raw >= 0 else pytest.approx(math.exp(raw), rel=1e-6)


@pytest.fixture
async def app(elasticsearch: RunningElasticsearch) -> AsyncIterator[SearchApp]:
    async with search_app(elasticsearch.url) as serving:
        yield serving


@pytest.fixture(scope="module")
def films(elasticsearch: RunningElasticsearch) -> Iterator[str]:
    with indexed_films(elasticsearch.server) as name:
        yield name


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
