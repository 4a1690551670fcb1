"""Tell whether reranking helps, by queries whose right answers are known: nDCG@10, plain and reranked.

python evaluate.py JUDGEMENTS [URL [INDEX [FIELD]]]

JUDGEMENTS is a file with a line of JSON for each query: {"query": "…", "grades": {"id of a document": 1}}.
A higher grade is a better document; one that is not named has 0.
"""

import json
import math
import sys
from collections.abc import Iterable
from typing import Any

from elasticsearch import Elasticsearch

SIZE, WINDOW = 10, 50


def gain(grades: Iterable[float]) -> float:
    """Add up what a list of grades is worth: the further down, the less."""
    return sum((2**grade - 1) / math.log2(rank + 2) for rank, grade in enumerate(grades))


def ndcg(found: list[str], grades: dict[str, float]) -> float:
    best = gain(sorted(grades.values(), reverse=True)[:SIZE])
    return gain(grades.get(name, 0) for name in found) / best if best else 0.0


def retrievers(query: str, field: str) -> dict[str, dict[str, Any]]:
    plain = {"standard": {"query": {"match": {field: query}}}}
    reranker = {"retriever": plain, "field": field, "inference_text": query, "rank_window_size": WINDOW}
    return {"plain": plain, "reranked": {"text_similarity_reranker": reranker}}


def main(file: str, url: str = "http://localhost:9201", index: str = "films", field: str = "plot") -> None:
    with open(file, encoding="utf-8") as lines:
        judgements = [json.loads(line) for line in lines if line.strip()]
    totals = {"plain": 0.0, "reranked": 0.0}
    better = worse = 0
    with Elasticsearch(url, request_timeout=60) as client:
        for judged in judgements:
            values = {}
            for name, retriever in retrievers(judged["query"], field).items():
                answer = client.search(index=index, retriever=retriever, size=SIZE, source=False)
                values[name] = ndcg([hit["_id"] for hit in answer["hits"]["hits"]], judged["grades"])
                totals[name] += values[name]
            better += values["reranked"] > values["plain"]
            worse += values["reranked"] < values["plain"]
    for name, total in totals.items():
        print(f"{name:9} nDCG@{SIZE} {total / len(judgements):.3f}")
    print(f"better for {better} queries, worse for {worse}, of {len(judgements)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
