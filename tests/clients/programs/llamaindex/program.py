"""Films go into LlamaIndex's store for Elasticsearch, and its query comes back reranked."""

import json
import os
from typing import Any

from llama_index.core.schema import TextNode
from llama_index.core.vector_stores.types import VectorStoreQuery, VectorStoreQueryMode
from llama_index.vector_stores.elasticsearch import AsyncBM25Strategy, ElasticsearchStore

QUESTION = os.environ["QUESTION"]


def reranked(body: dict[str, Any], question: str | None) -> dict[str, Any]:
    """Put a reranker in the place of the query that the store makes."""
    reranker: dict[str, Any] = {
        "retriever": {"standard": {"query": {"match_all": {}}}},
        "field": "content",
        "inference_text": question,
        "rank_window_size": 20,
    }
    rest = {name: value for name, value in body.items() if name != "query"}
    return {**rest, "retriever": {"text_similarity_reranker": reranker}}


def main() -> None:
    with open(os.environ["FILMS"], encoding="utf-8") as file:
        films = json.load(file)
    store = ElasticsearchStore(
        index_name=os.environ["INDEX"], es_url=os.environ["ES_URL"], retrieval_strategy=AsyncBM25Strategy()
    )
    store.add([TextNode(text=film["plot"], metadata={"title": film["title"]}) for film in films])
    query = VectorStoreQuery(query_str="crime", similarity_top_k=5, mode=VectorStoreQueryMode.TEXT_SEARCH)
    words = store.query(query).nodes
    query.query_str = QUESTION
    best = store.query(query, custom_query=reranked).nodes or []
    titles = [node.metadata["title"] for node in best]
    print(json.dumps({"found": bool(words), "titles": titles}))


if __name__ == "__main__":
    main()
