"""Search requests that rerank, and the parts of their answers."""

import json
from collections.abc import Mapping
from typing import Any, Final

from rerank_proxy.search.language.request import SearchRequest, parse_search
from rerank_proxy.xcontent.params import parse_params

RERANKER: Final = "text_similarity_reranker"
QUERY: Final = {"match": {"text": "crime"}}
STANDARD: Final = {"standard": {"query": QUERY}}
KNN: Final = {"knn": {"field": "v", "query_vector": [1, 0], "k": 4, "num_candidates": 6}}


def reranking(child: Mapping[str, Any] = STANDARD, **options: Any) -> dict[str, Any]:
    """Return a body with a reranker of the field `text` over `child`; `options` are further keys of it."""
    required = {"retriever": child, "field": "text", "inference_text": "a question"}
    return {"retriever": {RERANKER: {**required, **options}}}


def request(body: Mapping[str, Any] | bytes, query: str = "", index: str | None = "films") -> SearchRequest:
    """Return the parsed and validated request. Raise what the client would be told."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    parsed = parse_search(index, parse_params(query), data)
    assert parsed is not None, "none of ours"
    return parsed
