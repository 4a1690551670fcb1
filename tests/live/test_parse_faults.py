"""Faults that only upstream can find are reported as native reports them: the same bytes, read by both.

`rescorer` stands for all compound retrievers: native evaluates it itself, and so does the application here.
"""

import json
import re
from collections.abc import AsyncIterator, Iterator
from random import Random
from typing import Any, Final

import pytest

from testbed import RunningElasticsearch
from tests.live.conftest import MakeIndex
from tests.support.retrievers import RESCORE, diversify, rescorer
from tests.support.search_app import TWO_STAGES, SearchApp, search_app
from tests.support.searches import KNN, QUERY, RERANKER, STANDARD, reranking

JSON = dict[str, Any]

BOGUS: Final[JSON] = {"bogus": {}}
NESTED: Final[JSON] = {"bool": {"must": [QUERY, {"bool": {"should": {"match": {"text": {"qery": "x"}}}}}]}}
TOO_LARGE: Final[JSON] = {"match": {"text": {"query": "x", "max_expansions": 99999999999}}}
NO_NUMBER: Final[JSON] = {"match": {"text": {"query": "é", "boost": "abc"}}}
SORT: Final = [{"n": {"odrer": "asc"}}]
FOO: Final = {"foo": 1}
TERMS: Final[JSON] = {"a": {"terms": FOO}}


def standard(**options: Any) -> JSON:
    return {"standard": {"query": QUERY, **options}}


def knn(**options: Any) -> JSON:
    return {"knn": {**KNN["knn"], **options}}


def body(tree: JSON, before: JSON | None = None, **after: Any) -> JSON:
    return {**(before or {}), "retriever": tree, **after}


BODIES: Final[dict[str, JSON]] = {
    "unknown query": body(rescorer(standard(query=BOGUS))),
    "nested query": body(rescorer(standard(query=NESTED))),
    "number out of range": body(rescorer(standard(query=TOO_LARGE))),
    "no number": body(rescorer(standard(query=NO_NUMBER))),
    "no base64": body(rescorer(standard(query={"wrapper": {"query": "a"}}))),
    "time zone": body(rescorer(standard(query={"range": {"n": {"gte": 1, "time_zone": "nowhere"}}}))),
    "deep in the tree": body(rescorer(rescorer(rescorer(standard(query=NESTED))))),
    "filter": body(rescorer(standard(filter=BOGUS))),
    "filters": body(rescorer(standard(filter=[QUERY, NESTED, BOGUS]))),
    "filters of a compound": body(rescorer(filter=[QUERY, NO_NUMBER])),
    "filter of a compound": body(rescorer(rescorer(filter=TOO_LARGE))),
    "filters of vectors": body(rescorer(knn(filter=[QUERY, BOGUS]))),
    "sort": body(rescorer(standard(sort=SORT))),
    "sort by one": body(rescorer(standard(sort={"n": {"order": "up"}}))),
    "sort after a good one": body(rescorer(standard(sort=["n", {"_geo_distance": FOO}]))),
    "collapse": body(rescorer(standard(collapse=FOO))),
    "sort of collapsed": body(rescorer(standard(collapse={"field": "n", "inner_hits": {"sort": SORT}}))),
    "rescore": body(rescorer(rescore={"query": {"rescore_query": NESTED}})),
    "rescorers": body(rescorer(rescore=[RESCORE, {"window_size": 5, "query": {"rescore_query": BOGUS}}])),
    "script rescorer": body(rescorer(rescore=[RESCORE, {"script": FOO}])),
    "vector builder": body(
        rescorer({"knn": {"field": "v", "k": 1, "query_vector_builder": {"übersetzt": {"model": 1}}}})
    ),
    "first in the text": body(
        rescorer(standard(sort=SORT, filter=[BOGUS], collapse=FOO), filter=NESTED, rescore={"script": FOO})
    ),
    "first is a query": body(rescorer(standard(filter=[BOGUS], sort=SORT), {"script": FOO})),
    "first is the last retriever's": body(
        {"rescorer": {"rescore": {"script": FOO}, "retriever": standard(sort=SORT)}}
    ),
    "aggregation": body(rescorer(), aggs=TERMS),
    "aggregation before": body(rescorer(), {"aggs": TERMS}),
    "aggregation before a bad tree": body(rescorer(standard(query=BOGUS)), {"aggs": TERMS}),
    "aggregation after a bad tree": body(rescorer(standard(query=BOGUS)), aggs=TERMS),
    "number out of range after": body(rescorer(), aggs={"a": {"terms": {"field": "n", "size": 99999999999}}}),
    "highlight": body(rescorer(), highlight={"fields": {"text": {"tpye": "plain"}}}),
    "unknown key": body(rescorer(), colapse={"field": "n"}),
    "unknown key of a value": body(rescorer(), {"size": 3, "colapse": 1}),
    "post_filter": body(rescorer(), post_filter=NESTED),
    "suggest": body(rescorer(), suggest={"s": {"text": "x", "trem": {}}}),
    "several after": body(rescorer(), {"size": 1}, **{"from": 0}, highlight={"foo": {}}, aggs=TERMS),
    "in what is not valid": body(rescorer(standard(query=NESTED)), size=99),
    "beside what is not valid": body(rescorer(), {"sort": ["n"]}, size=99, aggs=TERMS),
    "not in what matters": body(rescorer(standard(filter=[QUERY, STANDARD]))),
}

