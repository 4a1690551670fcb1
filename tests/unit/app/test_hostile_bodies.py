"""No body, whatever is in it, holds the event loop: others are answered meanwhile."""

import gzip
import json
from collections.abc import AsyncIterator, Callable
from typing import Any, Final

import cbor2
import pytest
from aiohttp import web

from tests.support.loop_time import longest_step
from tests.support.search_app import SearchApp, search_app
from tests.support.searches import reranking

LONGEST_STEP_S: Final = 0.1
"""The largest windows take half of it; on a machine that is slow for memory, nearly all."""
SEARCH: Final = json.dumps(reranking()).encode()
NOTHING_FOUND: Final = {
    "took": 1,
    "timed_out": False,
    "_shards": {"total": 1, "successful": 1, "skipped": 0, "failed": 0},
    "hits": {"total": {"value": 0, "relation": "eq"}, "max_score": None, "hits": []},
}
RERANKER_WITH: Final = b'{"retriever":{"text_similarity_reranker":{%s}}}'


def beside(member: bytes) -> bytes:
    """A search with one member more, before the retriever."""
    return b"{" + member + b"," + SEARCH[1:]


def with_query(clause: bytes) -> bytes:
    return RERANKER_WITH % (
        b'"field":"text","inference_text":"q","retriever":{"standard":{"query":%s}}' % clause
    )


def with_leaf(leaf: bytes) -> bytes:
    return RERANKER_WITH % (b'"field":"text","inference_text":"q","retriever":{%s}' % leaf)


def many(item: bytes, number: int, opening: bytes = b"[", closing: bytes = b"]") -> bytes:
    return opening + b",".join([item] * number) + closing


def numbered(item: bytes, number: int, opening: bytes = b"{", closing: bytes = b"}") -> bytes:
    return opening + b",".join(item % at for at in range(number)) + closing


BODIES: Final[dict[str, Callable[[], bytes]]] = {
    "objects in an unknown member": lambda: beside(b'"x":' + many(b"{}", 300_000)),
    "more values than may be": lambda: beside(b'"x":' + many(b"{}", 2_000_000)),
    "values after an unknown key": lambda: RERANKER_WITH % (b'"zz":' + many(b"{}", 300_000)),
    "clauses": lambda: with_query(
        b'{"bool":{"should":' + numbered(b'{"match":{"text":"w%d"}}', 50_000, b"[", b"]") + b"}}"
    ),
    "filters": lambda: with_leaf(b'"standard":{"filter":' + many(b'{"match_all":{}}', 60_000) + b"}"),
    "sorts": lambda: with_leaf(b'"standard":{"sort":' + many(b'"a"', 200_000) + b"}"),
    "numbers of a vector": lambda: with_leaf(
        b'"knn":{"field":"v","k":1,"query_vector":' + many(b"0.25", 300_000) + b"}"
    ),
    "strings of a vector": lambda: with_leaf(
        b'"knn":{"field":"v","k":1,"query_vector":' + many(b'"0.25"', 90_000) + b"}"
    ),
    "retrievers side by side": lambda: with_leaf(
        b'"rrf":{"retrievers":' + many(b'{"standard":{}}', 30_000) + b"}"
    ),
    "retrievers in one another": lambda: with_leaf(
        b'"rescorer":{"retriever":{' * 450 + b'"standard":{}' + b"}}" * 450
    ),
    "a wide body": lambda: beside(numbered(b'"a%d":1', 90_000)[1:-1]),
    "a wide reranker": lambda: RERANKER_WITH % numbered(b'"a%d":1', 200_000)[1:-1],
    "arrays in one another": lambda: beside(b'"x":' + b"[" * 200_000 + b"]" * 200_000),
    "objects in one another": lambda: beside(b'"x":' + b'{"a":' * 200_000 + b"1" + b"}" * 200_000),
    "a long number": lambda: beside(b'"size":' + b"1" * 2_000_000),
    "a long number in the retriever": lambda: RERANKER_WITH % (b'"rank_window_size":' + b"1" * 2_000_000),
    "a long name": lambda: RERANKER_WITH % (b'"' + b"a" * 2_000_000 + b'":1'),
    "a long name like a known one": lambda: RERANKER_WITH % (b'"' + b"rank_window_size" * 200 + b'":1'),
    "a long text": lambda: RERANKER_WITH % (b'"field":"f","inference_text":"' + b"a" * 4_000_000 + b'"'),
    "a text of escapes": lambda: RERANKER_WITH % (b'"field":"' + b"\\u0061" * 500_000 + b'"'),
    "blanks": lambda: beside(b" " * 4_000_000 + b'"x":1'),
    "comments between members": lambda: beside(b"/**/" * 500_000 + b'"x":1'),
    "comments in a member": lambda: beside(b'"x":' + many(b"/**/1", 200_000)),
    "a fault far behind": lambda: beside(b'"x":' + many(b"{}", 90_000) + b"{"),
    "no end": lambda: SEARCH[:-1] + b',"x":[' + b"{}," * 90_000,
    "no UTF-8": lambda: SEARCH[:-1] + b',"x":"' + "é".encode() * 1_000_000 + b'\xff"}',
    "a byte order mark": lambda: b"\xef\xbb\xbf" + beside(b'"x":' + many(b"{}", 300_000)),
    "two documents": lambda: SEARCH + many(b"{}", 300_000),
}

