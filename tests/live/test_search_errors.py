"""The proxy's own errors are Elasticsearch's: the same mistake, with and without a reranker around it.

Positions differ with the text around, so they are left out of the comparison; `tests/unit` holds them.
"""

import json
import re
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from testbed import RunningElasticsearch
from testbed.http import Reply
from tests.live.conftest import MakeIndex
from tests.support.search_app import Answer, SearchApp, search_app
from tests.support.searches import STANDARD, reranking


@pytest.fixture
async def app(elasticsearch: RunningElasticsearch) -> AsyncIterator[SearchApp]:
    async with search_app(elasticsearch.url) as serving:
        yield serving


@pytest.fixture
def index(make_index: MakeIndex) -> str:
    return make_index([{"text": "crime 1"}])


def causes(answer: Answer | Reply) -> list[tuple[str, str]]:
    """Return type and reason of each error, outermost first, without positions."""
    found = []
    error = answer.json()["error"]
    while error is not None:
        reason = error["reason"].partition("\n at [Source: ")[0]
        found.append((error["type"], re.sub(r"^\[\d+:\d+\] ", "", reason)))
        error = error.get("caused_by")
    return found


def roots(answer: Answer | Reply) -> list[str]:
    return [root["type"] for root in answer.json()["error"]["root_cause"]]


def direct(elasticsearch: RunningElasticsearch, index: str, body: bytes, query: str = "") -> Reply:
    headers = {"Content-Type": "application/json"}
    return elasticsearch.server.call("POST", f"/{index}/_search?{query}", body, headers=headers)


def without_reranker(body: dict[str, Any]) -> bytes:
    return json.dumps(
        {name: STANDARD if name == "retriever" else value for name, value in body.items()}
    ).encode()


@pytest.mark.parametrize(
    ("members", "query"),
    [
        ({"size": -1}, ""),
        ({"size": "abc"}, ""),
        ({"size": ""}, ""),
        ({"size": None}, ""),
        ({"size": [1]}, ""),
        ({"size": {}}, ""),
        ({"size": 99999999999}, ""),
        ({"size": "1e99"}, ""),
        ({"from": -1}, ""),
        ({"min_score": "abc"}, ""),
        ({"track_total_hits": -5}, ""),
        ({"track_total_hits": "maybe"}, ""),
        ({"timeout": 5}, ""),
        ({"timeout": 1.5}, ""),
        ({"timeout": True}, ""),
        ({"timeout": None}, ""),
        ({"timeout": {}}, ""),
        ({"timeout": ["1s"]}, ""),
        ({"timeout": ""}, ""),
        ({"timeout": "soon"}, ""),
        ({"timeout": "-5s"}, ""),
        ({"timeout": "1.5s"}, ""),
        ({"timeout": "soon", "size": -1}, ""),
        ({"size": -1, "timeout": "soon"}, ""),
        ({"timeout": "1s"}, "timeout=soon"),
        ({}, "timeout="),
        ({}, "timeout=5"),
        ({}, "timeout=-5s"),
        ({}, "timeout=soon&size=-1"),
        ({}, "timeout=soon&track_total_hits=abc"),
        ({"query": {"match_all": {}}, "sort": ["_doc"]}, ""),
        ({"sub_searches": [{"query": {"match_all": {}}}]}, ""),
        ({"sub_searches": [{"query": {"match_all": {}}}] * 2}, ""),
        ({"sub_searches": 5}, ""),
        ({"search_after": [1], "terminate_after": 2, "rescore": []}, ""),
        ({"slice": {"id": 0, "max": 2}}, ""),
        ({}, "q=a&sort=n&terminate_after=1"),
        ({}, "size=-1"),
        ({}, "size=1_0"),
        ({}, "size=99999999999"),
        ({}, "from=-1"),
        ({}, "from="),
        ({}, "track_total_hits"),
        ({}, "track_total_hits=-5"),
        ({}, "track_total_hits=abc"),
        ({}, "rest_total_hits_as_int=yes"),
        ({"track_total_hits": 5}, "rest_total_hits_as_int=true"),
        ({"colapse": {"field": "n"}}, ""),
        ({"colapse": 1}, ""),
        ({"fields": 5}, ""),
        ({"_source": 5}, ""),
        ({}, "foo=1"),
    ],
)
async def test_around_the_retriever(
    app: SearchApp, elasticsearch: RunningElasticsearch, index: str, members: dict[str, Any], query: str
) -> None:
    body = {**reranking(), **members}
    ours = await app.search(index, body, query)
    native = direct(elasticsearch, index, without_reranker(body), query)
    assert ours.status == native.status == 400
    assert causes(ours) == causes(native)
    assert roots(ours) == roots(native)
    await app.executor.drain()


