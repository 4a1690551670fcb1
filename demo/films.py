"""The example films, and the reference search over them."""

import json
import shlex
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any, Final

from testbed import Reply, Server, TestbedError

INDEX: Final = "rerank-proxy-demo-films"
QUESTION: Final = "flesh-eating bad guy"
EXPECTED_FIRST: Final = "The Silence of the Lambs"


def _matching(word: str) -> Mapping[str, Any]:
    return {"standard": {"query": {"multi_match": {"query": word, "fields": ["plot", "genre"]}}}}


def _by_meaning(question: str, retriever: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return a reranker without `inference_id`, which uses the default endpoint
    `.rerank-v1-elasticsearch`.
    """
    reranker = {"retriever": retriever, "field": "plot", "inference_text": question}
    return {"text_similarity_reranker": reranker}


PLAIN: Final = _matching("crime")
"""Finds the films that match "crime", ranked by BM25."""

RERANKED: Final = _by_meaning(QUESTION, PLAIN)
"""Finds the same films, ranked by their relevance to the question."""

_WARM_UP: Final = _by_meaning("small people in danger", _matching("adventure"))
"""Asks another question about other films, so that no score of the searches that are timed is cached."""


@dataclass(frozen=True, slots=True)
class Film:
    """A hit."""

    title: str
    plot: str
    score: float


@dataclass(frozen=True, slots=True)
class Search:
    """A search as its client sees it.

    Attributes:
        films: The films in the order of the answer.
        took_s: Seconds from sending the request to receiving the complete answer.
        outcome: The header that tells whether the answer is reranked; None if there is none.
    """

    films: list[Film]
    took_s: float
    outcome: str | None


def index_films(server: Server, index: str = INDEX) -> int:
    """Create and fill an index. Return the number of films.

    Raises:
        TestbedError: Elasticsearch does not answer, or refuses.
    """
    films = json.loads(Path(__file__).with_name("films.json").read_text(encoding="utf-8"))
    remove_films(server, index)
    _call(server, "PUT", f"/{index}", {"settings": {"number_of_shards": 1, "number_of_replicas": 0}})
    reply = _call(server, "POST", f"/{index}/_bulk?refresh=true", _bulk_body(films))
    if reply.json()["errors"]:
        raise TestbedError(f"Elasticsearch did not index all films: {_excerpt(reply)}")
    return len(films)


def remove_films(server: Server, index: str = INDEX) -> None:
    """Remove an index if it exists, from a server that may have stopped."""
    with suppress(OSError):
        server.call("DELETE", f"/{index}?ignore_unavailable=true")


def search(server: Server, retriever: Mapping[str, Any]) -> Search:
    """Run a search.

    Raises:
        TestbedError: It is answered with an error.
    """
    started_s = perf_counter()
    reply = _call(server, "POST", f"/{INDEX}/_search", {"retriever": retriever})
    took_s = perf_counter() - started_s
    films = [
        Film(hit["_source"]["title"], hit["_source"]["plot"], hit["_score"])
        for hit in reply.json()["hits"]["hits"]
    ]
    return Search(films, took_s, reply.headers.get("x-rerank"))


def warm_up(server: Server) -> None:
    """Run a first search, so that the warming up of the JVM and the model is not timed."""
    search(server, _WARM_UP)


def curl_command(server: Server) -> str:
    """Return a command that sends the reranked search to a server."""
    user = " -u USER:PASSWORD" if server.authorization else ""
    body = json.dumps({"_source": ["title"], "retriever": RERANKED})
    return (
        f"curl -s{user} {shlex.quote(f'{server.url}/{INDEX}/_search?pretty')} "
        f"-H 'Content-Type: application/json' -d {shlex.quote(body)}"
    )


def _bulk_body(films: Iterable[Mapping[str, Any]]) -> bytes:
    """Return the films with their places in the file as ids, by which examples/evaluation/ judges them."""
    lines = (f'{{"index": {{"_id": "{at}"}}}}\n{json.dumps(film)}\n' for at, film in enumerate(films))
    return "".join(lines).encode()


def _call(server: Server, method: str, path: str, body: Any) -> Reply:
    try:
        reply = server.call(method, path, body)
    except OSError as error:
        raise TestbedError(f"no answer from {server.url} to {method} {path}: {error}") from error
    if reply.status != 200:
        raise TestbedError(f"{server.url} answered {reply.status} to {method} {path}: {_excerpt(reply)}")
    return reply


def _excerpt(reply: Reply) -> str:
    return reply.body[:500].decode(errors="replace")
