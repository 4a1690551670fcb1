"""Takes opensearch-py through the steps of ../README.md that OpenSearch has."""

import json
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import opensearchpy

URL, INDEX, RERANK = os.environ["ES_URL"], os.environ["INDEX"], bool(os.environ.get("RERANK"))
AWAY = f"{INDEX}-missing"
TIMEOUT_S = 60
CRIME = {"multi_match": {"query": "crime", "fields": ["plot", "genre"]}}
PLAIN = {"size": 5, "query": CRIME}


def reranked(size: int = 5, **options: Any) -> dict[str, Any]:
    reranker = {
        "retriever": {"standard": {"query": CRIME}},
        "field": "plot",
        "inference_text": "flesh-eating bad guy",
        "rank_window_size": 20,
    }
    return {"size": size, "retriever": {"text_similarity_reranker": {**reranker, **options}}}


def connect(**options: Any) -> Any:
    return opensearchpy.OpenSearch(URL, max_retries=0, timeout=TIMEOUT_S, **options)


CLIENT = connect()
COMPRESSING = connect(http_compress=True)


def films() -> list[dict[str, Any]]:
    with open(os.environ["FILMS"], encoding="utf-8") as file:
        return list(json.load(file))


def ids(answer: Any) -> list[str]:
    return [hit["_id"] for hit in answer["hits"]["hits"]]


def found(body: Any) -> dict[str, Any]:
    answer = CLIENT.search(index=INDEX, body=body)
    return {"ids": ids(answer), "total": answer["hits"]["total"]["value"]}


def refused(index: str, body: Any, expected: type[opensearchpy.TransportError]) -> list[Any]:
    try:
        CLIENT.search(index=index, body=body)
    except expected as failure:
        return [failure.status_code, failure.error]
    raise AssertionError(f"{expected.__name__} was not raised")


def info() -> dict[str, Any]:
    headers: Any = CLIENT.transport.get_connection().perform_request("GET", "/")[1]
    return {"version": CLIENT.info()["version"]["number"], "product": headers["x-elastic-product"]}


def index() -> dict[str, Any]:
    settings = {"settings": {"number_of_replicas": 0}}
    mappings = {"mappings": {"properties": {"released": {"type": "integer"}}}}
    CLIENT.indices.create(index=INDEX, body={**settings, **mappings})
    return {"result": CLIENT.index(index=INDEX, id="0", body=films()[0])["result"]}


def bulk() -> dict[str, Any]:
    lines = [line for at, film in enumerate(films()) for line in ({"index": {"_id": str(at)}}, film)]
    answer = COMPRESSING.bulk(index=INDEX, body=lines, params={"refresh": "true"})
    return {"errors": answer["errors"], "items": len(answer["items"])}


def msearch(body: Any) -> dict[str, Any]:
    answer = CLIENT.msearch(body=[{"index": INDEX}, body, {"index": AWAY}, body])
    first, second = answer["responses"]
    return {"ids": ids(first), "status": [first["status"], second["status"]]}


def scroll() -> dict[str, Any]:
    answer = CLIENT.search(index=INDEX, params={"size": 5, "scroll": "1m"})
    count = 0
    while hits := answer["hits"]["hits"]:
        count += len(hits)
        answer = CLIENT.scroll(body={"scroll_id": answer["_scroll_id"], "scroll": "1m"})
    return {"count": count, "closed": CLIENT.clear_scroll(scroll_id=answer["_scroll_id"])["succeeded"]}


def aggregation() -> dict[str, Any]:
    wanted = {name: {name: {"field": "released"}} for name in ("min", "max")}
    answer = CLIENT.search(index=INDEX, body={"size": 0, "aggs": wanted})
    return {name: answer["aggregations"][name]["value"] for name in wanted}


def errors(where: str, missing: Any, invalid: Any) -> dict[str, Any]:
    return {
        "missing": refused(where, missing, opensearchpy.NotFoundError),
        "invalid": refused(INDEX, invalid, opensearchpy.RequestError),
    }


def sniffing() -> dict[str, Any]:
    client = connect(sniff_on_start=True)
    hosts = {connection.host for connection in client.transport.connection_pool.connections}
    answer = client.search(index=INDEX, body=reranked() if RERANK else PLAIN)
    return {"stays": hosts == {URL}, "ids": ids(answer)}


def concurrency() -> dict[str, Any]:
    body = reranked() if RERANK else PLAIN
    with ThreadPoolExecutor(100) as threads:
        answers = list(threads.map(lambda _: tuple(found(body)["ids"]), range(100)))
    return {"answers": len(answers), "distinct": len(set(answers))}


STEPS: dict[str, Callable[[], dict[str, Any]]] = {
    "info": info,
    "index": index,
    "bulk": bulk,
    "get": lambda: {"title": CLIENT.get(index=INDEX, id="0")["_source"]["title"]},
    "search": lambda: found(PLAIN),
    "msearch": lambda: msearch(PLAIN),
    "scroll": scroll,
    "aggregation": aggregation,
    "errors": lambda: errors(AWAY, PLAIN, {**PLAIN, "size": 20_000}),
    "compression": lambda: {"ids": ids(COMPRESSING.search(index=INDEX, body=PLAIN))},
    "sniffing": sniffing,
    "concurrency": concurrency,
}
RERANKED: dict[str, Callable[[], dict[str, Any]]] = {
    "reranked search": lambda: found(reranked()),
    "reranked msearch": lambda: msearch(reranked()),
    "reranked errors": lambda: errors(INDEX, reranked(inference_id=AWAY), reranked(21)),
    "reranked compression": lambda: {"ids": ids(COMPRESSING.search(index=INDEX, body=reranked()))},
}


def main() -> None:
    for name, step in {**STEPS, **(RERANKED if RERANK else {})}.items():
        try:
            line: dict[str, Any] = {"step": name, "result": step()}
        except Exception as failure:
            line = {"step": name, "error": f"{type(failure).__name__}: {failure}"}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