LINES: Final[dict[str, Callable[[], bytes]]] = {
    "searches of upstream's": lambda: b"{}\n{}\n" * 9_000 + b"{}\n" + SEARCH + b"\n",
    "searches of many indices": lambda: (
        b"".join(b'{"index":"i%d"}\n{"query":{"match_all":{}}}\n' % at for at in range(9_000))
        + b"{}\n"
        + SEARCH
        + b"\n"
    ),
    "rerankers": lambda: (b"{}\n" + SEARCH + b"\n") * 1_000,
    "more searches than may be": lambda: b"\n{}\n" * 100_000 + b"{}\n" + SEARCH + b"\n",
    "mere mentions": lambda: b'{}\n{"query":{"match":{"text":"text_similarity_reranker"}}}\n' * 60_000,
    "rerankers that are refused": lambda: b'{}\n{"retriever":{"text_similarity_reranker":{"x":1}}}\n' * 9_000,
}

RERANK: Final[dict[str, Callable[[], bytes]]] = {
    "objects": lambda: b'{"query":"q","input":' + many(b"{}", 200_000) + b"}",
    "texts in objects": lambda: (
        b'{"query":"q","input":' + many(b'{"type":"text","value":"a"}', 20_000) + b"}"
    ),
    "an unknown key": lambda: b'{"x":' + many(b"{}", 200_000) + b"}",
    "deep task settings": lambda: (
        b'{"query":"q","input":"a","task_settings":{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}}"
    ),
    "wide task settings": lambda: (
        b'{"query":"q","input":"a","task_settings":' + numbered(b'"a%d":1', 90_000) + b"}"
    ),
}


def yaml_body(inner: str) -> bytes:
    return f"retriever: {{text_similarity_reranker: {inner}}}\n".encode()


OTHER_FORMATS: Final[dict[str, tuple[str, Callable[[], bytes]]]] = {
    "many values in YAML": ("yaml", lambda: yaml_body("[" + "a," * 200_000 + "a]")),
    "arrays in one another in YAML": ("yaml", lambda: yaml_body("[" * 100_000 + "]" * 100_000)),
    "a long text in YAML": ("yaml", lambda: yaml_body("a" * 2_000_000)),
    "many values in CBOR": (
        "cbor",
        lambda: cbor2.dumps({"retriever": {"text_similarity_reranker": 1}, "x": [[]] * 3_000_000}),
    ),
    "some values in CBOR": (
        "cbor",
        lambda: cbor2.dumps({"retriever": {"text_similarity_reranker": {"x": [{}] * 90_000}}}),
    ),
    "arrays in one another in CBOR": ("cbor", lambda: b"\xa1\x69retriever" + b"\x81" * 1_000_000),
    "an array that claims to be long": ("cbor", lambda: b"\xa1\x61a\x9b\x00\x00\x00\x7f\xff\xff\xff\xff"),
}


HIT: Final = b'{"_index":"i","_id":"%d","_score":1.0,"sort":[1.0,%d],"fields":{"text":["a text 1"]}}'


def with_hits(*hits: bytes) -> bytes:
    return (
        b'{"took":1,"timed_out":false,"_shards":{"total":1,"successful":1,"skipped":0,"failed":0},'
        b'"hits":{"total":{"value":1,"relation":"eq"},"max_score":1.0,"hits":[%b]}}' % b",".join(hits)
    )


