"""Indices of texts about crime, and searches that rerank what is in them.

Twelve films match "crime". The child ranks them by `n`, so that a window of five holds 11, 10, 9, 8 and 7;
the reranker's score of a film is the number at the end of its text.
"""

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from testbed import Server
from tests.support.searches import reranking

CRIME_MAPPING: Final = {
    "properties": {
        "text": {"type": "text"},
        "v": {"type": "dense_vector", "dims": 2},
    }
}
"""Of a small index, for searches that fail."""

WINDOW: Final = 5
LOGITS: Final = [0.0, 9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0, -1.5, 0.5, 2.0, 1.0]
"""Of films 0 … 11. Film 1 would win, were it in the window."""
MAPPINGS: Final = {
    "properties": {
        "text": {"type": "text"},
        "title": {"type": "keyword", "ignore_above": 6, "store": True},
        "n": {"type": "long"},
        "genre": {"type": "keyword"},
        "v": {
            "type": "dense_vector",
            "dims": 2,
            "similarity": "l2_norm",
            "index_options": {"type": "flat"},  # exact, without quantization
        },
    }
}
SHARDS: Final = {"number_of_shards": 2}
BY_N: Final = {
    "function_score": {
        "query": {"match": {"text": "crime"}},
        "field_value_factor": {"field": "n", "modifier": "ln2p"},
        "boost_mode": "replace",
    }
}
CHILD: Final = {"standard": {"query": BY_N}}
NEAREST: Final = {"knn": {"field": "v", "query_vector": [11, 0], "k": 4, "num_candidates": 20}}
"""Films 11, 10, 9 and 8."""
GENRES: Final = {"aggs": {"genres": {"terms": {"field": "genre", "order": {"_key": "asc"}}}}}


def film(n: int) -> dict[str, Any]:
    return {
        "text": f"crime {LOGITS[n]}",
        "title": f"film {n:02}",
        "n": n,
        "genre": "abc"[n % 3],
        "v": [n, 0],
    }


DOCUMENTS: Final = [
    *map(film, range(12)),
    *({"text": "peace 100", "n": 50, "genre": "d", "v": [99, 99]} for _ in range(4)),
]


def top5(**options: Any) -> dict[str, Any]:
    return reranking(CHILD, rank_window_size=WINDOW, **options)


@contextmanager
def indexed_films(server: Server) -> Iterator[str]:
    """Index the films for the length of the block. Return the name of the index, which no test changes."""
    name = f"films-{uuid.uuid4().hex[:12]}"
    call = server.call
    settings = {**SHARDS, "number_of_replicas": 0}
    assert call("PUT", f"/{name}", {"settings": settings, "mappings": MAPPINGS}).status == 200
    lines = b"".join(
        json.dumps(line).encode() + b"\n"
        for place, document in enumerate(DOCUMENTS)
        for line in ({"index": {"_id": str(place)}}, document)
    )
    assert call("POST", f"/{name}/_bulk?refresh=true", lines).json()["errors"] is False
    yield name
    call("DELETE", f"/{name}")
