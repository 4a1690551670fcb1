"""Takes elasticsearch-py through the steps of ../README.md: `program.py sync` or `program.py async`."""

import asyncio
import inspect
import json
import os
import sys
import warnings
from collections.abc import Callable, Coroutine
from typing import Any

import elasticsearch

URL, INDEX, RERANK = os.environ["ES_URL"], os.environ["INDEX"], bool(os.environ.get("RERANK"))
CRIME = {"multi_match": {"query": "crime", "fields": ["plot", "genre"]}}
RERANKED: dict[str, Any] = {
    "text_similarity_reranker": {
        "retriever": {"standard": {"query": CRIME}},
        "field": "plot",
        "inference_text": "flesh-eating bad guy",
        "rank_window_size": 20,
    }
}
AWAY = f"{INDEX}-missing"
Step = Callable[[], Coroutine[Any, Any, dict[str, Any]]]


async def got(answer: Any) -> Any:
    """Return the answer of either client: the one returns it, the other a coroutine of it."""
    return await answer if inspect.isawaitable(answer) else answer


def ids(answer: Any) -> list[str]:
    return [hit["_id"] for hit in answer["hits"]["hits"]]


def found(answer: Any) -> dict[str, Any]:
    return {"ids": ids(answer), "total": answer["hits"]["total"]["value"]}


async def refused(answer: Any, expected: type[elasticsearch.ApiError]) -> list[Any]:
    """Return status and type of the exception, which has to be of the class that the client has for it."""
    try:
        await got(answer())
    except expected as failure:
        return [failure.meta.status, failure.error]
    raise AssertionError(f"{expected.__name__} was not raised")


