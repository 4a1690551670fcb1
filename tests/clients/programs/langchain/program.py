"""Films go into LangChain's store for Elasticsearch, and come back from its retriever reranked."""

import json
import os
from typing import Any

from langchain_elasticsearch import BM25Strategy, ElasticsearchRetriever, ElasticsearchStore

URL, INDEX = os.environ["ES_URL"], os.environ["INDEX"]


def body(question: str) -> dict[str, Any]:
    reranker = {
        "retriever": {"standard": {"query": {"match_all": {}}}},
        "field": "text",
        "inference_text": question,
        "rank_window_size": 20,
    }
    return {"size": 5, "retriever": {"text_similarity_reranker": reranker}}


def main() -> None:
    with open(os.environ["FILMS"], encoding="utf-8") as file:
        films = json.load(file)
    store = ElasticsearchStore(index_name=INDEX, es_url=URL, strategy=BM25Strategy())
    store.add_texts([film["plot"] for film in films], [{"title": film["title"]} for film in films])
    words = store.similarity_search("crime", k=5)
    retriever = ElasticsearchRetriever(index_name=INDEX, body_func=body, content_field="text", es_url=URL)
    found = retriever.invoke(os.environ["QUESTION"])
    titles = [document.metadata["_source"]["metadata"]["title"] for document in found]
    print(json.dumps({"found": bool(words), "titles": titles}))


if __name__ == "__main__":
    main()
