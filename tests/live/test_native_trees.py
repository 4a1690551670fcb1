"""Trees of retrievers that every Elasticsearch evaluates itself: our evaluation against its own.

`rescorer` is free, and compound like the reranker: one framework runs both. Whatever holds of its answers
(totals, tails, names, explanations …) has to hold of ours.
"""

import asyncio
import json
import re
import uuid
from collections.abc import Iterator, Mapping
from typing import Any, Final

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from testbed import RunningElasticsearch
from tests.support.examples import examples
from tests.support.search_app import search_app

SIZE: Final = 14
pytestmark = pytest.mark.every_version

NATIVE: Final = frozenset({"rescorer", "diversify"})

JSON = dict[str, Any]
V8: Final = "application/vnd.elasticsearch+json;compatible-with=8"


def rescorer(child: JSON, window: int = 6, least: int = 4, **options: Any) -> JSON:
    """Add 2 to the score of each document in the window whose `n` is at least this."""
    query = {"constant_score": {"filter": {"range": {"n": {"gte": least}}}, "boost": 2}}
    return {
        "rescorer": {
            "retriever": child,
            "rescore": {"window_size": window, "query": {"rescore_query": query}},
            **options,
        }
    }


def standard(text: str = "crime", **options: Any) -> JSON:
    return {"standard": {"query": {"match": {"text": text}}, **options}}


def diversify(child: JSON) -> JSON:
    options = {"type": "mmr", "field": "v", "query_vector": [1, 2], "lambda": 0.3, "rank_window_size": 8}
    return {"diversify": {"retriever": child, "size": 4, **options}}


VECTOR: Final = {"field": "v", "query_vector": [3, 1], "k": 5, "num_candidates": 20}
KNN: Final = {"knn": {**VECTOR, "_name": "vector"}}
NAMED: Final = {
    "standard": {"query": {"match": {"text": {"query": "crime", "_name": "clause"}}}, "_name": "leaf"}
}
NESTED: Final = {"nested": {"path": "parts", "query": {"match_all": {}}, "inner_hits": {}}}
ODD: Final = {"term": {"odd": True}}
DEEP: Final = rescorer(rescorer(NAMED, 8, _name="inner"), 5, 2, _name="outer")

