"""Explanations are those of Elasticsearch, byte for byte.

Its own `rescorer` is the compound retriever that needs no licence. Its explanations are made anew here out of
those of plain searches.
"""

import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import pytest

from rerank_proxy.search.retrievers import explanations
from rerank_proxy.search.retrievers.explanations import Detail, Explanation
from rerank_proxy.xcontent.splicing import Printer, elements, members, text
from testbed import RunningElasticsearch, Server

pytestmark = pytest.mark.every_version

DEPTH: Final = 4
"""Of `_explanation` in an answer: answer, hits, hits, hit, explanation."""

MATCH: Final = {"standard": {"query": {"match": {"text": "film"}}}}
LATER: Final = {"query": {"rescore_query": {"range": {"n": {"gte": 3}}}}}


@dataclass(frozen=True)
class Hit:
    score: float
    explanation: bytes
    shard_doc: int = 0

    @property
    def shard(self) -> int:
        return self.shard_doc >> 32


@dataclass
class Searches:
    """Explained searches on one point in time of an index."""

    server: Server
    pit: str
    pretty: bool

    def hits(self, body: dict[str, Any]) -> dict[str, Hit]:
        target = "/_search?pretty" if self.pretty else "/_search"
        reply = self.server.call("POST", target, {"pit": {"id": self.pit}, "explain": True, **body})
        assert reply.status == 200, reply.body
        hits = elements(members(members(reply.body)["hits"])["hits"])
        return {text(hit["_id"]): _hit(hit) for hit in map(members, hits)}

    def window(self, query: dict[str, Any]) -> dict[str, Hit]:
        """Return the hits of a query, with what breaks their ties."""
        return self.hits({"query": query, "sort": ["_score", {"_shard_doc": "asc"}], "track_scores": True})

    def printed(self, explanation: Explanation) -> bytes:
        return explanation.printed(Printer(self.pretty), DEPTH)


def _hit(hit: dict[str, bytes]) -> Hit:
    sort = elements(hit["sort"]) if "sort" in hit else []
    return Hit(float(hit["_score"]), hit["_explanation"], *map(int, sort[1:]))


@pytest.fixture(scope="module", params=[False, True], ids=["flat", "nested"])
def nested(request: pytest.FixtureRequest) -> bool:
    """Return whether the mapping has nested fields."""
    return bool(request.param)


@pytest.fixture(scope="module")
def index(elasticsearch: RunningElasticsearch, nested: bool) -> Iterator[str]:
    """Index ten documents in two shards."""
    name = f"explained-{uuid.uuid4().hex[:12]}"
    call = elasticsearch.server.call
    properties = {"text": {"type": "text"}, "n": {"type": "long"}}
    if nested:
        properties["comments"] = {"type": "nested"}
    settings = {"number_of_shards": 2, "number_of_replicas": 0}
    assert (
        call("PUT", f"/{name}", {"settings": settings, "mappings": {"properties": properties}}).status == 200
    )
    for n in range(10):
        document = {"text": " ".join(["film"] * (n % 4 + 1) + ["é\n\"'"]), "n": n}
        assert call("PUT", f"/{name}/_doc/{n}", document).status == 201
    assert call("POST", f"/{name}/_refresh").status == 200
    yield name
    call("DELETE", f"/{name}")


@pytest.fixture(params=[False, True], ids=["compact", "pretty"])
def searches(
    elasticsearch: RunningElasticsearch, index: str, request: pytest.FixtureRequest
) -> Iterator[Searches]:
    server = elasticsearch.server
    pit = server.call("POST", f"/{index}/_pit?keep_alive=1m").json()["id"]
    yield Searches(server, pit, request.param)
    server.call("DELETE", "/_pit", {"id": pit})


def rescorer(child: dict[str, Any], window: int = 3) -> dict[str, Any]:
    return {"rescorer": {"retriever": child, "rescore": {"window_size": window, **LATER}}}


def in_mapping(ranked: Explanation, score: float, nested: bool) -> Explanation:
    return explanations.without_nested(score, ranked) if nested else ranked


def ranked(found: dict[str, Hit], window: dict[str, Hit], below: dict[str, Detail]) -> dict[str, Explanation]:
    """Put the generic node above each explanation of the child."""
    return {
        id_: explanations.rank_doc(window[id_].shard_doc, hit.score, rank, [below[id_]])
        for rank, (id_, hit) in enumerate(found.items(), start=1)
    }


def test_rescorer(searches: Searches, nested: bool) -> None:
    window = searches.window(MATCH["standard"]["query"])
    found = searches.hits({"retriever": rescorer(MATCH)})
    assert len(found) == 3
    children: dict[str, Detail] = {id_: hit.explanation for id_, hit in window.items()}
    for id_, explanation in ranked(found, window, children).items():
        hit = found[id_]
        assert searches.printed(in_mapping(explanation, hit.score, nested)) == hit.explanation


def test_rescorer_above_a_rescorer(searches: Searches, nested: bool) -> None:
    window = searches.window(MATCH["standard"]["query"])
    children: dict[str, Detail] = {id_: hit.explanation for id_, hit in window.items()}
    lower = ranked(searches.hits({"retriever": rescorer(MATCH)}), window, children)
    found = searches.hits({"retriever": rescorer(rescorer(MATCH))})
    assert len(found) == 3
    for id_, explanation in ranked(found, window, dict(lower)).items():
        hit = found[id_]
        assert searches.printed(in_mapping(explanation, hit.score, nested)) == hit.explanation


@pytest.mark.parametrize("nested", [False], ids=["flat"], indirect=True)
def test_the_tail(searches: Searches) -> None:
    """Hits of the tail, which a filter lets in, are explained by how many rank docs their shard has."""
    window = searches.window(MATCH["standard"]["query"])
    (best,) = searches.hits({"retriever": rescorer(MATCH, 1)})
    counts = set()
    for id_ in window.keys() - {best}:
        (hit,) = searches.hits(
            {"retriever": rescorer(MATCH, 1), "post_filter": {"ids": {"values": [id_]}}}
        ).values()
        count = int(window[id_].shard == window[best].shard)
        assert searches.printed(explanations.not_ranked(count)) == hit.explanation
        counts.add(count)
    assert counts == {0, 1}