def with_source(source: bytes) -> bytes:
    return with_hits(b'{"_index":"i","_id":"1","_score":1.0,"sort":[1.0,1],"_source":%b}' % source)


def with_text(value: bytes) -> bytes:
    return with_hits(b'{"_index":"i","_id":"1","_score":1.0,"sort":[1.0,1],"fields":{"text":[%b]}}' % value)


ANSWERS: Final[dict[str, Callable[[], bytes]]] = {
    "hits": lambda: with_hits(*(HIT % (at, at) for at in range(20_000))),
    "hits without anything": lambda: with_hits(*[b"{}"] * 300_000),
    "a deep source": lambda: with_source(b"[" * 200_000 + b"]" * 200_000),
    "a deep source of objects": lambda: with_source(b'{"a":' * 200_000 + b"1" + b"}" * 200_000),
    "a wide source": lambda: with_source(numbered(b'"a%d":1', 300_000)),
    "a source that spells halves of characters": lambda: with_source(many(b'"\\ud800"', 100_000) + b" " * 10),
    "deep hits": lambda: with_hits(b"[" * 200_000 + b"]" * 200_000),
    "a deep text": lambda: with_text(b"[" * 200_000 + b"]" * 200_000),
    "a text of many values": lambda: with_text(many(b"1", 300_000)),
    "a text that is a long number": lambda: with_text(b"1" * 1_000_000),
    "a long text": lambda: with_text(b'"' + b"a " * 1_000_000 + b'1"'),
    "a text of escapes": lambda: with_text(b'"' + b"\\n" * 1_000_000 + b' 1"'),
    "a long score": lambda: with_hits(b'{"_index":"i","_id":"1","_score":' + b"1" * 1_000_000 + b"}"),
    "no hits but depth": lambda: b"[" * 300_000 + b"]" * 300_000,
    "an error that is deep": lambda: b'{"error":' + b'{"caused_by":' * 100_000 + b"1" + b"}" * 100_001,
    "an error of many": lambda: (
        b'{"error":{"type":"x","reason":"y","root_cause":' + many(b"{}", 300_000) + b'},"status":400}'
    ),
}


POINT_IN_TIME: Final = "?search_type=query_then_fetch"
"""Has a point in time opened for the search."""


class AnyText(dict[str, float]):
    """Has a score for each text."""

    def __contains__(self, text: object) -> bool:
        return True

    def __missing__(self, text: str) -> float:
        return 1.0