REQUESTS: Final[dict[str, JSON]] = {
    "plain": {"retriever": rescorer(standard())},
    "over a tree": {"retriever": DEEP},
    "of vectors": {"retriever": rescorer(KNN, 4)},
    "filters of all levels": {
        "retriever": rescorer(
            rescorer(standard(filter=ODD), 9, filter={"range": {"n": {"gte": 1}}}),
            filter=[{"range": {"n": {"lte": 12}}}],
        )
    },
    "filters of vectors": {
        "retriever": rescorer(rescorer(KNN, 9, filter=ODD), 4, filter=[{"exists": {"field": "n"}}])
    },
    "a child's min_score": {"retriever": rescorer(standard(min_score=0.1))},
    "own min_score": {"retriever": rescorer(standard(), min_score=1.5)},
    "top-level min_score": {"retriever": rescorer(standard()), "min_score": 1.5},
    "a child's sort": {"retriever": rescorer(rescorer(standard(), 9), 4)},
    "a child's collapse": {"retriever": rescorer(standard(collapse={"field": "group"}))},
    "nothing found": {"retriever": rescorer(rescorer(standard("nothing")))},
    "a child without a query": {"retriever": rescorer(diversify({"standard": {"filter": ODD}}), 4)},
    "diversify over a sorted child": {"retriever": diversify(standard(sort=[{"n": "desc"}]))},
    "explain of diversify": {"retriever": diversify(standard(_name="leaf")), "explain": True},
    "no window": {"retriever": rescorer(standard(), 0)},
    "a field that only the request knows": {
        "retriever": rescorer({"standard": {"query": {"exists": {"field": "hidden.h"}}}}),
        "runtime_mappings": {"hidden.h": {"type": "long"}},
        "aggs": {"h": {"max": {"field": "hidden.h"}}},
    },
    "a page": {"retriever": rescorer(standard(), 8), "from": 3, "size": 2},
    "a page beyond": {"retriever": rescorer(standard(), 4), "from": 6, "size": 2},
    "no hits": {"retriever": rescorer(standard()), "size": 0},
    "aggregations": {"retriever": rescorer(standard(), 4), "aggs": {"g": {"terms": {"field": "group"}}}},
    "aggregations alone": {
        "retriever": rescorer(standard(), 4),
        "aggs": {"g": {"terms": {"field": "group"}}},
        "track_total_hits": False,
    },
    "post_filter": {"retriever": rescorer(standard(), 5), "post_filter": ODD},
    "post_filter without tail": {
        "retriever": rescorer(standard(), 5),
        "post_filter": ODD,
        "track_total_hits": False,
    },
    "collapse": {
        "retriever": rescorer(standard(), 4),
        "collapse": {"field": "group", "inner_hits": {"name": "all", "size": 2, "_source": False}},
    },
    "highlight": {"retriever": rescorer(standard(), 4), "highlight": {"fields": {"text": {}}}},
    "highlight without tail": {
        "retriever": rescorer(standard(), 4),
        "highlight": {"fields": {"text": {}}},
        "track_total_hits": False,
    },
    "fields": {
        "retriever": rescorer(standard(), 4),
        "_source": ["n"],
        "fields": ["text", "group"],
        "docvalue_fields": ["n"],
        "stored_fields": ["_none_"] and ["group"],
        "version": True,
        "seq_no_primary_term": True,
    },
    "names without tail": {"retriever": DEEP, "track_total_hits": False},
    "explain": {"retriever": DEEP, "explain": True},
    "explain of vectors": {"retriever": rescorer(KNN, 4, least=99, _name="outer"), "explain": True},
    "explain of filters": {"retriever": rescorer(standard(filter=ODD, _name="leaf"), 4), "explain": True},
    "explain of the tail": {"retriever": rescorer(standard(), 5), "post_filter": ODD, "explain": True},
    "runtime fields": {
        "retriever": rescorer(standard(), 4),
        "runtime_mappings": {"r": {"type": "keyword"}},
        "fields": ["r"],
    },
    "indices_boost": {"retriever": rescorer(standard(), 4), "indices_boost": [{"*": 7}]},
    "diversify": {"retriever": diversify(standard())},
    "diversify a tree": {
        "retriever": rescorer(
            {
                "diversify": {
                    "retriever": rescorer(standard(), 9),
                    "type": "mmr",
                    "field": "v",
                    "lambda": 0.5,
                    "rank_window_size": 8,
                    "size": 6,
                }
            },
            4,
        )
    },
}
REQUESTS["fields"].pop("stored_fields")
TOTALS: Final = (None, True, False, 3, 4, 5, 20)