@pytest.mark.parametrize(
    "child",
    [
        {"standard": {"querry": {}}},
        {"standard": {"foo": 1}},
        {"standard": {"query": []}},
        {"standard": {"sort": 1}},
        {"standard": {"filter": None}},
        {"standard": {"filter": "x"}},
        {"standard": {"collapse": "x"}},
        {"standard": {"_name": 1}},
        {"standard": {"min_score": "abc"}},
        {"standard": {"min_score": "0x10"}},
        {"standard": {"min_score": {}}},
        {"standard": {"terminate_after": 99999999999}},
        {"standard": {"terminate_after": "1e99"}},
        {"standard": {"terminate_after": ""}},
        {"standard": {"terminate_after": True}},
        {"standard": {"search_after": "x"}},
        {"knn": {"k": 1, "num_candidates": 3}},
        {"knn": {"field": "v", "num_candidates": 3}},
        {"knn": {"num_candidates": 3}},
        {"knn": {"field": "v", "k": "abc"}},
        {"knn": {"field": "v", "k": 1, "num_candidate": 3}},
        {"knn": {"field": 1}},
        {"knn": {"field": "v", "k": 1, "query_vector": True}},
        {"knn": {"field": "v", "k": 1, "similarity": True}},
        {"knn": {"field": "v", "k": 1, "rescore_vector": 1}},
    ],
)
async def test_inside_a_child(
    app: SearchApp, elasticsearch: RunningElasticsearch, index: str, child: dict[str, Any]
) -> None:
    ours = await app.search(index, reranking(child))
    native = direct(elasticsearch, index, json.dumps({"retriever": child}).encode())
    assert ours.status == native.status == 400
    assert causes(ours)[:2] == [
        ("x_content_parse_exception", "[text_similarity_reranker] failed to parse field [retriever]"),
        ("x_content_parse_exception", f"[retriever] failed to parse field [{next(iter(child))}]"),
    ]
    assert causes(ours)[2:] == causes(native)


@pytest.mark.parametrize(
    "retriever",
    [
        {"rescrer": reranking()},
        {"standard": {}, **reranking()["retriever"]},
    ],
)
async def test_names_of_retrievers(
    app: SearchApp, elasticsearch: RunningElasticsearch, index: str, retriever: dict[str, Any]
) -> None:
    body = json.dumps({"retriever": retriever}).encode()
    ours, native = await app.search(index, body), direct(elasticsearch, index, body)
    assert (ours.status, ours.json()) == (native.status, native.json())


@pytest.mark.parametrize(
    "body",
    [
        b'{"size"',
        b'{"size":1',
        b'{"si',
        b"{",
        b'{"size" 1}',
        b'{"size":1,}',
        b"{'size':1}",
        b'{"size":1 # one\n}',
        b'{"size":1 "from":2}',
        b'{"_source":[true false]}',
        b'{"size":1,"size":2}',
        b'{"query":{"match_all":{}}}}',
        b'{"query":{"match_all":{}}} {}',
        b'{"query":{"match_all":{}}} 1',
        b'{"query":{"match":{"text":"abc',
        b'{\n "query":{"match":{"text":"abc"}\n,}}',
        b'{"min_score":"\xff"}',
    ],
)
async def test_a_fault_before_any_retriever_is_upstreams_to_tell(
    app: SearchApp, index: str, body: bytes
) -> None:
    """Upstream finds it first, as native does, and words the error."""
    assert (await app.search(index, body)).status == 421


MEANT: Final = {
    "text_similarity_rerank": "[text_similarity_reranker]",
    "text_similarity_rerankr": "[text_similarity_reranker]",
    "text_similarity_ranker": "[text_similarity_reranker]",
    "text-similarity-reranker": "[text_similarity_reranker]",
    "text_similarity": "[text_similarity_reranker]",
    "textSimilarityReranker": "[text_similarity_reranker]",
    "reranker": "[random_reranker]",
    "rff": "[rrf]",
    "linar": "[linear]",
    "pined": "[pinned]",
    "rules": "[rule]",
    "linerd": "[linear]",
    "diversfy": "[diversify]",
    "rescorrer": "[rescorer]",
    "standardd": "[standard]",
}


@pytest.mark.every_version
@pytest.mark.parametrize("name", MEANT)
async def test_what_a_misspelt_retriever_was_meant_for(
    app: SearchApp, elasticsearch: RunningElasticsearch, index: str, name: str
) -> None:
    """An Elasticsearch without the retriever says everything except the suggestion."""
    told = f"unknown retriever [{name}] did you mean {MEANT[name]}?"
    for body in (
        {"retriever": {name: {"field": "text"}}},
        {"size": 1, "retriever": {name: {"retriever": reranking()["retriever"]}}, "sort": ["n"]},
    ):
        for data in (json.dumps(body).encode(), json.dumps(body, indent=1).encode()):
            ours, native = (
                await app.search(index, data, "pretty"),
                direct(elasticsearch, index, data, "pretty"),
            )
            if ours.status == 421:
                assert native.json()["error"]["reason"] == told
                continue
            said = re.sub(rb'unknown retriever [^"]*', told.encode(), native.body)
            assert (ours.status, ours.body) == (native.status, said)


async def test_what_a_misspelt_retriever_was_meant_for_in_other_ways(app: SearchApp, index: str) -> None:
    body: dict[str, Any] = {"retriever": {"rrrf": {}}}
    told = "unknown retriever [rrrf] did you mean [rrf]?"
    lines = [{"index": index}, body, {}, {"query": {"match_all": {}}}]
    many = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    assert (await app.call("POST", "/_msearch", many)).json()["error"]["reason"] == told
    answer = await app.search(index, body, "format=yaml")
    assert (answer.status, answer.headers["Content-Type"]) == (400, "application/yaml")
    assert f'\n  reason: "{told}"\n'.encode() in answer.body


@pytest.mark.parametrize(
    "body",
    [
        {"query": {"bogus": {}}, "retriever": {"rrrf": {}}},
        {"size": -1, "retriever": {"rrrf": {}}},
        {"retriever": {"rescorer": {"retriever": {"rrrf": {}}}}},
    ],
)
async def test_nothing_is_suggested_where_native_does_not(
    app: SearchApp, elasticsearch: RunningElasticsearch, index: str, body: dict[str, Any]
) -> None:
    """Another mistake comes first, or the name is below another retriever."""
    data = json.dumps(body).encode()
    ours, native = await app.search(index, data), direct(elasticsearch, index, data)
    assert (ours.status, ours.json()) == (native.status, native.json())
