"""Scores and inner searches that fail, and what the client is told: always in Elasticsearch's shape."""

import json
from collections.abc import AsyncIterator
from typing import Any, Final

import pytest

from rerank_proxy.engine import DeadlineExceededError, ModelFailedError, QueueFullError
from testbed import RunningElasticsearch
from tests.live.conftest import MakeIndex
from tests.support.crime_indices import CRIME_MAPPING
from tests.support.retrievers import rrf
from tests.support.search_app import BOTH_PATHS, SearchApp, search_app
from tests.support.searches import KNN, QUERY, STANDARD, reranking

CRIMES: Final = [{"text": f"crime {n}", "v": [1, n]} for n in range(1, 9)]


UNREADABLE: Final = ("_source", "_seq_no", "_field_names", "_nested_path", "_data_stream_timestamp")
"""Fields whose values Elasticsearch does not give."""


@pytest.fixture
async def app(elasticsearch: RunningElasticsearch) -> AsyncIterator[SearchApp]:
    async with search_app(elasticsearch.url) as serving:
        yield serving


@pytest.fixture
def crimes(make_index: MakeIndex) -> str:
    documents = [{"text": f"crime {n}", "v": [1, n]} for n in range(1, 5)]
    return make_index([*documents, {"v": [0, 1]}], mappings=CRIME_MAPPING)


def wrapper(name: str) -> str:
    return (
        f"[text_similarity_reranker] search failed - retrievers '[{name}]' returned errors. "
        "All failures are attached as suppressed exceptions."
    )


class TestInference:
    @BOTH_PATHS
    @pytest.mark.parametrize(("child", "name"), [(STANDARD, "standard"), (KNN, "knn")])
    async def test_an_unknown_endpoint(
        self, app: SearchApp, crimes: str, path: str, child: Any, name: str
    ) -> None:
        answer = await app.search(crimes, reranking(child, inference_id="nope"), path)
        assert answer.status == 404
        assert answer.json() == {
            "error": {
                "root_cause": [
                    {
                        "type": "status_exception",
                        "reason": wrapper(name),
                        "suppressed": [
                            {
                                "type": "search_phase_execution_exception",
                                "reason": "Computing updated ranks for results failed",
                                "phase": "rank-feature",
                                "grouped": True,
                                "failed_shards": [],
                            }
                        ],
                    }
                ],
                "type": "status_exception",
                "reason": wrapper(name),
                "suppressed": [
                    {
                        "type": "search_phase_execution_exception",
                        "reason": "Computing updated ranks for results failed",
                        "phase": "rank-feature",
                        "grouped": True,
                        "failed_shards": [],
                        "caused_by": {
                            "type": "resource_not_found_exception",
                            "reason": "Inference endpoint not found [nope]",
                        },
                    }
                ],
            },
            "status": 404,
        }
        assert answer.headers["X-elastic-product"] == "Elasticsearch"
        assert answer.headers["content-type"] == "application/json"
        assert "X-Rerank" not in answer.headers

    @pytest.mark.parametrize(
        ("failure", "status", "type_"),
        [
            (DeadlineExceededError("late"), 429, "status_exception"),
            (QueueFullError("full"), 429, "es_rejected_execution_exception"),
            (ModelFailedError("no such file"), 500, "status_exception"),
        ],
    )
    @BOTH_PATHS
    async def test_a_failure_of_the_model(
        self, app: SearchApp, crimes: str, path: str, failure: Exception, status: int, type_: str
    ) -> None:
        app.engine.failure = failure
        answer = await app.search(crimes, reranking(), path)
        assert answer.status == answer.json()["status"] == status
        error = answer.json()["error"]
        assert error["reason"] == wrapper("standard")
        assert error["suppressed"][0]["caused_by"]["type"] == type_
        assert str(failure) in answer.cause["reason"]

    @BOTH_PATHS
    async def test_failures_may_be_allowed(self, app: SearchApp, crimes: str, path: str) -> None:
        """First-stage order, documents without text too, scored by rank."""
        app.engine.failure = QueueFullError("full")
        body = reranking(
            {"standard": {"query": {"match_all": {}}}}, allow_rerank_failures=True, rank_window_size=4
        )
        answer = await app.search(crimes, body, path)
        assert answer.ids == ["0", "1", "2", "3"]
        assert answer.scores == [1.0, 0.5, 0.33333334, 0.25]
        assert answer.total == {"value": 5, "relation": "eq"}
        assert answer.headers["X-Rerank"] == (
            "skipped; endpoint=.rerank-v1-elasticsearch; reason=es_rejected_execution_exception"
        )
        body = reranking(allow_rerank_failures=True, min_score=0.5, inference_id="no\nsuch é " + "x" * 9000)
        answer = await app.search(crimes, body, path)
        assert answer.scores == [1.0, 0.5]
        assert answer.total == {"value": 2, "relation": "eq"}
        assert answer.headers["X-Rerank"].startswith("skipped; endpoint=no_such___xxx")

    @BOTH_PATHS
    async def test_one_header_tells_of_allowed_failures(self, app: SearchApp, crimes: str, path: str) -> None:
        """Nothing in the body tells them from scores; a `Warning` would make strict clients fail."""
        app.engine.failure = ModelFailedError("no such file")
        answer = await app.search(crimes, reranking(allow_rerank_failures=True), path)
        assert answer.headers["X-Rerank"].startswith("skipped; ")
        assert "Warning" not in answer.headers
        app.engine.failure = None
        answer = await app.search(crimes, reranking(allow_rerank_failures=True), path)
        assert answer.headers["X-Rerank"].startswith("applied; ")

    async def test_the_settings_may_allow_them(
        self, elasticsearch: RunningElasticsearch, crimes: str
    ) -> None:
        """To retrievers that do not say."""
        async with search_app(elasticsearch.url, allow_rerank_failures=True) as app:
            app.engine.failure = QueueFullError("full")
            assert (await app.search(crimes, reranking())).scores == [1.0, 0.5, 0.33333334, 0.25]
            refused = await app.search(crimes, reranking(allow_rerank_failures=False))
            assert refused.status == 429

    @BOTH_PATHS
    async def test_every_reranker_of_a_tree_is_told(self, app: SearchApp, crimes: str, path: str) -> None:
        inner = reranking(inference_id="nope", allow_rerank_failures=True)["retriever"]
        answer = await app.search(crimes, reranking(inner), path)
        assert answer.ids == ["3", "2", "1", "0"]
        first, second = answer.headers["X-Rerank"].split(", ")
        assert first == "skipped; endpoint=nope; reason=resource_not_found_exception"
        assert second.startswith("applied; endpoint=.rerank-v1-elasticsearch; ")

    async def test_allowing_them_does_not_cover_the_search(self, app: SearchApp, crimes: str) -> None:
        body = reranking({"standard": {"query": {"bogus": {}}}}, allow_rerank_failures=True)
        assert (await app.search(crimes, body)).status == 400


