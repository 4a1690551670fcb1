"""What the programs have to report, from what the same requests give without a client."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from testbed.http import Server

QUESTION: Final = "flesh-eating bad guy"
CRIME: Final = {"multi_match": {"query": "crime", "fields": ["plot", "genre"]}}
SEARCH: Final = {"size": 5, "query": CRIME}
RERANKED: Final = {
    "size": 5,
    "retriever": {
        "text_similarity_reranker": {
            "retriever": {"standard": {"query": CRIME}},
            "field": "plot",
            "inference_text": QUESTION,
            "rank_window_size": 20,
        }
    },
}


@dataclass(frozen=True)
class Found:
    """What a search finds."""

    ids: list[str]
    total: int


@dataclass(frozen=True)
class Facts:
    """What is known of a run.

    Attributes:
        version: Of Elasticsearch.
        index: The program's.
        films: What it indexed.
        plain, best: What SEARCH finds, and what the searches find that are reranked where there is a proxy.
    """

    version: str
    index: str
    films: list[Mapping[str, Any]]
    plain: Found
    best: Found


def found(server: Server, index: str, body: Mapping[str, Any]) -> Found:
    """Search without a client."""
    reply = server.call("POST", f"/{index}/_search", body)
    assert reply.status == 200, reply.body
    hits = reply.json()["hits"]
    return Found([hit["_id"] for hit in hits["hits"]], hits["total"]["value"])


def expected(step: str, facts: Facts) -> dict[str, Any]:
    """Return what a program has to report of a step."""
    return RESULTS[step](facts)


def _released(facts: Facts) -> list[int]:
    return [int(film["released"]) for film in facts.films]


def _all(facts: Facts) -> dict[str, Any]:
    return {"count": len(facts.films), "closed": True}


def _inference(facts: Facts) -> dict[str, Any]:
    name = f"{facts.index}-endpoint"
    return {
        "put": name,
        "get": [name],
        "listed": True,
        "updated": 2,
        "ranked": [1, 0],
        "deleted": True,
        "after": 404,
    }


RESULTS: Final[Mapping[str, Callable[[Facts], dict[str, Any]]]] = {
    "info": lambda facts: {"version": facts.version, "product": "Elasticsearch"},
    "index": lambda _: {"result": "created"},
    "bulk": lambda facts: {"errors": False, "items": len(facts.films)},
    "get": lambda facts: {"title": facts.films[0]["title"]},
    "search": lambda facts: {"ids": facts.plain.ids, "total": facts.plain.total},
    "reranked search": lambda facts: {"ids": facts.best.ids, "total": facts.best.total},
    "msearch": lambda facts: {"ids": facts.plain.ids, "status": [200, 404]},
    "reranked msearch": lambda facts: {"ids": facts.best.ids, "status": [200, 404]},
    "scroll": _all,
    "point in time": _all,
    "aggregation": lambda facts: {"min": min(_released(facts)), "max": max(_released(facts))},
    "async search": lambda facts: {"ids": facts.best.ids, "status": 200, "deleted": True, "after": 404},
    "inference": _inference,
    "errors": lambda _: {
        "missing": [404, "index_not_found_exception"],
        "invalid": [400, "search_phase_execution_exception"],
    },
    "reranked errors": lambda _: {
        "missing": [404, "status_exception"],
        "invalid": [400, "action_request_validation_exception"],
    },
    "compression": lambda facts: {"ids": facts.plain.ids},
    "reranked compression": lambda facts: {"ids": facts.best.ids},
    "sniffing": lambda facts: {"stays": True, "ids": facts.best.ids},
    "tls": lambda facts: {"ids": facts.best.ids, "refused": True},
    "concurrency": lambda _: {"answers": 100, "distinct": 1},
}
