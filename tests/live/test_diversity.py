"""Diversifying chooses what Elasticsearch's own `diversify` retriever chooses."""

import json
import random
import uuid
from collections.abc import Iterator
from typing import Any, Final

import pytest

from rerank_proxy.search.ranks.diversity import diversify
from rerank_proxy.search.ranks.ranking import RankDoc
from testbed import RunningElasticsearch

SIZE: Final = 24
WITHOUT: Final = {0, 7, 15}

_random: Final = random.Random(11)
VECTORS: Final = [
    None if n in WITHOUT else [_random.randint(-8, 8) / 4 for _ in range(3)] for n in range(SIZE)
]
QUERY: Final[dict[str, Any]] = {"function_score": {"field_value_factor": {"field": "n"}}}


@pytest.fixture(scope="module")
def index(elasticsearch: RunningElasticsearch) -> Iterator[str]:
    """Index documents in two shards, most with a vector, some with equal scores."""
    name = f"diverse-{uuid.uuid4().hex[:12]}"
    call = elasticsearch.server.call
    vector = {
        "type": "dense_vector",
        "dims": 3,
        "similarity": "max_inner_product",
        "index_options": {"type": "flat"},
    }
    body = {
        "settings": {"number_of_shards": 2, "number_of_replicas": 0},
        "mappings": {"properties": {"n": {"type": "long"}, "v": vector}},
    }
    assert call("PUT", f"/{name}", body).status == 200
    lines: list[dict[str, Any]] = []
    for n, value in enumerate(VECTORS):
        lines += [{"index": {"_id": str(n)}}, {"n": n // 2 + 1, **({"v": value} if value else {})}]
    bulk = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
    assert call("POST", f"/{name}/_bulk?refresh=true", bulk).json()["errors"] is False
    yield name
    call("DELETE", f"/{name}")


def window(elasticsearch: RunningElasticsearch, index: str, size: int) -> list[RankDoc]:
    body = {"query": QUERY, "size": size}
    hits = elasticsearch.server.call("POST", f"/{index}/_search", body).json()["hits"]["hits"]
    return [RankDoc(index, hit["_id"], place, score=hit["_score"]) for place, hit in enumerate(hits)]


@pytest.mark.parametrize("query_vector", [None, [1.0, -0.5, 2.0], [-3.0, -3.0, 0.25]])
@pytest.mark.parametrize("lambda_", [0.0, 0.3, 0.5, 0.9, 1.0])
def test_chooses_what_native_chooses(
    elasticsearch: RunningElasticsearch, index: str, query_vector: list[float] | None, lambda_: float
) -> None:
    for rank_window_size, size in [(1, 1), (10, 4), (20, 10), (SIZE, SIZE)]:
        docs = window(elasticsearch, index, rank_window_size)
        chosen = diversify(docs, [VECTORS[int(doc.id)] for doc in docs], query_vector, lambda_, size)
        retriever = {
            "type": "mmr",
            "field": "v",
            "lambda": lambda_,
            "rank_window_size": rank_window_size,
            "size": size,
            "retriever": {"standard": {"query": QUERY}},
            **({"query_vector": query_vector} if query_vector else {}),
        }
        reply = elasticsearch.server.call(
            "POST", f"/{index}/_search", {"retriever": {"diversify": retriever}}
        )
        hits = reply.json()["hits"]["hits"]
        assert [(hit["_id"], hit["_score"]) for hit in hits] == [(doc.id, doc.score) for doc in chosen]
