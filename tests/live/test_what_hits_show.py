"""Whichever parts of its hits a client asks for, the application finds in them what it reads."""

import json
import random
import re
from collections.abc import AsyncIterator
from typing import Any, Final
from urllib.parse import urlencode

import pytest

from testbed import RunningElasticsearch
from tests.live.conftest import MakeIndex
from tests.support.search_app import TWO_STAGES, Answer, SearchApp, search_app
from tests.support.searches import reranking

JSON = dict[str, Any]

MAPPINGS: Final = {
    "properties": {
        "text": {"type": "text", "store": True},
        "short": {"type": "keyword", "ignore_above": 3},
        "number": {"type": "integer", "ignore_malformed": True},
    }
}
NONE_STORED: Final = "_none_"
IN_THE_BODY: Final[dict[str, tuple[Any, ...]]] = {
    "stored_fields": (NONE_STORED, NONE_STORED, [NONE_STORED], [], "text", ["short", "text"]),
    "_source": (False, True, "n", [], {"excludes": ["text"]}),
    "fields": (["text"], ["*"], [{"field": "n", "format": "0"}]),
    "docvalue_fields": (["n"], ["short"]),
    "version": (True, False),
    "seq_no_primary_term": (True, False),
    "highlight": ({"fields": {"text": {}}},),
    "track_scores": (True,),
    "track_total_hits": (True, False, 2),
    "post_filter": ({"term": {"odd": True}},),
    "collapse": ({"field": "odd"}, {"field": "odd", "inner_hits": {"name": "all", "_source": False}}),
    "size": (0, 2),
    "from": (1,),
}
IN_THE_URL: Final[dict[str, tuple[str, ...]]] = {
    "stored_fields": (NONE_STORED, NONE_STORED, "text", ""),
    "_source": ("false", "true", "n"),
    "_source_excludes": ("text",),
    "version": ("true",),
    "seq_no_primary_term": ("true",),
    "docvalue_fields": ("n",),
    "typed_keys": ("true",),
    "rest_total_hits_as_int": ("true",),
    "include_named_queries_score": ("true",),
    "filter_path": ("hits.hits._score", "-hits.hits._id", "hits.total", "took"),
    "pretty": ("",),
}


@pytest.fixture
async def app(elasticsearch: RunningElasticsearch) -> AsyncIterator[SearchApp]:
    async with search_app(elasticsearch.url, evaluate={"rescorer"}) as serving:
        yield serving


@pytest.fixture
def index(elasticsearch: RunningElasticsearch, make_index: MakeIndex) -> str:
    """Index documents with all that Elasticsearch may say of a hit: routing, ignored values, versions."""
    name = make_index(mappings=MAPPINGS, settings={"number_of_shards": 2})
    for n in range(9):
        document = {
            "text": f"crime {n % 4} {10 - n}",
            "short": "abcdef"[: n % 6],
            "number": "none" if n % 2 else n,
            "n": n,
            "odd": n % 2 == 1,
        }
        target = f"/{name}/_doc/{n}?routing={n % 5}"
        assert elasticsearch.server.call("PUT", target, document).status == 201
    elasticsearch.server.call("POST", f"/{name}/_refresh")
    return name


def rescorer(child: JSON, window: int) -> JSON:
    query = {"constant_score": {"filter": {"range": {"n": {"gte": 4}}}, "boost": 2}}
    rescore = {"window_size": window, "query": {"rescore_query": query}}
    return {"rescorer": {"retriever": child, "rescore": rescore}}


STANDARD: Final = {"standard": {"query": {"match": {"text": "crime"}}, "_name": "leaf"}}
TREES: Final = [rescorer(STANDARD, 5), rescorer(rescorer(STANDARD, 7), 4)]


def search(chosen: random.Random) -> tuple[JSON, str]:
    """Draw members of a body and a query string."""
    names = chosen.sample([*IN_THE_BODY], chosen.randint(0, 4))
    members = {name: chosen.choice(IN_THE_BODY[name]) for name in names}
    names = chosen.sample([*IN_THE_URL], chosen.choice([0, 0, 1, 2]))
    options = {name: chosen.choice(IN_THE_URL[name]) for name in names}
    for name in ("explain", "profile"):
        if chosen.random() < 0.6:
            members[name] = True
    return members, urlencode(options)