UNICODE: Final = {"_source": ["ключ", "鍵", "\U0001f511"]}


def spellings(value: JSON) -> Iterator[bytes]:
    """Yield the same body in several layouts, with characters of several bytes before the fault."""
    with_more = {**UNICODE, **value}
    yield json.dumps(value, separators=(",", ":")).encode()
    yield json.dumps(with_more, ensure_ascii=False).encode()
    yield json.dumps(value, indent=1).encode()
    yield json.dumps(with_more, indent="\t", ensure_ascii=False).replace("\n", "\r\n").encode()
    # Every token on a line of its own, and a first line that is as short as can be.
    yield json.dumps(value, indent=0).replace('": ', '":\n').replace("{", "\n{\n", 1).encode()


@pytest.fixture
async def app(elasticsearch: RunningElasticsearch) -> AsyncIterator[SearchApp]:
    async with search_app(elasticsearch.url, evaluate={"rescorer"}) as serving:
        yield serving


@pytest.fixture
def index(make_index: MakeIndex) -> str:
    mappings = {"properties": {"v": {"type": "dense_vector", "dims": 2}}}
    return make_index([{"text": "crime 1", "n": 1, "v": [1, 2]}], mappings=mappings)


async def native(
    app: SearchApp, elasticsearch: RunningElasticsearch, index: str, data: bytes, query: str = ""
) -> bytes:
    target, headers = f"{elasticsearch.url}/{index}/_search?{query}", {"Content-Type": "application/json"}
    async with app.session.post(target, data=data, headers=headers) as reply:
        assert reply.status == 400
        return await reply.read()


@pytest.mark.every_version
@pytest.mark.parametrize("value", BODIES.values(), ids=BODIES.keys())
async def test_errors_are_natives(
    app: SearchApp, elasticsearch: RunningElasticsearch, index: str, value: JSON
) -> None:
    for data in spellings(value):
        ours = await app.search(index, data)
        assert ours.status == 400
        assert ours.json() == json.loads(await native(app, elasticsearch, index, data))


@pytest.mark.parametrize("name", ["nested query", "filters", "aggregation", "highlight"])
async def test_errors_are_printed_as_natives(
    app: SearchApp, elasticsearch: RunningElasticsearch, index: str, name: str
) -> None:
    for data in spellings(BODIES[name]):
        ours = await app.search(index, data, "pretty")
        assert ours.body == await native(app, elasticsearch, index, data, "pretty")


async def test_a_long_body_is_quoted_in_part(
    app: SearchApp, elasticsearch: RunningElasticsearch, index: str
) -> None:
    for name in ("number out of range", "number out of range after", "no base64"):
        data = json.dumps({"_source": ["é" * 300], **BODIES[name]}, ensure_ascii=False).encode()
        ours = await app.search(index, data)
        assert b"[truncated " in ours.body
        assert ours.json() == json.loads(await native(app, elasticsearch, index, data))


