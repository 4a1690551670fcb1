"""Search for films about crime, plain and reranked by a question.

python search.py [URL [INDEX]]
"""

import sys

from elasticsearch import Elasticsearch

url = sys.argv[1] if len(sys.argv) > 1 else "http://localhost:9201"
index = sys.argv[2] if len(sys.argv) > 2 else "rerank-proxy-demo-films"

plain = {"standard": {"query": {"multi_match": {"query": "crime", "fields": ["plot", "genre"]}}}}
reranked = {
    "text_similarity_reranker": {
        "retriever": plain,
        "field": "plot",
        "inference_text": "flesh-eating bad guy",
    }
}

with Elasticsearch(url) as client:
    for name, retriever in (("Plain", plain), ("Reranked", reranked)):
        answer = client.search(index=index, retriever=retriever, size=5)
        print(name)
        for hit in answer["hits"]["hits"]:
            print(f"  {hit['_score']:.4f}  {hit['_source']['title']}")
