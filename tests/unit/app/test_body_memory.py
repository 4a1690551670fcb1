"""A large body is copied a few times at most, whatever is asked with it."""

import gzip
import json
import tracemalloc
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import pytest
from multidict import CIMultiDict

from rerank_proxy.errors import MAX_REASON
from rerank_proxy.http.messages import Request, Response
from rerank_proxy.upstream.protocol import Reply
from tests.support.search_app import ENDPOINT, SearchApp, search_app

SIZE: Final = 8_000_000
MOST_COPIES: Final = 5.1
"""Of a body, itself and what is sent upstream among them."""
FREE: Final = 32 * 1024 * 1024 / SIZE
"""Copies that inner searches may have together, beside two."""

LONG: Final = "a " * (SIZE // 2)
MATCH: Final[dict[str, Any]] = {"match": {"text": LONG}}
SHORT: Final[dict[str, Any]] = {"standard": {"query": {"match_all": {}}}}


def body(retriever: dict[str, Any], **others: Any) -> bytes:
    reranker = {
        "retriever": retriever,
        "field": "text",
        "inference_text": "q",
        "inference_id": ENDPOINT,
        **others,
    }
    return json.dumps({"retriever": {"text_similarity_reranker": reranker}}).encode()


def fused(number: int) -> bytes:
    return body({"rrf": {"retrievers": [SHORT] * number, "filter": MATCH}})


BODIES: Final[dict[str, Callable[[], bytes]]] = {
    "a query": lambda: body({"standard": {"query": MATCH}}),
    "a filter": lambda: body({"standard": {"query": {"match_all": {}}, "filter": MATCH}}),
    "a filter of the reranker": lambda: body(SHORT, filter=MATCH),
    "a filter of the child": lambda: body({"rescorer": {"retriever": SHORT, "rescore": [], "filter": MATCH}}),
    "a query text": lambda: body(SHORT, inference_text=LONG),
    "a member of the search": lambda: body(SHORT)[:-1] + b',"aggs":' + json.dumps(MATCH).encode() + b"}",
    "an unknown name": lambda: body(SHORT, **{LONG: 1}),
    "an unknown retriever": lambda: body({LONG: {}}),
    "a name of the wrong type": lambda: body({"standard": {"query": LONG}}),
    "a number that is text": lambda: body(SHORT, rank_window_size=LONG),
}

NOTHING_FOUND: Final = (
    b'{"took":1,"timed_out":false,"_shards":{"total":1,"successful":1,"skipped":0,"failed":0},'
    b'"hits":{"total":{"value":0,"relation":"eq"},"max_score":null,"hits":[]}}'
)


async def found_nothing(method: str, target: str, body: bytes, headers: CIMultiDict[str]) -> Reply:
    found = NOTHING_FOUND
    if "/_pit" in target:
        found = b'{"id":"pit"}'
    elif "/_msearch" in target:
        items = [NOTHING_FOUND[:-1] + b',"status":200}'] * (body.count(b"\n") // 2)
        found = b'{"took":1,"responses":[%b]}' % b",".join(items)
    return Reply(200, [("content-type", "application/json")], found)


@pytest.fixture
async def app(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[SearchApp]:
    async with search_app("http://127.0.0.1:1", max_inflation=100_000) as started:
        monkeypatch.setattr(started.upstream, "request", found_nothing)
        yield started


async def ask(
    app: SearchApp, sent: bytes, target: str = "/_search", coding: str = ""
) -> tuple[Response, float]:
    """The answer, and how many times `SIZE` was in memory at once for it, less what was sent."""
    fields = [(b"content-type", b"application/json")]
    if coding:
        fields.append((b"content-encoding", coding.encode()))
    request = Request("POST", target, fields, sent)
    tracemalloc.start()
    try:
        answer = await app.handle(request)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert answer.status in (200, 400), answer.body[:300]
    return answer, peak / SIZE


@pytest.mark.parametrize("query", ["", "?search_type=query_then_fetch"], ids=["one search", "point in time"])
@pytest.mark.parametrize("name", BODIES)
async def test_of_a_search(app: SearchApp, name: str, query: str) -> None:
    _, copies = await ask(app, BODIES[name](), "/_search" + query)
    assert copies + 1 < MOST_COPIES


@pytest.mark.parametrize("name", BODIES)
async def test_of_a_compressed_search(app: SearchApp, name: str) -> None:
    _, copies = await ask(app, gzip.compress(BODIES[name](), 1), coding="gzip")
    assert copies < MOST_COPIES


async def test_an_answer_does_not_repeat_all_of_a_long_name(app: SearchApp) -> None:
    answer, _ = await ask(app, BODIES["an unknown name"]())
    reason = json.loads(answer.body)["error"]["reason"]
    assert answer.status == 400
    assert len(reason) <= MAX_REASON + 1
    assert "unknown field [a a a " in reason


@pytest.mark.parametrize("number", [2, 3])
async def test_a_filter_is_repeated_for_a_few_retrievers(app: SearchApp, number: int) -> None:
    answer, _ = await ask(app, fused(number))
    assert answer.status == 200


@pytest.mark.parametrize(
    "sent",
    [
        lambda: fused(900),
        lambda: body({"rrf": {"retrievers": [SHORT] * 900}}, filter=MATCH),
        lambda: body({"rrf": {"retrievers": [SHORT] * 900}}, field=LONG),
        lambda: body({"rrf": {"retrievers": [SHORT] * 900}})[:-1] + b',"pit":{"id":"%b"}}' % LONG.encode(),
    ],
    ids=["filter", "filter above", "field", "point in time"],
)
async def test_nothing_is_repeated_for_very_many_retrievers(
    app: SearchApp, sent: Callable[[], bytes]
) -> None:
    answer, copies = await ask(app, sent())
    assert answer.status == 400
    assert b"the inner searches of this request come to more than" in answer.body
    assert copies < FREE + MOST_COPIES


async def test_nor_for_those_of_many_searches(app: SearchApp) -> None:
    few = body({"rrf": {"retrievers": [SHORT] * 60, "filter": {"match": {"text": "a " * (SIZE // 32)}}}})
    answer, copies = await ask(app, (b"{}\n" + few + b"\n") * 16, "/_msearch")
    statuses = {item["status"] for item in json.loads(answer.body)["responses"]}
    assert statuses == {200, 400}
    assert copies < 2 * FREE + 2 * MOST_COPIES  # they go upstream together: twice


async def test_nor_are_very_many_short_filters(app: SearchApp) -> None:
    leaves: list[dict[str, Any]] = [{"standard": {"filter": {"match_all": {}}}}] * 900
    answer, copies = await ask(app, body({"rrf": {"retrievers": leaves, "filter": [{}] * 90_000}}))
    assert answer.status == 400
    assert copies < FREE + MOST_COPIES
