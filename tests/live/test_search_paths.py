"""Two ways to one answer: what one search can answer, a point in time answers with the same bytes."""

import asyncio
import json
import uuid
from collections.abc import Iterator
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed import RunningElasticsearch
from tests.support.examples import examples
from tests.support.search_app import TWO_STAGES, Answer, search_app
from tests.support.searches import reranking

SIZE: Final = 14
TEXTLESS: Final = {3, 8}
RAW: Final = (-200.0, -3.5, -1.0, 0.0, 0.5, 1.5, 7.25)
FIRST: Final = (0.5, 1.0, 1.5, 2.0)


@pytest.fixture(scope="module")
def index(elasticsearch: RunningElasticsearch) -> Iterator[str]:
    """Index fourteen documents in two shards, each with a different text, two without any."""
    name = f"paths-{uuid.uuid4().hex[:12]}"
    call = elasticsearch.server.call
    mapping = {
        "settings": {"number_of_shards": 2, "number_of_replicas": 0},
        "mappings": {
            "properties": {
                "text": {"type": "keyword"},
                "n": {"type": "long"},
                "v": {
                    "type": "dense_vector",
                    "dims": 2,
                    "similarity": "l2_norm",
                    "index_options": {"type": "flat"},
                },
            }
        },
    }
    assert call("PUT", f"/{name}", mapping).status == 200
    lines = []
    for n in range(SIZE):
        text = {} if n in TEXTLESS else {"text": f"text {n}"}
        lines += [{"index": {"_id": str(n)}}, {**text, "n": n, "v": [n // 2, 0]}]
    bulk = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    assert call("POST", f"/{name}/_bulk?refresh=true", bulk).json()["errors"] is False
    yield name
    call("DELETE", f"/{name}")


@st.composite
def standards(draw: st.DrawFn) -> dict[str, Any]:
    """Draw a first stage with any scores, including equal ones, over any of the documents."""
    scores = draw(st.dictionaries(st.integers(0, SIZE - 1), st.sampled_from(FIRST), max_size=SIZE))
    by_score = []
    for score in sorted(set(scores.values())):
        found = {"terms": {"n": sorted(n for n in scores if scores[n] == score)}}
        by_score.append({"constant_score": {"filter": found, "boost": score}})
    standard: dict[str, Any] = {"query": {"bool": {"should": by_score}} if by_score else {"match_none": {}}}
    if draw(st.booleans()):
        standard["filter"] = {"range": {"n": {"lt": draw(st.integers(0, SIZE))}}}
    if draw(st.integers(0, 3)) == 0:
        standard["min_score"] = draw(st.sampled_from([0, *FIRST]))
    return {"standard": standard}


@st.composite
def vectors(draw: st.DrawFn) -> dict[str, Any]:
    """Draw vector searches whose neighbours come in pairs at the same distance."""
    k = draw(st.integers(1, 8))
    knn = {"field": "v", "query_vector": [draw(st.integers(0, 7)), 0], "k": k, "num_candidates": 50}
    if draw(st.booleans()):
        knn["filter"] = {"range": {"n": {"gte": draw(st.integers(0, SIZE))}}}
    if draw(st.integers(0, 3)) == 0:
        knn["min_score"] = 0.5
    return {"knn": knn}


@st.composite
def searches(draw: st.DrawFn) -> tuple[dict[str, Any], str, dict[str, float]]:
    """Draw a body, a query string, and the raw scores of the texts."""
    window = draw(st.integers(1, 16))
    options: dict[str, Any] = {"rank_window_size": window}
    if draw(st.integers(0, 2)) == 0:
        options["min_score"] = draw(st.sampled_from(RAW))
    if draw(st.booleans()):
        options["filter"] = [{"range": {"n": {"gt": draw(st.integers(-1, 6))}}}]
    if draw(st.integers(0, 5)) == 0:
        options["inference_id"] = "nope"
        options["allow_rerank_failures"] = True
    body = reranking(draw(standards() | vectors()), **options)
    if draw(st.booleans()):
        body["size"] = draw(st.integers(0, window))
    if draw(st.booleans()):
        body["from"] = draw(st.integers(0, 18))
    total = draw(st.none() | st.booleans() | st.integers(-1, SIZE + 1))
    if total is not None:
        body["track_total_hits"] = total
    if draw(st.integers(0, 2)) == 0:
        body["min_score"] = draw(st.sampled_from([0.0, 1.0, 1.5, 2.5, 0.03019738, 9.0]))
    if draw(st.booleans()):
        body["_source"] = draw(st.sampled_from([False, True, ["n"]]))
    params = draw(st.sets(st.sampled_from(["pretty", "version=true", "seq_no_primary_term=true"])))
    if isinstance(total, bool | None) and draw(st.booleans()):
        params.add("rest_total_hits_as_int=true")
    table = {f"text {n}": draw(st.sampled_from(RAW)) for n in range(SIZE)}
    return body, "&".join(sorted(params)), table


async def both_ways(
    url: str, index: str, search: tuple[dict[str, Any], str, dict[str, float]]
) -> tuple[Answer, Answer, int]:
    body, query, table = search
    async with search_app(url) as app:
        app.engine.table = table
        one = await app.search(index, body, query)
        await app.executor.drain()
        round_trips = len(app.upstream.sent)
        two = await app.search(index, body, f"{query}&{TWO_STAGES}")
    return one, two, round_trips


@pytest.mark.timeout(300)
@examples(2)
@given(search=searches())
@pytest.mark.every_version
def test_both_ways_give_the_same_bytes(
    elasticsearch: RunningElasticsearch, index: str, search: tuple[dict[str, Any], str, dict[str, float]]
) -> None:
    one, two, _ = asyncio.run(both_ways(elasticsearch.url, index, search))
    assert one.status == two.status == 200, one.body
    assert one.without_took == two.without_took
    assert one.headers["X-Rerank"].partition("; ms=")[0] == two.headers["X-Rerank"].partition("; ms=")[0]


@pytest.mark.parametrize("size", [None, 0, 1, 3])
@pytest.mark.parametrize("from_", [0, 1, 2, 3])
async def test_pages_beyond_what_min_score_leaves(
    elasticsearch: RunningElasticsearch, index: str, from_: int, size: int | None
) -> None:
    """Of three ranked documents the first two pass."""
    child = {"standard": {"query": {"terms": {"n": [0, 1, 2]}}}}
    body = {**reranking(child), "from": from_, "min_score": 4.0, **({} if size is None else {"size": size})}
    table = {"text 0": 3.0, "text 1": 5.0, "text 2": 1.0}
    one, two, _ = await both_ways(elasticsearch.url, index, (body, "", table))
    assert one.without_took == two.without_took


async def test_equal_scores_of_different_first_stages_take_the_second_way(
    elasticsearch: RunningElasticsearch, index: str
) -> None:
    by_n = {"query": {"range": {"n": {"gte": 9}}}, "field_value_factor": {"field": "n"}}
    child = {"standard": {"query": {"function_score": by_n}}}
    table = {f"text {n}": 1.0 for n in range(SIZE)}
    one, two, round_trips = await both_ways(elasticsearch.url, index, (reranking(child), "", table))
    assert round_trips == 5  # a search that left ties open; a point in time, its two searches and its end
    assert one.without_took == two.without_took
    table["text 13"] = 2.0
    body = {**reranking(child), "size": 1}
    one, two, round_trips = await both_ways(elasticsearch.url, index, (body, "", table))
    assert round_trips == 1  # the ties are not on this page
    assert one.without_took == two.without_took