def make_index(elasticsearch: RunningElasticsearch, parts: JSON) -> Iterator[str]:
    """Fourteen documents in two shards, alike enough for ties; `parts` is the mapping of a field."""
    name = f"trees-{uuid.uuid4().hex[:12]}"
    call = elasticsearch.server.call
    vectors = {"dims": 2, "similarity": "max_inner_product", "index_options": {"type": "flat"}}
    mapping = {
        "settings": {"number_of_shards": 2, "number_of_replicas": 0},
        "mappings": {
            "properties": {
                "text": {"type": "text"},
                "group": {"type": "keyword"},
                "n": {"type": "integer"},
                "odd": {"type": "boolean"},
                "v": {"type": "dense_vector", **vectors},
                "parts": parts,
                "hidden": {"type": "object", "dynamic": False},
            }
        },
    }
    assert call("PUT", f"/{name}", mapping).status == 200
    lines: list[JSON] = []
    for n in range(SIZE):
        values = {"group": "abc"[n % 3], "n": n, "odd": n % 2 == 1, "v": [n % 4, n // 4], "parts": [{"p": n}]}
        values["hidden"] = {"h": n}
        lines += [{"index": {"_id": str(n)}}, {"text": "crime " * (n % 3 + 1) + "and punishment", **values}]
    bulk = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    assert call("POST", f"/{name}/_bulk?refresh=true", bulk).json()["errors"] is False
    yield name
    call("DELETE", f"/{name}")


@pytest.fixture(scope="module")
def index(elasticsearch: RunningElasticsearch) -> Iterator[str]:
    yield from make_index(elasticsearch, {"type": "object"})


@pytest.fixture(scope="module")
def nested_index(elasticsearch: RunningElasticsearch) -> Iterator[str]:
    """Index the same with nested documents, which Elasticsearch excludes by a clause of its own."""
    yield from make_index(elasticsearch, {"type": "nested"})


def comparable(body: bytes) -> Any:
    """Return an answer without what differs from run to run, and with matched queries in a fixed order."""
    answer = json.loads(re.sub(rb'"took"( ?: ?)\d+', rb'"took"\g<1>0', body, count=1))
    for hit in answer.get("hits", {}).get("hits", ()):
        if "matched_queries" in hit:
            hit["matched_queries"].sort()
    return answer


async def compare(url: str, index: str | None, body: JSON, query: str = "") -> Any:
    """Return the answer, on which native and the proxy agree."""
    target = ("/_search" if index is None else f"/{index}/_search") + (f"?{query}" if query else "")
    async with search_app(url, evaluate=NATIVE) as app:
        ours = await app.call("POST", target, body)
        async with app.session.post(url + target, json=body) as reply:
            native, status = await reply.read(), reply.status
    assert comparable(ours.body) == comparable(native)
    assert ours.status == status
    return json.loads(native)


@pytest.mark.parametrize("body", REQUESTS.values(), ids=REQUESTS.keys())
async def test_options(elasticsearch: RunningElasticsearch, index: str, body: JSON) -> None:
    if "diversify" in json.dumps(body) and elasticsearch.version.startswith("8."):
        pytest.skip("this version has no [diversify] of its own to compare with")
    answer = await compare(elasticsearch.url, index, body)
    assert "hits" in answer, answer


@pytest.mark.parametrize(
    "body",
    [
        {"retriever": rescorer({"standard": {"query": NESTED}}, 3)},
        {"retriever": DEEP, "explain": True},
        {"retriever": rescorer(standard(filter=ODD, _name="leaf"), 4), "explain": True},
    ],
)
async def test_nested_documents(elasticsearch: RunningElasticsearch, nested_index: str, body: JSON) -> None:
    answer = await compare(elasticsearch.url, nested_index, body)
    assert answer["hits"]["hits"]


@pytest.mark.parametrize(
    "inner_hits",
    [None, [], {"name": "all", "size": 2}, [{"name": "a"}, {"name": "b", "collapse": {"field": "n"}}]],
)
@pytest.mark.parametrize(
    "query",
    [
        "routing=r",
        "routing=r,s&preference=_local",
        "preference=_local",
        "ignore_unavailable=true&routing=r",
        "expand_wildcards=all",
        "allow_no_indices=true&ignore_unavailable=false",
    ],
)
async def test_what_inner_hits_of_groups_do_not_bear(
    elasticsearch: RunningElasticsearch, index: str, query: str, inner_hits: Any
) -> None:
    """Native looks for them with options of the request that a point in time excludes, once for each hit."""
    collapse = {"field": "group"} if inner_hits is None else {"field": "group", "inner_hits": inner_hits}
    for more in ({}, {"size": 0}, {"from": 1}, {"explain": True}, {"track_total_hits": False}):
        await compare(
            elasticsearch.url, index, {"retriever": rescorer(standard()), "collapse": collapse, **more}, query
        )


@pytest.mark.parametrize(
    "query", ["foo=1", "foo=1&bra=2", "lenient=true", "df=text&analyzer=simple", "sizes=3"]
)
async def test_parameters_that_do_not_belong(
    elasticsearch: RunningElasticsearch, index: str, query: str
) -> None:
    """The error names the client's path, and comes before any search."""
    unsearchable = rescorer(standard(sort=["n"]))
    for body in ({"retriever": rescorer(standard())}, {"retriever": unsearchable}):
        answer = await compare(elasticsearch.url, index, body, query)
        assert f"request [/{index}/_search] contains" in answer["error"]["reason"]


@pytest.mark.parametrize("total", TOTALS)
async def test_totals(elasticsearch: RunningElasticsearch, index: str, total: Any) -> None:
    body: JSON = {"retriever": rescorer(rescorer(standard(), 8), 5), "size": 2}
    if total is not None:
        body["track_total_hits"] = total
    await compare(elasticsearch.url, index, body)
    await compare(elasticsearch.url, index, body | {"aggs": {"g": {"terms": {"field": "group"}}}})


async def test_profile_calls_things_as_native_does(
    elasticsearch: RunningElasticsearch, index: str, nested_index: str
) -> None:
    body = {"retriever": rescorer(standard(), 5), "profile": True}
    for each in (index, nested_index):
        async with search_app(elasticsearch.url, evaluate=NATIVE) as app:
            ours = (await app.search(each, body)).json()["profile"]
        native = elasticsearch.server.call("POST", f"/{each}/_search", body).json()["profile"]
        assert ours.keys() == native.keys()
        assert queries_of(ours) == queries_of(native)


def queries_of(profile: Any) -> list[Any]:
    return sorted(
        (shard["id"], [described(query) for search in shard["searches"] for query in search["query"]])
        for shard in profile["shards"]
    )


def described(query: Any) -> Any:
    return query["type"], query["description"], [described(child) for child in query.get("children", ())]


@pytest.mark.parametrize(
    "body",
    [
        {"retriever": rescorer({"standard": {"query": {"range": {"n": {"gte": "many"}}}}})},
        {"retriever": rescorer(rescorer({"standard": {"query": {"range": {"n": {"gte": "many"}}}}}, 9))},
        {"retriever": rescorer(standard(filter={"range": {"n": {"gte": "many"}}}))},
        {"retriever": rescorer(standard(), 20_000)},
        {"retriever": rescorer(standard(sort=[{"n": "asc"}]))},
        {"retriever": rescorer(standard(sort=[{"unknown": "asc"}]))},
        {"retriever": rescorer(standard()), "from": 20_000},
        {"retriever": rescorer(standard()), "from": 2**31 - 1},
        {"retriever": rescorer(standard()), "from": 2**31 - 1, "size": 0},
        {"retriever": rescorer(standard()), "from": 2**31 - 4, "size": 3},
        {"retriever": rescorer(standard()), "from": 2**31 - 3, "size": 3, "track_total_hits": False},
        {"retriever": rescorer(standard()), "aggs": {"g": {"terms": {"field": "text"}}}},
        {"retriever": rescorer(standard()), "pit": {"id": "nonsense"}},
        {
            "retriever": rescorer(
                {"knn": {"field": "text", "query_vector": [1, 2], "k": 2, "num_candidates": 5}}
            )
        },
        {
            "retriever": rescorer(
                {"knn": {"field": "v", "query_vector": [1, 2, 3], "k": 2, "num_candidates": 5}}
            )
        },
    ],
)
async def test_failures(elasticsearch: RunningElasticsearch, index: str, body: JSON) -> None:
    target = None if "pit" in body else index
    answer = await compare(elasticsearch.url, target, body)
    assert "error" in answer, answer


@pytest.mark.parametrize(
    "query",
    [
        "pretty",
        "filter_path=hits.hits._source.n",
        "filter_path=-hits.hits._source,-took",
        "filter_path=hits.**.n,took&pretty",
        "filter_path=nothing",
        "typed_keys=true",
        "rest_total_hits_as_int=true",
        "format=yaml",
        "format=yaml&filter_path=hits.total",
        "human=true&error_trace=true",
    ],
)
async def test_the_answers_form(elasticsearch: RunningElasticsearch, index: str, query: str) -> None:
    body = {
        "retriever": DEEP,
        "aggs": {"g": {"terms": {"field": "group"}}},
        "highlight": {"fields": {"text": {}}},
    }
    ours, native = await both(elasticsearch.url, index, body, query)
    assert ours == native


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({"Accept": "application/yaml"}, ""),
        ({"Accept": V8, "Content-Type": V8}, ""),
        (
            {"Accept": V8.replace("json", "yaml"), "Content-Type": V8},
            "pretty",
        ),
        ({"Accept": "text/html, */*"}, ""),
        ({"Content-Type": "application/yaml"}, ""),
    ],
)  # fmt: skip
async def test_negotiated_forms(
    elasticsearch: RunningElasticsearch, index: str, headers: dict[str, str], query: str
) -> None:
    body = {"retriever": rescorer(standard())}
    ours, native = await both(elasticsearch.url, index, body, query, headers)
    assert ours == native