class Steps:
    """The steps of a client, as coroutines that return their results."""

    def __init__(self, kind: Callable[..., Any]) -> None:
        self.kind = kind
        self.client = self.connect()

    def connect(self, url: str = URL, **options: Any) -> Any:
        return self.kind(url, **{"request_timeout": 60, "max_retries": 0, **options})

    async def info(self) -> dict[str, Any]:
        answer = await got(self.client.info())
        return {
            "version": answer["version"]["number"],
            "product": answer.meta.headers["x-elastic-product"],
        }

    async def index(self) -> dict[str, Any]:
        mappings = {"properties": {"released": {"type": "integer"}}}
        settings = {"number_of_replicas": 0}
        await got(self.client.indices.create(index=INDEX, mappings=mappings, settings=settings))
        answer = await got(self.client.index(index=INDEX, id="0", document=films()[0]))
        return {"result": answer["result"]}

    async def bulk(self) -> dict[str, Any]:
        lines = [line for at, film in enumerate(films()) for line in ({"index": {"_id": str(at)}}, film)]
        client = self.connect(http_compress=True)
        answer = await got(client.bulk(index=INDEX, operations=lines, refresh=True))
        await got(client.close())
        return {"errors": answer["errors"], "items": len(answer["items"])}

    async def get(self) -> dict[str, Any]:
        return {"title": (await got(self.client.get(index=INDEX, id="0")))["_source"]["title"]}

    def searching(self, client: Any = None, *, reranked: bool = False, **options: Any) -> Any:
        what: dict[str, Any] = {"retriever": RERANKED} if reranked else {"query": CRIME}
        return (client or self.client).search(**{"index": INDEX, "size": 5, **what, **options})

    async def search(self) -> dict[str, Any]:
        return found(await got(self.searching()))

    async def reranked_search(self) -> dict[str, Any]:
        return found(await got(self.searching(reranked=True)))

    # --8<-- [start:msearch]
    async def msearch(self, what: Any = None) -> dict[str, Any]:
        body = {**(what or {"query": CRIME}), "size": 5}
        answer = await got(self.client.msearch(searches=[{"index": INDEX}, body, {"index": AWAY}, body]))
        first, second = answer["responses"]
        return {"ids": ids(first), "status": [first["status"], second["status"]]}

    # --8<-- [end:msearch]

    async def reranked_msearch(self) -> dict[str, Any]:
        return await self.msearch({"retriever": RERANKED})

    async def scroll(self) -> dict[str, Any]:
        answer = await got(self.client.search(index=INDEX, size=5, scroll="1m"))
        count = 0
        while hits := answer["hits"]["hits"]:
            count += len(hits)
            answer = await got(self.client.scroll(scroll_id=answer["_scroll_id"], scroll="1m"))
        cleared = await got(self.client.clear_scroll(scroll_id=answer["_scroll_id"]))
        return {"count": count, "closed": cleared["succeeded"]}

    async def point_in_time(self) -> dict[str, Any]:
        opened = (await got(self.client.open_point_in_time(index=INDEX, keep_alive="1m")))["id"]
        page: dict[str, Any] = {"pit": {"id": opened}, "size": 5, "sort": [{"released": "asc"}]}
        count = 0
        while hits := (await got(self.client.search(**page)))["hits"]["hits"]:
            count += len(hits)
            page["search_after"] = hits[-1]["sort"]
        closed = await got(self.client.close_point_in_time(id=opened))
        return {"count": count, "closed": closed["succeeded"]}

    async def aggregation(self) -> dict[str, Any]:
        wanted = {name: {name: {"field": "released"}} for name in ("min", "max")}
        answer = await got(self.client.search(index=INDEX, size=0, aggregations=wanted))
        return {name: answer["aggregations"][name]["value"] for name in wanted}

    # --8<-- [start:async-search]
    async def async_search(self) -> dict[str, Any]:
        searches = self.client.async_search
        body = {"retriever": RERANKED, "size": 5}  # `submit` has no argument for a retriever
        options = {"wait_for_completion_timeout": "0ms", "keep_on_completion": True}
        answer = await got(searches.submit(index=INDEX, body=body, **options))
        search = answer["id"]
        while answer["is_running"]:
            answer = await got(searches.get(id=search, wait_for_completion_timeout="30s"))
        status = (await got(searches.status(id=search)))["completion_status"]
        deleted = (await got(searches.delete(id=search)))["acknowledged"]
        after, _ = await refused(lambda: searches.get(id=search), elasticsearch.NotFoundError)
        return {"ids": ids(answer["response"]), "status": status, "deleted": deleted, "after": after}

    # --8<-- [end:async-search]

    # --8<-- [start:inference]
    async def inference(self) -> dict[str, Any]:
        api, name = self.client.inference, f"{INDEX}-endpoint"
        config = {
            "service": "elasticsearch",
            "service_settings": {"model_id": "minilm", "num_allocations": 1, "num_threads": 1},
        }
        made = await got(api.put(task_type="rerank", inference_id=name, inference_config=config))
        read = await got(api.get(inference_id=name))
        every = await got(api.get())
        change = {"service_settings": {"num_allocations": 2}}
        changed = await got(api.update(inference_id=name, inference_config=change))
        texts = ["Two bakers fall in love.", "A cannibal helps to catch a killer."]
        ranked = await got(api.rerank(inference_id=name, query="flesh-eating bad guy", input=texts))
        deleted = await got(api.delete(inference_id=name))
        after, _ = await refused(lambda: api.get(inference_id=name), elasticsearch.NotFoundError)
        return {
            "put": made["inference_id"],
            "get": [each["inference_id"] for each in read["endpoints"]],
            "listed": name in [each["inference_id"] for each in every["endpoints"]],
            "updated": changed["service_settings"]["num_allocations"],
            "ranked": [each["index"] for each in ranked["rerank"]],
            "deleted": deleted["acknowledged"],
            "after": after,
        }

    # --8<-- [end:inference]

    async def errors(self) -> dict[str, Any]:
        missing = await refused(lambda: self.searching(index=AWAY), elasticsearch.NotFoundError)
        invalid = await refused(lambda: self.searching(size=20_000), elasticsearch.BadRequestError)
        return {"missing": missing, "invalid": invalid}

    async def reranked_errors(self) -> dict[str, Any]:
        wrong = {"text_similarity_reranker": {**RERANKED["text_similarity_reranker"], "inference_id": AWAY}}
        missing = await refused(
            lambda: self.searching(retriever=wrong, query=None), elasticsearch.NotFoundError
        )
        invalid = await refused(lambda: self.searching(reranked=True, size=21), elasticsearch.BadRequestError)
        return {"missing": missing, "invalid": invalid}

    async def compression(self, *, reranked: bool = False) -> dict[str, Any]:
        client = self.connect(http_compress=True)
        answer = await got(self.searching(client, reranked=reranked))
        await got(client.close())
        return {"ids": ids(answer)}

    async def reranked_compression(self) -> dict[str, Any]:
        return await self.compression(reranked=True)

    async def sniffing(self) -> dict[str, Any]:
        client = self.connect(sniff_on_start=True)
        await got(client.info())  # by then it has sniffed
        nodes = [node.base_url for node in client.transport.node_pool.all()]
        answer = await got(self.searching(client, reranked=RERANK))
        await got(client.close())
        return {"stays": set(nodes) == {URL}, "ids": ids(answer)}

    # --8<-- [start:tls]
    async def tls(self) -> dict[str, Any]:
        url, fingerprint = os.environ["TLS_URL"], os.environ["CA_FINGERPRINT"]
        client = self.connect(url, ssl_assert_fingerprint=fingerprint)
        answer = await got(self.searching(client, reranked=RERANK))
        await got(client.close())
        other = self.connect(url, ssl_assert_fingerprint="00" * 32)
        try:
            await got(other.info())
        except elasticsearch.ConnectionError:
            return {"ids": ids(answer), "refused": True}
        finally:
            await got(other.close())
        return {"ids": ids(answer), "refused": False}

    # --8<-- [end:tls]

    async def concurrency(self) -> dict[str, Any]:
        if self.kind is elasticsearch.Elasticsearch:
            calls = [asyncio.to_thread(self.searching, reranked=RERANK) for _ in range(100)]
        else:
            calls = [self.searching(reranked=RERANK) for _ in range(100)]
        answers = await asyncio.gather(*calls)
        return {"answers": len(answers), "distinct": len({tuple(ids(answer)) for answer in answers})}

    def all(self) -> dict[str, Step]:
        steps: list[Step] = [self.info, self.index, self.bulk, self.get, self.search, self.msearch]
        steps += [self.scroll, self.point_in_time, self.aggregation, self.errors, self.compression]
        steps += [self.sniffing, self.concurrency]
        if RERANK:
            steps += [self.reranked_search, self.reranked_msearch, self.async_search, self.inference]
            steps += [self.reranked_errors, self.reranked_compression]
        # The other kind compares a fingerprint with the server's own certificate only.
        if os.environ.get("TLS_URL") and self.kind is elasticsearch.Elasticsearch:
            steps.append(self.tls)
        return {step.__name__.replace("_", " "): step for step in steps}


def films() -> list[dict[str, Any]]:
    with open(os.environ["FILMS"], encoding="utf-8") as file:
        return list(json.load(file))


async def main(mode: str) -> None:
    # Of the client's own: methods that are new, and certificates that the fingerprint stands in for.
    warnings.simplefilter("ignore", elasticsearch.exceptions.GeneralAvailabilityWarning)
    steps = Steps(elasticsearch.AsyncElasticsearch if mode == "async" else elasticsearch.Elasticsearch)
    for name, step in steps.all().items():
        try:
            line: dict[str, Any] = {"step": name, "result": await step()}
        except Exception as failure:
            line = {"step": name, "error": f"{type(failure).__name__}: {failure}"}
        print(json.dumps(line), flush=True)
    await got(steps.client.close())


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
