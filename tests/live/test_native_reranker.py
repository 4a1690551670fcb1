"""Searches that Elasticsearch answers itself, reranker and all: our evaluation against its own.

A plug-in of the test bed gives the node `text_similarity_reranker`, `rrf` and `linear` on the classes of the
server that the licensed ones are built on. Points in time, windows, ties, tails, totals, names, highlights,
explanations and errors are the real code.
"""

import asyncio
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from testbed import RunningElasticsearch
from tests.support.examples import examples
from tests.support.random_searches import (
    JSON,
    ODD,
    SIZE,
    URL_OPTIONS,
    bodies,
    documents,
    mappings,
)
from tests.support.raw_http import TIMEOUT_S
from tests.support.search_app import SearchApp, search_app

EXAMPLES: Final = int(os.environ.get("DIFFERENTIAL_EXAMPLES", "0"))
"""How many random searches `make differential` draws; 0: the profile says it."""

EVALUATED: Final = frozenset({"diversify", "linear", "rescorer", "rrf"})
INDICES: Final = (("one", 2, SIZE, "nested"), ("two", 1, SIZE // 2, "object"), ("three", 3, SIZE, "object"))
TARGETS: Final = ("one", "two", "three", "one,two", "one,three")


@dataclass
class Both:
    """The node, and the application in front of it."""

    app: SearchApp
    url: str
    runner: asyncio.Runner

    def compare(self, target: str, body: JSON) -> Any:
        """Return the answer that both give."""
        (status, ours), (natives, native) = self.runner.run(self._ask(target, body))
        assert comparable(ours) == comparable(native)
        assert status == natives
        return native

    async def _ask(self, target: str, body: JSON) -> tuple[tuple[int, Any], tuple[int, Any]]:
        ours = await self.app.call("POST", target, body)
        async with self.app.session.post(self.url + target, json=body) as reply:
            return (ours.status, ours.json()), (reply.status, await reply.json(content_type=None))


@pytest.fixture(scope="module")
def both(native: RunningElasticsearch) -> Iterator[Both]:
    call = native.server.call
    for name, shards, count, parts in INDICES:
        settings_ = {"number_of_shards": shards, "number_of_replicas": 0}
        assert call("PUT", f"/{name}", {"settings": settings_, "mappings": mappings(parts)}).status == 200
        lines = [
            line for n, each in enumerate(documents(count)) for line in ({"index": {"_id": f"{n}"}}, each)
        ]
        bulk = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        assert call("POST", f"/{name}/_bulk?refresh=true", bulk).json()["errors"] is False
    with asyncio.Runner() as runner:
        serving = search_app(native.url, evaluate=EVALUATED)
        yield Both(runner.run(serving.__aenter__()), native.url, runner)
        runner.run(serving.__aexit__(None, None, None))
    for name, *_ in INDICES:
        call("DELETE", f"/{name}")


def comparable(answer: Any, path: tuple[str, ...] = ()) -> Any:
    """Return an answer without what differs from run to run, and of a profile what each shard has."""
    if isinstance(answer, list):
        return [comparable(each, path) for each in answer]
    if not isinstance(answer, Mapping):
        return answer
    if path == ("profile",):
        return sorted(map(profiled, answer["shards"]))
    return {name: 0 if name == "took" else comparable(value, (*path, name)) for name, value in answer.items()}


def profiled(shard: Any) -> Any:
    return shard["id"], sorted(shard), [sorted(search) for search in shard["searches"]]


def is_known_to_differ(body: JSON, options: str) -> bool:
    """Tell whether docs/native-behaviour.md says that the two differ: in statistics of several shards in
    explanations (X5), and in a vector's similarity below a rescorer (X8); or whether chance decides which of
    two children fails first, or native fails because it does not refuse to scroll a `diversify`.
    """
    text = json.dumps(body)
    if "scroll" in options and "diversify" in body["retriever"]:
        return True
    explained = "explain" in body or "explain=true" in options
    odd = "dfs_query" in options or '"rescorer": {"retriever": {"knn"' in text
    return (explained and odd) or text.count('"unknown"') > 1


@pytest.mark.timeout(0 if EXAMPLES else 3 * TIMEOUT_S)
@(settings(max_examples=EXAMPLES) if EXAMPLES else examples(10))
@given(
    body=bodies(),
    index=st.sampled_from(TARGETS),
    options=st.lists(st.sampled_from(URL_OPTIONS), max_size=2, unique=True).map("&".join),
)
def test_any_search(both: Both, index: str, body: JSON, options: str) -> None:
    assume(not is_known_to_differ(body, options))
    both.compare(f"/{index}/_search?{options}", body)


def standard(query: JSON, **options: Any) -> JSON:
    return {"standard": {"query": query, **options}}


def reranker(child: JSON, **options: Any) -> JSON:
    given = {"field": "text", "inference_text": "q", "rank_window_size": 6, **options}
    return {"text_similarity_reranker": {"retriever": child, **given}}


def rrf(*children: JSON, **options: Any) -> JSON:
    return {"rrf": {"retrievers": list(children), "rank_window_size": 6, **options}}


ALL: Final = standard({"match_all": {}})
CRIME: Final = standard({"match": {"text": "crime"}})
NAMED: Final = standard({"match": {"text": {"query": "crime", "_name": "clause"}}})
KNN: Final = {"knn": {"field": "v", "query_vector": [3, 1], "k": 6, "num_candidates": 20}}
GROUPS: Final = {"g": {"terms": {"field": "group"}}, "o": {"terms": {"field": "odd"}}}
HIGHLIGHT: Final[JSON] = {"highlight": {"fields": {"text": {}}}}
FILTERED: Final = standard({"match": {"text": "punishment"}}, filter={"range": {"n": {"gte": 12}}})
LEAST: Final = standard({"match": {"text": "crime"}}, min_score=0.1)

SEARCHES: Final[dict[str, JSON]] = {
    "aggregations where min_score leaves some": {"retriever": reranker(ALL, min_score=3), "aggs": GROUPS},
    "and without hits": {"retriever": reranker(ALL, min_score=3), "aggs": GROUPS, "size": 0},
    "aggregations where min_score leaves none": {"retriever": reranker(ALL, min_score=99), "aggs": GROUPS},
    "aggregations and a top-level min_score": {"retriever": reranker(ALL), "aggs": GROUPS, "min_score": 4},
    "aggregations and a child's min_score": {"retriever": reranker(LEAST), "aggs": GROUPS},
    "a vector search whose documents lack text": {"retriever": reranker(KNN), "aggs": GROUPS},
    "a vector search without any text": {"retriever": reranker(KNN, field="missing"), "aggs": GROUPS},
    "a vector search and a raw min_score": {"retriever": reranker(KNN, min_score=2)},
    "a clause's name": {"retriever": reranker(NAMED)},
    "a clause's name beside a filter": {"retriever": reranker(NAMED, filter=ODD)},
    "names' scores": {"retriever": reranker(NAMED, filter=ODD, _name="top")},
    "highlights of all leaves": {"retriever": reranker(rrf(KNN, FILTERED)), **HIGHLIGHT},
    "highlights of what explains": {"retriever": reranker(rrf(KNN, FILTERED)), **HIGHLIGHT, "explain": True},
    "highlights without the tail": {"retriever": rrf(FILTERED), **HIGHLIGHT, "track_total_hits": False},
    "the plain highlighter": {
        "retriever": reranker(CRIME, filter=ODD),
        "highlight": {"type": "plain", "fields": {"text": {}}},
    },
    "a score that underflows": {"retriever": reranker(CRIME, field="low"), "explain": True},
    "scores that underflow in a sum": {
        "retriever": {
            "linear": {
                "retrievers": [{"retriever": reranker(CRIME, field="low"), "weight": 2}],
                "rank_window_size": 6,
            }
        },
        "explain": True,
    },
    "boosts of indices": {
        "retriever": reranker(rrf(CRIME, KNN)),
        "indices_boost": [{"o*": 7}, {"two": 0.5}],
        "explain": True,
    },
    "failures that are allowed": {
        "retriever": reranker(CRIME, inference_id="unknown", allow_rerank_failures=True)
    },
    "the same below a collapsed child": {
        "retriever": reranker(
            standard({"match": {"text": "crime"}}, collapse={"field": "group"}),
            inference_id="unknown",
            allow_rerank_failures=True,
        )
    },
    "failures of which min_score leaves some": {
        "retriever": reranker(
            KNN, inference_id="unknown", allow_rerank_failures=True, min_score=0.4, filter=ODD
        ),
        "collapse": {"field": "group", "inner_hits": {"name": "all", "size": 9}},
    },
    "no endpoint is looked for where nothing is found": {
        "retriever": reranker(rrf(standard({"match_none": {}})), inference_id="unknown")
    },
}


@pytest.mark.parametrize("index", ["one", "one,two"])
@pytest.mark.parametrize("body", SEARCHES.values(), ids=SEARCHES.keys())
def test_searches(both: Both, index: str, body: JSON) -> None:
    answer = both.compare(f"/{index}/_search?include_named_queries_score=true", body)
    assert "hits" in answer


def searched(**options: Any) -> JSON:
    return {"retriever": reranker(CRIME), **options}


NO_BOOSTS: Final[list[Any]] = [1, {}, [1], [{"one": "2"}], [{"missing": 2}]]
REFUSED: Final[tuple[tuple[str, JSON], ...]] = (
    *((f"{name}=x", {}) for name in ("ccs_minimize_roundtrips", "scroll", "terminate_after")),
    ("=x", {}),
    ("terminate_after=-1", {}),
    ("", {"terminate_after": -1}),
    *(("", {name: True}) for name in ("size", "from", "min_score")),
    *(("", {"indices_boost": boosts}) for boosts in NO_BOOSTS),
    *(("", {name: {}}) for name in ("query", "knn", "rank", "rescore", "slice", "pit", "search_after")),
    ("", {"search_after": []}),
    ("", {"sub_searches": [1]}),
    # Of two mistakes, the one that is found before the search is validated.
    ("foo=1", {"sort": ["n"]}),
    ("search_type=x", {"size": 7}),
    ("from=-1", {"foo": 1}),
    ("size=7", {"aggs": {"g": {"terms": {"foo": 1}}}}),
    ("scroll=1m", {"query": {"bogus": {}}}),
    ("", {"size": 7, "retriever": reranker(standard({"bogus": {}}))}),
    ("size=7", {"foo": 1, "retriever": reranker(standard({"bogus": {}}))}),
    ("size=7", {"sub_searches": [], "sort": ["n"]}),
)


def test_what_is_refused_and_for_which_mistake(both: Both) -> None:
    for query, options in REFUSED:
        for body in (searched(**options), {**options, **searched(), **options}):
            answer = both.compare(f"/one/_search?{query}", body)
            assert "error" in answer, (query, body)


ANSWERED: Final[tuple[tuple[str, JSON], ...]] = (
    *((query, {"explain": True, "size": 1}) for query in ("explain", "explain=")),
    ("", {"terminate_after": "-0"}),
    ("", {"terminate_after": 0.5}),
    ("ignore_unavailable=true", {"indices_boost": [{"missing": 2}]}),
    ("", {"retriever": reranker(CRIME, allow_rerank_failures="")}),
)


def test_what_is_answered_for_all_that(both: Both) -> None:
    for query, options in ANSWERED:
        answer = both.compare(f"/one/_search?{query}", searched(**options))
        assert answer["hits"]["hits"], (query, options)


@pytest.mark.parametrize(
    "filter_", ["text", ["n", "odd", "text"], {"excludes": ["text", "parts.p"]}, ["p*s", "*d*"], []]
)
def test_what_is_left_of_a_source(both: Both, filter_: Any) -> None:
    """The same bytes, in the same order."""
    body = searched(_source=filter_)
    answers = both.runner.run(both._ask("/three/_search", body))
    ours, native = ([hit["_source"] for hit in answer["hits"]["hits"]] for _, answer in answers)
    assert json.dumps(ours) == json.dumps(native)


PROFILED: Final[dict[str, JSON]] = {
    "a query": reranker(CRIME),
    "vectors": reranker(KNN),
    "several": {"rescorer": {"retriever": CRIME, "rescore": {"query": {"rescore_query": {"match_all": {}}}}}},
}


@pytest.mark.parametrize("index", ["one", "three"])
@pytest.mark.parametrize("size", [0, 2])
@pytest.mark.parametrize("retriever", PROFILED.values(), ids=PROFILED.keys())
def test_profiles(both: Both, index: str, size: int, retriever: JSON) -> None:
    """Names and places of all queries, and the search that native says it profiled."""
    body = {"retriever": retriever, "profile": True, "size": size}
    (_, ours), (_, native) = both.runner.run(both._ask(f"/{index}/_search", body))
    mine, theirs = ours["profile"], native["profile"]
    assert shapes(mine) == shapes(theirs)
    assert mine["request"]["source"]["query"] == theirs["request"]["source"]["query"]


def shapes(profile: Any) -> Any:
    return sorted(
        (shard["id"], [shape(query) for search in shard["searches"] for query in search["query"]])
        for shard in profile["shards"]
    )


def shape(query: Any) -> Any:
    return query["type"], query["description"], [shape(child) for child in query.get("children", ())]


def test_highlights_where_expensive_queries_are_not_allowed(both: Both, native: RunningElasticsearch) -> None:
    """There, terms are highlighted where they match: no query may name the field that shows them all."""
    setting = "search.allow_expensive_queries"
    call = native.server.call
    assert call("PUT", "/_cluster/settings", {"transient": {setting: False}}).status == 200
    try:
        body = {"retriever": reranker(CRIME), **HIGHLIGHT}
        answer = both.runner.run(both.app.call("POST", "/one/_search", body))
        assert all("highlight" in hit for hit in answer.hits)
    finally:
        call("PUT", "/_cluster/settings", {"transient": {setting: None}})
