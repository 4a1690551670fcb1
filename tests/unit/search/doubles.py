"""An Elasticsearch that answers as a test tells it to, and hits as it prints them."""

import json
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from rerank_proxy.search.run import InnerBytes, Run
from rerank_proxy.upstream.protocol import Reply
from tests.support.endpoints import LATE
from tests.support.searches import request

Answer = Callable[[str, str, Any], Reply | Awaitable[Reply]]
"""Of method, target, and the body as a value; None where there is none."""


class ScriptedUpstream:
    """Stands for `rerank_proxy.upstream.protocol.Upstream`.

    Attributes:
        sent: Method, target without its query, and body of each request.
    """

    caller = b"the test"

    def __init__(self, answer: Answer) -> None:
        self.sent: list[tuple[str, str, Any]] = []
        self._answer = answer

    async def request(self, method: str, target: str, body: bytes) -> Reply:
        value = json.loads(body) if body else None
        self.sent.append((method, target.partition("?")[0], value))
        answered = self._answer(method, target, value)
        return answered if isinstance(answered, Reply) else await answered


def a_run(body: Any, **state: Any) -> Run:
    """Return a search that runs, and that sends nothing more.

    Args:
        body: The body of the client's request.
        state: Attributes of the run.
    """
    silent = ScriptedUpstream(lambda *_: found())
    return Run(request(body), silent, InnerBytes(0), deadline=LATE, scores_by=LATE, **state)


def hit(id_: str, score: float | None = 1.0, *, shard_doc: int = 0, index: str = "films", **more: Any) -> Any:
    """Return a hit of an inner search, whose last sort value is its place among all documents."""
    return {"_index": index, "_id": id_, "_score": score, **more, "sort": [score, shard_doc]}


def found(*hits: Any) -> Reply:
    """Return the answer to a search."""
    outer = {"total": {"value": len(hits), "relation": "eq"}, "hits": hits}
    answer = {"took": 1, "_shards": {}, "hits": outer}
    return Reply(200, (), json.dumps(answer, separators=(",", ":")).encode())


def shards_failed(reason: str, status: int = 400) -> Reply:
    """Return the answer to a search that failed on all shards."""
    cause = {"type": "query_shard_exception", "reason": reason}
    failed = [{"shard": 0, "index": "films", "reason": {**cause, "caused_by": {"type": "x", "reason": "y"}}}]
    error = {
        "root_cause": [cause],
        "type": "search_phase_execution_exception",
        "reason": "all shards failed",
        "phase": "query",
        "grouped": True,
        "failed_shards": failed,
        "caused_by": cause,
    }
    return Reply(status, (), json.dumps({"error": error, "status": status}).encode())


def refused(type_: str = "parsing_exception", status: int = 400) -> Reply:
    """Return the answer to a search that Elasticsearch does not begin."""
    error = {"root_cause": [], "type": type_, "reason": "refused"}
    return Reply(status, (), json.dumps({"error": error, "status": status}).encode())


def bodies(sent: Sequence[tuple[str, str, Any]], target: str = "/_search") -> list[Any]:
    """Return the bodies of the requests to one API."""
    return [body for _, to, body in sent if to == target]