async def test_cbor_in_and_out(elasticsearch: RunningElasticsearch, index: str) -> None:
    body = cbor2.dumps({"retriever": rescorer(standard(), 4), "explain": True})
    headers = {"Content-Type": "application/cbor"}
    async with search_app(elasticsearch.url, evaluate=NATIVE) as app:
        ours = await app.search(index, body, headers=headers)
        async with app.session.post(
            f"{elasticsearch.url}/{index}/_search", data=body, headers=headers
        ) as reply:
            native = cbor2.loads(await reply.read())
    assert ours.headers["content-type"] == "application/cbor"
    answer = cbor2.loads(ours.body)
    for each in (answer, native):
        each["took"] = 0
    assert [hit["_id"] for hit in answer["hits"]["hits"]] == [hit["_id"] for hit in native["hits"]["hits"]]
    assert answer["hits"]["total"] == native["hits"]["total"]


async def both(
    url: str, index: str, body: JSON, query: str, headers: Mapping[str, str] | None = None
) -> tuple[Any, Any]:
    """Return status, headers and bytes of the proxy's answer and of native's, without `took`."""
    target = f"/{index}/_search?{query}"
    sent = {"Content-Type": "application/json", **(headers or {})}
    data = json.dumps(body).encode()
    async with search_app(url, evaluate=NATIVE) as app:
        ours = await app.call("POST", target, data, headers=sent)
        async with app.session.post(url + target, data=data, headers=sent) as reply:
            native = await reply.read()
            status, content_type = reply.status, reply.headers["content-type"]
    return (ours.status, ours.headers["content-type"], without_took(ours.body)), (
        status,
        content_type,
        without_took(native),
    )