async def test_through_retrievers_that_wrap_in_another_way(
    elasticsearch: RunningElasticsearch, index: str
) -> None:
    value = body(rescorer(diversify(rescorer(standard(query=NESTED)))))
    async with search_app(elasticsearch.url, evaluate={"rescorer", "diversify"}) as app:
        for data in spellings(value):
            ours = await app.search(index, data)
            assert ours.json() == json.loads(await native(app, elasticsearch, index, data))


@pytest.mark.every_version
@pytest.mark.parametrize("query", [NESTED, BOGUS, TOO_LARGE, NO_NUMBER])
@pytest.mark.parametrize("url", ["", TWO_STAGES])
async def test_through_a_reranker(
    app: SearchApp, elasticsearch: RunningElasticsearch, index: str, query: JSON, url: str
) -> None:
    """Native has no reranker here: a `rescorer` at the same positions gives the same messages but for one."""
    data = json.dumps(reranking(standard(query=query)), indent=2).encode()
    name, other = f'"{RERANKER}"'.encode(), b'"rescorer"'
    in_its_place = data.replace(name, other + b" " * (len(name) - len(other)))
    expected = json.loads(await native(app, elasticsearch, index, in_its_place))["error"]["caused_by"]
    expected = json.loads(json.dumps(expected).replace("[rescorer]", f"[{RERANKER}]"))
    told = (await app.search(index, data, url)).json()
    root = told["error"].pop("root_cause")
    assert without_quotes(told) == without_quotes({"error": expected, "status": 400})
    innermost = expected
    while innermost.get("caused_by", {}).get("type") in ("parsing_exception", "x_content_parse_exception"):
        innermost = innermost["caused_by"]
    innermost.pop("caused_by", None)
    assert without_quotes(root) == without_quotes([innermost])


def without_quotes(error: Any) -> Any:
    """Remove the text that the tokenizer quotes, which contains the name of the retriever."""
    return json.loads(re.sub(r"\(byte\[\]\).*?; line", "; line", json.dumps(error)))


async def test_asking_is_cheap_and_searches_nothing(app: SearchApp, index: str) -> None:
    await app.search(index, {**BODIES["sort"], "size": 3})
    asked = [target for target in app.upstream.sent if "size=-1" in target]
    assert asked == ["GET /_search?size=-1"] * 2
    app.upstream.sent.clear()
    answer = await app.search(index, body(rescorer(), query=QUERY))
    assert answer.json()["error"]["type"] == "action_request_validation_exception"
    assert app.upstream.sent == [*["GET /_search?size=-1"] * 2, f"GET /{index}/_search"]


async def test_who_makes_no_mistake_is_asked_nothing(app: SearchApp, index: str) -> None:
    assert (await app.search(index, body(rescorer(standard(filter=QUERY)), size=3))).hits
    assert not any("size=-1" in target for target in app.upstream.sent)


async def test_what_is_not_a_fault_of_the_body_is_reported_as_before(app: SearchApp, index: str) -> None:
    answer = await app.search(index, body(rescorer(), size=3), "preference=_only_nodes:nobody")
    assert answer.status == 400
    assert "no data nodes with criteria" in answer.json()["error"]["reason"]


TEXT: Final = (
    b'{ "size" : 3, "retriever": {"rescorer": {"_name": "x", "min_score": 1.5e1, "retriever": '
    b'{"rescorer": {"filter": [], "retriever": {"standard": {"_name": "n", "terminate_after":3 }}}},'
    b'\n "rescore": {"window_size": 4, "query": {"rescore_query": {"match_all": {}}}}}}, "from" :0}'
)
"""Without a clause in which a fault could be: those are upstream's to tell."""
BYTES: Final = [*b'{}[]",:1.+e\\ \nntrufa/*', 0x01]


AFTER: Final = json.dumps({"retriever": rescorer(standard())}).encode()[:-1] + b","
RESTS: Final = [
    b'"',
    b'"size"',
    b'"size":1',
    b'"si',
    b'"size" 1}',
    b'"size":1,}',
    b"'size':1}",
    b'"size":1 # one\n}',
    b'"size":1 "from":2}',
    b'"size":1,"size":2}',
    b'"from":1}}',
    b'"from":1} {}',
    b'"from":1} 1',
    b'\n "from":1\n,}}',
    b'"min_score":"\xff"}',
]