class FakeElasticsearch:
    """Answers as an Elasticsearch in which nothing is found.

    Attributes:
        search: What it answers to a search instead, and with which status.
    """

    def __init__(self) -> None:
        self.search: tuple[int, bytes] | None = None

    async def answer(self, request: web.Request) -> web.Response:
        body = await request.read()
        if request.path.endswith("/_search") and self.search is not None:
            status, answer = self.search
            return web.Response(status=status, body=answer, content_type="application/json")
        if request.path.startswith("/_security"):
            error = {"type": "illegal_argument_exception", "reason": "no handler found for uri [/_security"}
            return web.json_response({"error": error, "status": 400}, status=400)
        found: Any = {"id": "pit"} if request.path.endswith("/_pit") else NOTHING_FOUND
        if request.path.endswith("/_msearch"):
            found = {"took": 1, "responses": [{**NOTHING_FOUND, "status": 200}] * (body.count(b"\n") // 2)}
        return web.json_response(found)


@pytest.fixture
def elasticsearch() -> FakeElasticsearch:
    return FakeElasticsearch()


@pytest.fixture
async def app(elasticsearch: FakeElasticsearch) -> AsyncIterator[SearchApp]:
    upstream = web.Application(client_max_size=0)
    upstream.router.add_route("*", "/{path:.*}", elasticsearch.answer)
    runner = web.AppRunner(upstream)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        async with search_app(f"http://{host}:{port}", max_inflation=100_000) as started:
            yield started
    finally:
        await runner.cleanup()


async def ask(
    app: SearchApp, path: str, body: bytes, type_: str = "application/json", *, method: str = "POST"
) -> None:
    """Send a body, compressed: it may be a few bytes on the wire."""
    coded = gzip.compress(body, 1)
    headers = {"Content-Type": type_, "Content-Encoding": "gzip"}
    app.engine.table = AnyText()
    with longest_step() as longest:
        answer = await app.call(method, path, coded, headers=headers)
    assert longest.seconds < LONGEST_STEP_S, longest.what
    assert answer.status in (200, 400, 413, 421), answer.body[:500]
    assert b"illegal_state_exception" not in answer.body[:300]


@pytest.mark.parametrize("name", BODIES)
async def test_of_a_search(app: SearchApp, name: str) -> None:
    await ask(app, "/_search", BODIES[name]())


@pytest.mark.parametrize("name", LINES)
async def test_of_many_searches(app: SearchApp, name: str) -> None:
    await ask(app, "/_msearch", LINES[name](), "application/x-ndjson")


@pytest.mark.parametrize("name", RERANK)
async def test_of_a_call_of_an_endpoint(app: SearchApp, name: str) -> None:
    await ask(app, "/_inference/rerank/.rerank-v1-elasticsearch", RERANK[name]())


@pytest.mark.parametrize("name", RERANK)
async def test_of_a_new_endpoint(app: SearchApp, name: str) -> None:
    await ask(app, "/_inference/rerank/new", RERANK[name](), method="PUT")


@pytest.mark.parametrize("name", OTHER_FORMATS)
async def test_of_another_format(app: SearchApp, name: str) -> None:
    format_, body = OTHER_FORMATS[name]
    await ask(app, "/_search", body(), f"application/{format_}")


@pytest.mark.parametrize(
    ("status", "query"),
    [
        pytest.param(200, "", id="one search"),
        pytest.param(200, POINT_IN_TIME, id="point in time"),
        pytest.param(500, "", id="refused"),
        # Both ways read what is refused, and all that is refused, alike.
        pytest.param(400, "", id="refused 400", marks=pytest.mark.long),
        pytest.param(400, POINT_IN_TIME, id="refused 400, point in time", marks=pytest.mark.long),
        pytest.param(500, POINT_IN_TIME, id="refused, point in time", marks=pytest.mark.long),
    ],
)
@pytest.mark.parametrize("name", ANSWERS)
async def test_of_upstreams_answer(
    app: SearchApp, elasticsearch: FakeElasticsearch, name: str, status: int, query: str
) -> None:
    """Whatever upstream says, the client gets an answer: upstream's, or what is wrong with it."""
    elasticsearch.search = status, ANSWERS[name]()
    app.engine.table = AnyText()
    with longest_step() as longest:
        answer = await app.call("POST", "/_search" + query, SEARCH)
    assert longest.seconds < LONGEST_STEP_S, longest.what
    assert b"illegal_state_exception" not in answer.body[:300]


@pytest.mark.parametrize("retriever", ["reranker", "rescorer"])
async def test_of_the_largest_window(
    app: SearchApp, elasticsearch: FakeElasticsearch, retriever: str
) -> None:
    """All of its documents are named in the searches that follow."""
    elasticsearch.search = 200, with_hits(*(HIT % (at, at) for at in range(10_000)))
    app.engine.table = AnyText()
    body = reranking(rank_window_size=10_000)
    if retriever == "rescorer":
        rescore = {"window_size": 10_000, "query": {"rescore_query": {"match_all": {}}}}
        body = {"retriever": {"rescorer": {"retriever": body["retriever"], "rescore": rescore}}}
    with longest_step() as longest:
        answer = await app.call("POST", "/_search?search_type=query_then_fetch", body)
    assert answer.status == 200, answer.body[:500]
    assert longest.seconds < LONGEST_STEP_S, longest.what


async def test_of_the_largest_window_explained(app: SearchApp, elasticsearch: FakeElasticsearch) -> None:
    """Each document of the page is looked for among those that were ranked."""
    told = b',"_shard":"[i][0]","_explanation":{"value":1.0,"description":"product of:","details":[]}}'
    hits = ((HIT % (at, at)).removesuffix(b"}") + told for at in range(10_000))
    elasticsearch.search = 200, with_hits(*hits)
    app.engine.table = AnyText()
    body = {**reranking(rank_window_size=10_000), "explain": True}
    with longest_step() as longest:
        answer = await app.call("POST", "/_search", body)
    assert answer.status == 200, answer.body[:500]
    assert longest.seconds < LONGEST_STEP_S, longest.what