def without_took(body: bytes) -> bytes:
    return re.sub(rb'(took"? ?: ?)\d+', rb"\g<1>0", body, count=1)


@st.composite
def trees(draw: st.DrawFn, levels: int = 3, least: int = 1) -> JSON:
    """Draw trees whose windows grow towards the leaves; native fails for trees of many levels."""
    window = draw(st.integers(least, least + 4))
    options: JSON = {}
    if draw(st.integers(0, 2)) == 0:
        options["filter"] = {"range": {"n": {"gte": draw(st.integers(0, 9))}}}
    if draw(st.integers(0, 3)) == 0:
        options["_name"] = draw(st.sampled_from(["a", "b"]))
    deeper = levels > 1 and draw(st.booleans())
    child = draw(trees(levels - 1, window)) if deeper else draw(leaves())
    return rescorer(child, window, draw(st.integers(0, SIZE)), **options)


@st.composite
def leaves(draw: st.DrawFn) -> JSON:
    options: JSON = {}
    if draw(st.integers(0, 3)) == 0:
        options["min_score"] = draw(st.sampled_from([0, 0.07, 0.1]))
    if draw(st.integers(0, 3)) == 0:
        options["filter"] = [ODD]
    if draw(st.integers(0, 3)) == 0:
        # Native forgets name and `min_score` of a vector search when it rewrites its filters.
        kept = {name: value for name, value in options.items() if name == "filter"}
        return {"knn": {**VECTOR, "k": draw(st.integers(1, 8)), **kept}}
    if draw(st.integers(0, 4)) == 0:
        options["collapse"] = {"field": "group"}
    if draw(st.integers(0, 3)) == 0:
        options["_name"] = "leaf"
    return standard(draw(st.sampled_from(["crime", "punishment crime", "nothing"])), **options)


@st.composite
def searches(draw: st.DrawFn) -> JSON:
    tree = draw(trees())
    body: JSON = {"retriever": tree, "from": draw(st.integers(0, 3))}
    if draw(st.booleans()):
        body["size"] = draw(st.integers(0, tree["rescorer"]["rescore"]["window_size"]))
    if draw(st.booleans()):
        body["track_total_hits"] = draw(st.booleans() | st.integers(0, 15))
    extras: JSON = {
        "aggs": {"g": {"terms": {"field": "group"}}},
        "post_filter": ODD,
        "collapse": {"field": "group"},
        "min_score": draw(st.sampled_from([0, 0.08, 2.05])),
        "highlight": {"fields": {"text": {}}},
        "_source": ["n"],
        "fields": ["group"],
    }
    for name in draw(st.sets(st.sampled_from(sorted(extras)), max_size=3)):
        body[name] = extras[name]
    return body


@pytest.mark.timeout(400)
@examples(2)
@given(body=searches())
def test_any_tree(elasticsearch: RunningElasticsearch, index: str, body: JSON) -> None:
    asyncio.run(compare(elasticsearch.url, index, body))
