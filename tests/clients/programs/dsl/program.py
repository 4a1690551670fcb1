"""Takes the dsl of elasticsearch-py through the steps of ../README.md that it has."""

import json
import os
from collections.abc import Callable
from typing import Any

import elasticsearch
from elasticsearch import dsl
from elasticsearch.dsl import query

INDEX, RERANK = os.environ["INDEX"], bool(os.environ.get("RERANK"))
AWAY = f"{INDEX}-missing"
CRIME = query.MultiMatch(query="crime", fields=["plot", "genre"])


class Film(dsl.Document):
    """A document with the fields that the steps name."""

    title = dsl.Text()
    plot = dsl.Text()
    genre = dsl.Text()
    released = dsl.Integer()

    class Index:
        """Where it is kept."""

        name = INDEX
        settings = {"number_of_replicas": 0}  # noqa: RUF012 - the form in which the dsl reads it


def films() -> list[dict[str, Any]]:
    with open(os.environ["FILMS"], encoding="utf-8") as file:
        return list(json.load(file))


def plain(index: str = INDEX) -> Any:
    return dsl.Search(index=index).query(CRIME)


def reranked(index: str = INDEX, **options: Any) -> Any:
    """The dsl has no class for a retriever: `extra` takes it as Elasticsearch does."""
    reranker = {
        "retriever": {"standard": {"query": CRIME.to_dict()}},
        "field": "plot",
        "inference_text": "flesh-eating bad guy",
        "rank_window_size": 20,
    }
    return dsl.Search(index=index).extra(retriever={"text_similarity_reranker": {**reranker, **options}})


def ids(answer: Any) -> list[str]:
    return [hit.meta.id for hit in answer]


def found(search: Any) -> dict[str, Any]:
    answer = search[:5].execute()
    return {"ids": ids(answer), "total": answer.hits.total.value}


def refused(search: Any, expected: type[elasticsearch.ApiError]) -> list[Any]:
    try:
        search.execute()
    except expected as failure:
        return [failure.meta.status, failure.error]
    raise AssertionError(f"{expected.__name__} was not raised")


def index() -> dict[str, Any]:
    Film.init()
    return {"result": Film(meta={"id": "0"}, **films()[0]).save()}


def bulk() -> dict[str, Any]:
    documents = [Film(meta={"id": str(at)}, **film) for at, film in enumerate(films())]
    done, failed = Film.bulk(documents, refresh=True)
    return {"errors": bool(failed), "items": done}


def get() -> dict[str, Any]:
    film = Film.get(id="0")
    assert film is not None
    return {"title": film.title}


def msearch(make: Callable[..., Any]) -> dict[str, Any]:
    searches = dsl.MultiSearch().add(make()[:5]).add(make(AWAY)[:5])
    first, second = searches.execute(raise_on_error=False)
    assert second is None
    try:
        searches.execute(ignore_cache=True)
    except elasticsearch.ApiError as failure:
        return {"ids": ids(first), "status": [first.to_dict()["status"], failure.body["status"]]}
    raise AssertionError("ApiError was not raised")


def scroll() -> dict[str, Any]:
    """Scroll to the end; the helper beneath clears the scroll itself."""
    return {"count": len(list(dsl.Search(index=INDEX).params(size=5).scan())), "closed": True}


def point_in_time() -> dict[str, Any]:
    """Page by a point in time, which `iterate` opens and closes."""
    return {
        "count": len(list(dsl.Search(index=INDEX).extra(size=5).sort("released").iterate())),
        "closed": True,
    }


def aggregation() -> dict[str, Any]:
    search = dsl.Search(index=INDEX)[:0]
    for name in ("min", "max"):
        search.aggs.bucket(name, name, field="released")
    answer = search.execute().aggregations
    return {"min": answer.min.value, "max": answer.max.value}


def errors() -> dict[str, Any]:
    missing = refused(plain(AWAY), elasticsearch.NotFoundError)
    return {"missing": missing, "invalid": refused(plain()[:20_000], elasticsearch.BadRequestError)}


def reranked_errors() -> dict[str, Any]:
    missing = refused(reranked(inference_id=AWAY), elasticsearch.NotFoundError)
    return {"missing": missing, "invalid": refused(reranked()[:21], elasticsearch.BadRequestError)}


PLAIN: dict[str, Callable[[], dict[str, Any]]] = {
    "index": index,
    "bulk": bulk,
    "get": get,
    "search": lambda: found(plain()),
    "msearch": lambda: msearch(plain),
    "scroll": scroll,
    "point in time": point_in_time,
    "aggregation": aggregation,
    "errors": errors,
}
RERANKED: dict[str, Callable[[], dict[str, Any]]] = {
    "reranked search": lambda: found(reranked()),
    "reranked msearch": lambda: msearch(reranked),
    "reranked errors": reranked_errors,
}


def main() -> None:
    options: dict[str, Any] = {"http_compress": True, "max_retries": 0, "request_timeout": 60}
    client = dsl.connections.create_connection(hosts=os.environ["ES_URL"], **options)
    for name, step in {**PLAIN, **(RERANKED if RERANK else {})}.items():
        try:
            line: dict[str, Any] = {"step": name, "result": step()}
        except Exception as failure:
            line = {"step": name, "error": f"{type(failure).__name__}: {failure}"}
        print(json.dumps(line), flush=True)
    client.close()


if __name__ == "__main__":
    main()
