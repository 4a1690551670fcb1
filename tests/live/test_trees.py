"""Trees that the test's Elasticsearch cannot evaluate itself: what they rank is worked out here by hand."""

import asyncio
import json
import uuid
from collections.abc import AsyncIterator, Iterator
from typing import Any, Final

import numpy as np
import pytest
import pytest_asyncio

from testbed import RunningElasticsearch
from tests.support.raw_http import TIMEOUT_S
from tests.support.search_app import SearchApp, search_app
from tests.support.searches import reranking

SIZE: Final = 8
JSON = dict[str, Any]

pytestmark = pytest.mark.every_version


@pytest.fixture(scope="module")
def index(elasticsearch: RunningElasticsearch) -> Iterator[str]:
    """Index eight documents. `text` and `other` end with the score that the reranker gives them."""
    name = f"fused-{uuid.uuid4().hex[:12]}"
    call = elasticsearch.server.call
    properties = {
        "text": {"type": "keyword"},
        "other": {"type": "keyword"},
        "n": {"type": "integer"},
        "words": {"type": "text"},
        "v": {"type": "dense_vector", "dims": 2, "similarity": "l2_norm", "index_options": {"type": "flat"}},
    }
    mapping = {
        "settings": {"number_of_shards": 2, "number_of_replicas": 0},
        "mappings": {"properties": properties},
    }
    assert call("PUT", f"/{name}", mapping).status == 200
    lines: list[JSON] = []
    for n in range(SIZE):
        values = {"text": f"t {n % 4}", "other": f"o {SIZE - n}", "n": n, "v": [n, 0], "words": f"crime {n}"}
        lines += [{"index": {"_id": str(n)}}, values]
    bulk = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    assert call("POST", f"/{name}/_bulk?refresh=true", bulk).json()["errors"] is False
    yield name
    call("DELETE", f"/{name}")


@pytest_asyncio.fixture
async def app(elasticsearch: RunningElasticsearch) -> AsyncIterator[SearchApp]:
    async with search_app(elasticsearch.url) as running:
        yield running


def scored(scores: dict[int, float], **options: Any) -> JSON:
    """Return a retriever that finds these documents with these scores."""
    should = [{"constant_score": {"filter": {"term": {"n": n}}, "boost": s}} for n, s in scores.items()]
    return {"standard": {"query": {"bool": {"should": should}}, **options}}


UP: Final = scored({0: 4, 1: 3, 2: 2, 3: 1})
DOWN: Final = scored({3: 8, 2: 6, 5: 2})
VECTORS: Final = {"knn": {"field": "v", "query_vector": [6, 0], "k": 3, "num_candidates": 10}}


def rrf(*children: JSON, **options: Any) -> JSON:
    return {"rrf": {"retrievers": list(children), **options}}


def linear(*children: JSON, **options: Any) -> JSON:
    return {"linear": {"retrievers": list(children), **options}}


def worth(*ranks: int, constant: int = 60) -> float:
    total = np.float32(0)
    for rank in ranks:
        total += np.float32(1) / np.float32(constant + rank)
    return float(total)


def printed(*scores: float | np.float32) -> list[float]:
    """Print scores as a client reads them: as the shortest decimal of a float32."""
    return [float(str(np.float32(score))) for score in scores]