class TestInnerSearches:
    @BOTH_PATHS
    async def test_a_missing_index(
        self, app: SearchApp, elasticsearch: RunningElasticsearch, path: str
    ) -> None:
        answer = await app.search("none-such", reranking(), path)
        direct = elasticsearch.server.call("POST", "/none-such/_search", {"query": QUERY})
        assert (answer.status, answer.body) == (direct.status, direct.body)
        assert answer.headers["X-elastic-product"] == "Elasticsearch"
        ignored = await app.search("none-such", reranking(), f"ignore_unavailable=true&{path}")
        assert ignored.hits == []

    @BOTH_PATHS
    async def test_a_query_that_elasticsearch_refuses(self, app: SearchApp, crimes: str, path: str) -> None:
        children: list[Any] = [{"query": {"bogus": {}}}, {"query": QUERY, "filter": ["x"] * 12}]
        for child in children:
            answer = await app.search(crimes, reranking({"standard": child}), path)
            assert answer.status == 400
            assert answer.json()["error"]["root_cause"][0]["type"] == "parsing_exception"
        assert app.engine.asked == []

    @BOTH_PATHS
    async def test_a_huge_window(self, app: SearchApp, crimes: str, path: str) -> None:
        answer = await app.search(crimes, reranking(rank_window_size=10_001), path)
        assert answer.status == 400
        assert answer.json()["error"]["reason"] == wrapper("standard")
        assert "Result window is too large" in answer.cause["reason"]
        largest = await app.search(crimes, reranking(rank_window_size=10_000), path)
        assert largest.ids == ["3", "2", "1", "0"]

    async def test_a_page_too_far(self, app: SearchApp, crimes: str) -> None:
        answer = await app.search(crimes, {**reranking(), "from": 10_001})
        assert answer.status == 400
        assert "Result window is too large" in answer.json()["error"]["root_cause"][0]["reason"]
        assert (await app.search(crimes, {**reranking(), "from": 9_000})).hits == []

    @BOTH_PATHS
    @pytest.mark.every_version
    @pytest.mark.parametrize("field", UNREADABLE)
    @pytest.mark.parametrize("shards", [1, 2])
    async def test_a_field_that_cannot_be_read(
        self,
        app: SearchApp,
        elasticsearch: RunningElasticsearch,
        make_index: MakeIndex,
        path: str,
        field: str,
        shards: int,
    ) -> None:
        """By the retriever that wants it, in its own phase, after what is below it."""
        index = make_index(CRIMES, mappings=CRIME_MAPPING, settings={"number_of_shards": shards})
        shown = {"fields": [field], "_source": False}
        direct = elasticsearch.server.call("POST", f"/{index}/_search", {"query": QUERY, **shown})
        failure = json.loads(direct.body)["error"]
        failure.pop("root_cause")
        assert failure["reason"] == "all shards failed"
        failure["phase"] = "rank-feature"
        unread = reranking(field=field)["retriever"]
        trees = [
            (unread, "standard"),
            (reranking(unread)["retriever"], "standard"),
            (rrf(STANDARD, unread), "standard"),
            (reranking(reranking()["retriever"], field=field)["retriever"], "rank_docs_retriever"),
            (reranking(rrf(STANDARD, STANDARD), field=field)["retriever"], "rank_docs_retriever"),
            (reranking(unread, field=UNREADABLE[0])["retriever"], "standard"),
        ]
        for tree, child in trees:
            answer = await app.search(index, {"retriever": tree}, path)
            assert answer.status == direct.status
            assert answer.json()["error"]["reason"] == wrapper(child)
            (told,) = answer.json()["error"]["suppressed"]
            assert told == failure
        nothing: Any = {"standard": {"query": {"match_none": {}}}}
        for tree in (reranking(nothing, field=field), reranking(rrf(nothing, nothing), field=field)):
            assert (await app.search(index, tree, path)).hits == []

    @BOTH_PATHS
    async def test_a_field_that_some_shards_cannot_be_asked_for(
        self, app: SearchApp, make_index: MakeIndex, path: str
    ) -> None:
        """Their documents are missed there, and nowhere below."""
        index = make_index(CRIMES, mappings=CRIME_MAPPING, settings={"number_of_shards": 2})
        one = {"standard": {"query": {"ids": {"values": ["1"]}}}}
        answer = await app.search(index, reranking(reranking(one)["retriever"], field="_source"), path)
        assert (answer.hits, answer.total["value"]) == ([], 1)
        texts = len(app.engine.asked)
        assert texts > 0

    @BOTH_PATHS
    async def test_an_empty_window(self, app: SearchApp, crimes: str, path: str) -> None:
        answer = await app.search(crimes, reranking(rank_window_size=0), path)
        assert answer.status == 400
        assert "[rank] requires [size] greater than [0]" in answer.json()["error"]["reason"]

    @BOTH_PATHS
    async def test_a_field_that_no_document_has(self, app: SearchApp, crimes: str, path: str) -> None:
        answer = await app.search(crimes, reranking(field="nope"), path)
        assert (answer.hits, answer.total) == ([], {"value": 4, "relation": "eq"})
        assert "scored=0;" in answer.headers["X-Rerank"]

    @BOTH_PATHS
    async def test_shards_that_fail_are_left_out(
        self, app: SearchApp, make_index: MakeIndex, path: str
    ) -> None:
        """The query fails in the index that takes `d` for a date."""
        good = make_index(
            [{"text": "crime 1", "d": "x"}], mappings={"properties": {"d": {"type": "keyword"}}}
        )
        bad = make_index(
            [{"text": "crime 2", "d": "2020-01-02"}], mappings={"properties": {"d": {"type": "date"}}}
        )
        child = {"standard": {"query": {"bool": {"must": QUERY, "filter": {"range": {"d": {"gte": "b"}}}}}}}
        answer = await app.search(f"{good},{bad}", reranking(child), path)
        assert [hit["_index"] for hit in answer.hits] == [good]
        shards = answer.json()["_shards"]
        assert (shards["total"], shards["failed"]) == (2, 1)
        refused = await app.search(
            f"{good},{bad}", {**reranking(child), "track_total_hits": False},
            f"allow_partial_search_results=false&{path}",
        )  # fmt: skip
        assert refused.status >= 400
        assert "failed to parse date field [b]" in refused.body.decode()
        every = await app.search(bad, reranking(child), path)
        assert every.status == 400
        assert every.json()["error"]["reason"] == wrapper("standard")
        (failed,) = every.json()["error"]["suppressed"]
        assert (failed["reason"], failed["phase"]) == ("all shards failed", "query")
        (shard,) = failed["failed_shards"]
        assert shard["index"] == bad
        assert "failed to parse date field [b]" in shard["reason"]["caused_by"]["reason"]
        (at_root,) = every.json()["error"]["root_cause"][0]["suppressed"]
        assert "caused_by" not in at_root
        assert "caused_by" not in at_root["failed_shards"][0]["reason"]

    async def test_options_that_only_the_final_search_reads(self, app: SearchApp, crimes: str) -> None:
        for body, query in (({"colapse": {}}, ""), ({"_source": 5, "fields": []}, ""), ({}, "foo=1")):
            answer = await app.search(crimes, {**reranking(), **body}, query)
            assert answer.status == 400
            assert answer.json()["error"]["root_cause"][0]["reason"]
        await app.executor.drain()
