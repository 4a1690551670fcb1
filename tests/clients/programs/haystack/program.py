"""Films go into Haystack's store for Elasticsearch, and are found by its retriever and client."""

import json
import os

from haystack import Document
from haystack_integrations.components.retrievers.elasticsearch import ElasticsearchBM25Retriever
from haystack_integrations.document_stores.elasticsearch import ElasticsearchDocumentStore

INDEX = os.environ["INDEX"]


def main() -> None:
    with open(os.environ["FILMS"], encoding="utf-8") as file:
        films = json.load(file)
    store = ElasticsearchDocumentStore(hosts=os.environ["ES_URL"], index=INDEX)
    store.write_documents([Document(content=film["plot"], meta={"title": film["title"]}) for film in films])
    words = ElasticsearchBM25Retriever(document_store=store).run(query="killer")["documents"]
    reranker = {
        "retriever": {"standard": {"query": {"match_all": {}}}},
        "field": "content",
        "inference_text": os.environ["QUESTION"],
        "rank_window_size": 20,
    }
    answer = store.client.search(index=INDEX, size=5, retriever={"text_similarity_reranker": reranker})
    titles = [hit["_source"]["title"] for hit in answer["hits"]["hits"]]
    print(json.dumps({"found": bool(words), "titles": titles}))


if __name__ == "__main__":
    main()