def _with_a_fault(random: Random) -> bytes:
    place = random.randrange(TEXT.index(b'"_name"'), TEXT.index(b'"rescore"'))
    byte = bytes([random.choice(BYTES)])
    kept = random.choice([0, 0, 1])
    return random.choice([TEXT[:place] + byte + TEXT[place + 1 - kept :], TEXT[:place] + TEXT[place + 1 :]])


@pytest.mark.parametrize("seed", range(4))
async def test_faults_of_the_text(
    app: SearchApp, elasticsearch: RunningElasticsearch, index: str, seed: int
) -> None:
    """One byte is changed, left out or added: what is wrong, where, and what encloses it."""
    random = Random(seed)
    for _ in range(60):
        broken = _with_a_fault(random)
        ours = await app.search(index, broken)
        if ours.status == 400:
            answer = json.loads(await native(app, elasticsearch, index, broken))
            assert (broken, ours.json()) == (broken, answer)


@pytest.mark.parametrize(
    "broken",
    [
        TEXT.replace(b'"terminate_after":3', b'"terminate_after":' + b"3" * 1001),
        TEXT.replace(b'"terminate_after":3', b'"terminate_after":' + b"3" * 1000),
        TEXT.replace(b'"terminate_after":3', b'"unknown":0.' + b"3" * 1000),
        TEXT.replace(b'"filter": []', b'"filter":' + b"[" * 1001 + b"]" * 1001),
        TEXT.replace(b'"filter": []', b'"filter": [/**/, ]'),
        TEXT.replace(b'"filter": []', b'"filter": [], "filter": []'),
        TEXT.replace(b'"_name": "n"', b'"_name": "\\ud8"'),
        TEXT[:-1],
        TEXT + b" // more\n {}",
        *(AFTER + rest for rest in RESTS),
        *(TEXT[:end] for end in range(30, TEXT.index(b'"rescore"'), 7)),
    ],
    ids=lambda broken: str(len(broken)),
)
async def test_constraints_and_ends(
    app: SearchApp, elasticsearch: RunningElasticsearch, index: str, broken: bytes
) -> None:
    ours = await app.search(index, broken)
    if ours.status != 421:  # else it is upstream that tells
        assert ours.json() == json.loads(await native(app, elasticsearch, index, broken))


PLACES: Final = (
    b'{"retriever":{"rescorer":{"min_score":%b,"retriever":{"standard":{}}}}}',
    b'{"retriever":{"rescorer":{"retriever":{"standard":{"terminate_after":%b}}}},"size":1}',
    b'{"retriever":{"rescorer":{"retriever":{"standard":{"query":{"match":{"text":%b}}}}}}}',
    b'{"retriever":{"rescorer":{"rescore":{"window_size":%b},"retriever":{"standard":{}}}}}',
    b'{"size":1,"from":%b,"retriever":{"rescorer":{}}}',
    b'{"min_score":%b',
)
WORDS: Final = (
    *("NaN", "Infinity", "-Infinity", "+Infinity", "INF", "-INF", "+INF", "-NaN", "NaNs", "-Infinity1"),
    *(
        "-Infinit",
        "+Infi",
        "-In",
        "-IN",
        "-INFO",
        "-I",
        "+I",
        "-Ix",
        "+Ix",
        "-",
        "+",
        "+1",
        "+.5",
        "-.5",
        ".5",
    ),
    *("nan", "Na", "I", "tru", "truest", "nul", "None", "TRUE", "$", "_", "$a_1", "undefined", "'a'", "0x10"),
    *("é", "ü1", "א", "€", "\U0001d400", "tré", "tru€x", "a\u0301\u203f", "a\U0001d400b", "a\x01b", "a\x7fb"),
    *("a" * 255, "a" * 256, "a" * 300, "é" * 300, "a" + "é" * 254, "a" + "é" * 255, "-Infinity" + "y" * 300),
)


@pytest.mark.every_version
@pytest.mark.parametrize("place", PLACES)
async def test_words_that_are_not_values(
    app: SearchApp, elasticsearch: RunningElasticsearch, index: str, place: bytes
) -> None:
    for word in WORDS:
        broken = place % word.encode()
        ours = await app.search(index, broken)
        if ours.status != 421:  # else it is upstream that tells
            answer = json.loads(await native(app, elasticsearch, index, broken))
            assert (word, ours.json()) == (word, answer)