def comparable(body: bytes) -> Any:
    """Return an answer without `took`, and without what no two answers have in common in a profile."""
    answer = json.loads(re.sub(rb'"took"( ?: ?)\d+', rb'"took"\g<1>0', body, count=1))
    answer.pop("profile", None)
    hits = answer.get("hits", {}).get("hits", ())
    for hit in hits:
        if isinstance(hit.get("matched_queries"), list):
            hit["matched_queries"].sort()
    return answer


async def native(app: SearchApp, elasticsearch: RunningElasticsearch, target: str, body: bytes) -> Any:
    headers = {"Content-Type": "application/json"}
    async with app.session.post(elasticsearch.url + target, data=body, headers=headers) as reply:
        return reply.status, comparable(await reply.read())


@pytest.mark.parametrize("seed", range(4))
async def test_any_choice_is_answered_as_by_native(
    app: SearchApp, elasticsearch: RunningElasticsearch, index: str, seed: int
) -> None:
    chosen, answered = random.Random(seed), 0
    for _ in range(60):
        members, query = search(chosen)
        body = json.dumps({"retriever": chosen.choice(TREES), **members}).encode()
        target = f"/{index}/_search?{query}"
        ours = await app.call("POST", target, body)
        expected = await native(app, elasticsearch, target, body)
        assert (ours.status, comparable(ours.body)) == expected, (query, members)
        answered += ours.status == 200
    assert answered > 30


@pytest.mark.parametrize("seed", range(2))
async def test_both_ways_of_a_reranker_agree(app: SearchApp, index: str, seed: int) -> None:
    """One is a single round trip, the other a point in time."""
    chosen = random.Random(seed)
    for _ in range(40):
        members, query = search(chosen)
        body = {**reranking(STANDARD, rank_window_size=6), **members}
        one = await app.search(index, body, query)
        two = await app.search(index, body, f"{TWO_STAGES}&{query}")
        assert one.status in (200, 400), one.body
        assert (one.status, comparable(one.body)) == (two.status, comparable(two.body)), (query, members)


async def test_among_many_searches(app: SearchApp, elasticsearch: RunningElasticsearch, index: str) -> None:
    chosen, lines = random.Random(7), []
    for _ in range(20):
        members, _ = search(chosen)
        if members.get("stored_fields") in (NONE_STORED, [NONE_STORED]):
            members = {name: members[name] for name in members if name not in ("_source", "fields")}
        lines += [{"index": index}, {"retriever": chosen.choice(TREES), **members}]
    body = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    ours = await app.call("POST", "/_msearch", body)
    status, expected = await native(app, elasticsearch, "/_msearch", body)
    assert ours.status == status == 200
    found = ours.json()["responses"], expected["responses"]
    for mine, its in zip(*found, strict=True):
        assert comparable(json.dumps(mine).encode()) == comparable(json.dumps(its).encode())


@pytest.mark.every_version
@pytest.mark.parametrize(
    "members", [{"explain": True}, {"profile": True}, {"explain": True, "profile": True}]
)
@pytest.mark.parametrize("query", ["", "pretty", "stored_fields=_none_"])
async def test_hits_without_an_id(
    app: SearchApp, elasticsearch: RunningElasticsearch, index: str, members: JSON, query: str
) -> None:
    """They are explained all the same, and so are those of the tail."""
    for more in ({}, {"post_filter": {"term": {"odd": True}}}, {"from": 2, "size": 2}):
        body = {"retriever": TREES[1], "stored_fields": NONE_STORED, **members, **more}
        ours: Answer = await app.search(index, body, query)
        assert ours.status == 200
        assert all("_id" not in hit for hit in ours.hits)
        target = f"/{index}/_search?{query}"
        expected = await native(app, elasticsearch, target, json.dumps(body).encode())
        assert comparable(ours.body) == expected[1]
