"""A server that answers the searches of an evaluation: hits by shared words, and whatever a test has it do.

An evaluation's own behaviour when searches fail cannot be tried with a real Elasticsearch, which seldom does.
"""

import json
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

TEXTS = {
    "0": "a murderer who eats people",
    "1": "a heist that goes wrong",
    "2": "two killers and a boxer",
    "3": "a detective follows a murderer",
    "4": "a dog finds its way home",
}
Answer = Callable[["JudgedIndex", str, dict[str, Any]], web.Response | None]


@dataclass
class JudgedIndex:
    """What a server holds, and what it was asked.

    Attributes:
        answer: Gets the query and the body of each search; None has it answered as usual.
        searches: Queries in the order in which they came, with whether they were reranked.
        before_each: Called before each search is answered.
        always: The body of every answer, whatever is asked; None for answers as usual.
        indices: In which each document is.
        may_monitor: Whether the server says who it is.
    """

    url: str = ""
    answer: Answer = lambda *_: None
    searches: list[tuple[str, bool]] = field(default_factory=list)
    documents: int = len(TEXTS)
    before_each: Callable[[int], None] = lambda _: None
    always: bytes | None = None
    indices: Sequence[str] = ("films",)
    may_monitor: bool = True

    async def handle(self, request: web.Request) -> web.Response:
        if self.always is not None:
            return web.Response(body=self.always, content_type="application/json")
        if request.path == "/" and self.may_monitor:
            return web.json_response({"version": {"number": "9.5.0"}})
        if request.path.endswith("/_count"):
            return web.json_response({"count": self.documents})
        if not request.path.endswith("/_search"):
            return web.json_response({"error": {"reason": "not shown"}}, status=403)
        body = await request.json()
        if "ids" in body.get("query", {}):
            wanted = set(body["query"]["ids"]["values"])
            hits = [
                {"_id": name, "_index": index} for name in TEXTS for index in self.indices if name in wanted
            ]
            return web.json_response({"hits": {"hits": hits}})
        return self._search(body)

    def _search(self, body: dict[str, Any]) -> web.Response:
        retriever = body["retriever"]
        reranker = retriever.get("text_similarity_reranker")
        leaf = retriever if reranker is None else reranker["retriever"]
        query = leaf["standard"]["query"]["match"]["plot"]
        self.before_each(len(self.searches))
        self.searches.append((query, reranker is not None))
        if (given := self.answer(self, query, body)) is not None:
            return given
        scores = {name: len({*query.split()} & {*text.split()}) for name, text in TEXTS.items()}
        if reranker is not None:
            scores = {
                name: score + ("murderer" in TEXTS[name]) * 5 for name, score in scores.items() if score
            }
        found = sorted((name for name, score in scores.items() if score), key=lambda name: -scores[name])
        return self.found(found[: body["size"]], reranker is not None)

    def found(self, names: list[str], reranked: bool, header: str | None = None) -> web.Response:
        hits = [{"_id": name, "_score": 9.0 - at} for at, name in enumerate(names)]
        applied = "applied; endpoint=e; model=m; window=5; scored=5; cached=0; truncated=0; ms=1.5"
        headers = {"X-Rerank": header or applied} if reranked or header else {}
        return web.json_response({"_shards": {"failed": 0}, "hits": {"hits": hits}}, headers=headers)


def refused(status: int, reason: str, **headers: str) -> web.Response:
    body = {"error": {"type": "e", "reason": reason}, "status": status}
    return web.Response(body=json.dumps(body).encode(), status=status, headers=headers)


@asynccontextmanager
async def judged_index() -> AsyncIterator[JudgedIndex]:
    """Serve for the length of the block."""
    served = JudgedIndex()
    application = web.Application()
    application.router.add_route("*", "/{path:.*}", served.handle)
    async with TestServer(application) as server:
        served.url = str(server.make_url("")).rstrip("/")
        yield served