class TestWithoutAReranker:
    """Beyond native: where upstream does not know these retrievers they are evaluated all the same."""

    async def test_rrf(self, app: SearchApp, index: str) -> None:
        answer = await app.search(index, {"retriever": rrf(UP, DOWN)})
        assert answer.ids == ["3", "2", "0", "1", "5"]
        assert answer.scores == printed(worth(4, 1), worth(3, 2), worth(1), worth(2), worth(3))
        assert answer.total == {"value": 5, "relation": "eq"}
        assert answer.headers["X-Rerank"] == "evaluated; retrievers=rrf"

    async def test_rrf_with_weights_constant_and_window(self, app: SearchApp, index: str) -> None:
        children = ({"retriever": UP, "weight": 2}, DOWN)
        answer = await app.search(index, {"retriever": rrf(*children, rank_constant=1, rank_window_size=2)})
        assert answer.ids == ["0", "1"]
        assert answer.scores == printed(1.0, float(np.float32(2) * (np.float32(1) / np.float32(3))))
        assert answer.total["value"] == 5

    async def test_linear(self, app: SearchApp, index: str) -> None:
        children = ({"retriever": UP, "weight": 2, "normalizer": "minmax"}, {"retriever": DOWN})
        answer = await app.search(index, {"retriever": linear(*children)})
        assert (answer.ids[:2], set(answer.ids[2:4]), answer.ids[4]) == (["3", "2"], {"0", "5"}, "1")
        third = np.float32(1) / np.float32(3)
        assert answer.scores == printed(
            8, 2 * third + np.float32(6), 2, 2, 2 * (np.float32(2) / np.float32(3))
        )

    async def test_linear_takes_the_scores_of_a_sorted_child(self, app: SearchApp, index: str) -> None:
        by_number = scored({0: 4, 1: 3, 2: 2}, sort=[{"n": "desc"}])
        body = {"retriever": linear({"retriever": by_number}, rank_window_size=2), "size": 2}
        assert [(hit["_id"], hit["_score"]) for hit in (await app.search(index, body)).hits] == [
            ("1", 3.0),
            ("2", 2.0),
        ]

    async def test_linear_keeps_its_min_score(self, app: SearchApp, index: str) -> None:
        children = ({"retriever": UP}, {"retriever": DOWN})
        answer = await app.search(index, {"retriever": linear(*children, min_score=4)})
        assert answer.ids == ["3", "2", "0"]
        assert answer.total == {"value": 3, "relation": "eq"}

    async def test_vectors(self, app: SearchApp, index: str) -> None:
        answer = await app.search(index, {"retriever": rrf(UP, VECTORS)})
        assert answer.ids[:2] in (["0", "6"], ["6", "0"])
        assert set(answer.ids) == {"0", "1", "2", "3", "5", "6", "7"}
        assert answer.total == {"value": 7, "relation": "eq"}

    async def test_pinned(self, app: SearchApp, index: str) -> None:
        pinned = {"pinned": {"ids": ["7", "missing", "2"], "retriever": UP}}
        answer = await app.search(index, {"retriever": pinned})
        assert answer.ids == ["7", "2", "0", "1", "3"]
        assert b'"_score":1.7014126E38' in answer.body
        assert answer.scores[2:] == [4.0, 3.0, 1.0]
        assert answer.total["value"] == 5

    async def test_pinned_by_index(self, app: SearchApp, index: str) -> None:
        docs = [{"_index": "another", "_id": "7"}, {"_index": index, "_id": "6"}, {"_id": "5"}]
        pinned = {"pinned": {"docs": docs, "retriever": UP, "filter": {"term": {"n": 1}}}}
        answer = await app.search(index, {"retriever": pinned})
        assert answer.ids == ["6", "5", "1"]

    async def test_the_simplified_form(self, app: SearchApp, index: str) -> None:
        form = {"rrf": {"query": "crime 3", "fields": ["words^2", "text"]}}
        answer = await app.search(index, {"retriever": form})
        assert answer.ids[0] == "3"
        assert answer.scores[0] == printed(worth(1))[0]
        assert answer.total["value"] == SIZE
        form = {"linear": {"query": "crime 3", "fields": ["words"], "normalizer": "minmax"}}
        assert (await app.search(index, {"retriever": form})).scores[0] == 1.0

    async def test_upstream_is_asked_once(self, app: SearchApp, index: str) -> None:
        for _ in range(2):
            assert (await app.search(index, {"retriever": rrf(UP, DOWN)})).status == 200
        assert sum("filter_path" in target for target in app.upstream.sent) == 1

    async def test_it_can_be_switched_off(self, elasticsearch: RunningElasticsearch, index: str) -> None:
        async with search_app(elasticsearch.url, evaluate_unavailable_retrievers=False) as app:
            assert (await app.search(index, {"retriever": rrf(UP, DOWN)})).status == 421

    async def test_what_upstream_knows_is_left_to_it(self, app: SearchApp, index: str) -> None:
        rescored = {"rescorer": {"retriever": UP, "rescore": {"query": {"rescore_query": {"match_all": {}}}}}}
        body = {"retriever": rescored, "stats": ["rrf"], "query_text": "rrf"}
        assert (await app.search(index, body)).status == 421


class TestReranked:
    async def test_over_rrf(self, app: SearchApp, index: str) -> None:
        answer = await app.search(index, reranking(rrf(UP, DOWN)))
        assert (answer.ids[:2], set(answer.ids[2:4]), answer.ids[4]) == (["3", "2"], {"1", "5"}, "0")
        assert answer.scores == [4.0, 3.0, 2.0, 2.0, 1.0]
        assert answer.total == {"value": 5, "relation": "eq"}
        assert sorted(app.engine.asked[0]) == ["t 0", "t 1", "t 1", "t 2", "t 3"]

    async def test_under_rrf_with_a_sibling(self, app: SearchApp, index: str) -> None:
        answer = await app.search(index, {"retriever": rrf(reranking(UP)["retriever"], DOWN)})
        assert answer.ids[0] == "3"
        assert answer.scores[0] == printed(worth(1, 1))[0]

    async def test_under_linear(self, app: SearchApp, index: str) -> None:
        children = ({"retriever": reranking(UP)["retriever"], "normalizer": "minmax"}, {"retriever": DOWN})
        answer = await app.search(index, {"retriever": linear(*children)})
        assert (answer.ids[0], answer.scores[0]) == ("3", 9.0)

    async def test_a_cascade_with_two_fields(self, app: SearchApp, index: str) -> None:
        inner = reranking(UP, rank_window_size=3)["retriever"]
        body = reranking(inner, field="other", rank_window_size=2)
        answer = await app.search(index, body)
        # The inner one takes 0, 1, 2 and puts 2 and 1 first; the outer one sees these two.
        assert answer.ids == ["1", "2"]
        assert answer.scores == [8.0, 7.0]
        assert [sorted(texts) for texts in app.engine.asked] == [["t 0", "t 1", "t 2"], ["o 6", "o 7"]]
        assert answer.headers["X-Rerank"].count("applied;") == 2
        searches = [target for target in app.upstream.sent if "_search" in target]
        assert len(searches) == 2, "the texts of both fields come with the window's own search"

    async def test_in_pinned(self, app: SearchApp, index: str) -> None:
        pinned = {"pinned": {"ids": ["7"], "retriever": reranking(UP)["retriever"]}}
        answer = await app.search(index, {"retriever": pinned})
        assert answer.ids == ["7", "3", "2", "1", "0"]
        assert answer.scores[1:] == [4.0, 3.0, 2.0, 1.0]

    async def test_in_a_rescorer(self, app: SearchApp, index: str) -> None:
        query = {"constant_score": {"filter": {"term": {"n": 0}}, "boost": 10}}
        rescorer = {"retriever": reranking(UP)["retriever"], "rescore": {"query": {"rescore_query": query}}}
        answer = await app.search(index, {"retriever": {"rescorer": rescorer}})
        assert answer.ids == ["0", "3", "2", "1"]
        assert answer.scores == [11.0, 4.0, 3.0, 2.0]

    async def test_filters_reach_the_leaves(self, app: SearchApp, index: str) -> None:
        filters = [{"range": {"n": {"gte": 1}}}]
        body = reranking(rrf(UP, DOWN, filter={"range": {"n": {"lte": 3}}}), filter=filters)
        answer = await app.search(index, body)
        assert answer.ids == ["3", "2", "1"]
        assert answer.total["value"] == 3

    async def test_nothing_found(self, app: SearchApp, index: str) -> None:
        nothing: JSON = {"standard": {"query": {"match_none": {}}}}
        answer = await app.search(index, reranking(rrf(nothing, nothing)))
        assert answer.ids == []
        assert answer.total == {"value": 0, "relation": "eq"}
        assert answer.json()["hits"]["max_score"] is None

    async def test_siblings_are_evaluated_at_the_same_time(self, app: SearchApp, index: str) -> None:
        both = 0
        met = asyncio.Event()

        async def meet() -> None:
            nonlocal both
            both += 1
            if both == 2:
                met.set()
            await met.wait()

        app.engine.before = meet
        tree = rrf(reranking(UP)["retriever"], reranking(DOWN)["retriever"])
        answer = await asyncio.wait_for(app.search(index, {"retriever": tree}), TIMEOUT_S)
        assert answer.ids[0] == "3"


class TestExplain:
    async def test_of_rrf(self, app: SearchApp, index: str) -> None:
        tree = rrf(UP, scored({3: 8, 2: 6}, _name="second"))
        answer = await app.search(index, {"retriever": tree, "explain": True})
        first = answer.hits[0]["_explanation"]
        assert first["value"] == answer.scores[0]
        assert first["description"] == (
            f"rrf score: [{printed(worth(4, 1))[0]}] computed for initial ranks [4, 1] "
            "with rankConstant: [60] as sum of [1 / (rank + rankConstant)] for each query"
        )
        assert [each["value"] for each in first["details"]] == [4, 1]
        assert "at index [1] [second]" in first["details"][1]["description"]
        assert first["details"][1]["details"][0]["value"] == 8.0
        missed = answer.hits[2]["_explanation"]["details"][1]
        assert missed["description"] == "rrf score: [0], result not found in query at index [1] [second]"

    async def test_of_the_reranker(self, app: SearchApp, index: str) -> None:
        answer = await app.search(index, {**reranking(UP), "explain": True})
        explanation = answer.hits[0]["_explanation"]
        assert explanation["description"] == (
            "text_similarity_reranker match using inference endpoint: [.rerank-v1-elasticsearch] on document "
            "field: [text] matching on source query "
        )
        assert explanation["value"] == answer.scores[0]
        assert explanation["details"][0]["value"] == 1.0
        assert answer.hits[0]["_shard"].startswith(f"[{index}]")

    async def test_of_linear_and_pinned(self, app: SearchApp, index: str) -> None:
        pinned = {"pinned": {"ids": ["0"], "retriever": UP}}
        body = {"retriever": linear({"retriever": pinned}, {"retriever": DOWN}), "explain": True}
        answer = await app.search(index, body)
        top = answer.hits[0]["_explanation"]
        assert top["description"].startswith("weighted linear combination score: [1.7014122E38] computed for")
        assert top["details"][0]["details"][0]["description"] == "Pinned document, original explanation:"

    async def test_profile_has_the_reranker_beside(self, app: SearchApp, index: str) -> None:
        answer = await app.search(index, {**reranking(UP), "profile": True})
        profile = answer.json()["profile"]
        (query,) = profile["shards"][0]["searches"][0]["query"]
        assert query["type"] == "RankDocsQuery"
        assert "TextSimilarityRankDoc{doc=" in query["description"]
        (entry,) = profile["reranker"]
        assert (entry["outcome"], entry["window"], entry["scored"]) == ("applied", 4, 4)
