"""Odd request targets: with and without a reranker in the body the answer is Elasticsearch's own."""

import json
import re
import uuid
from collections.abc import AsyncIterator, Iterable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

from rerank_proxy.edge.server import Edge
from testbed import RunningElasticsearch
from tests.live.conftest import MakeIndex
from tests.support.proxied import proxied
from tests.support.raw_http import Message, connect
from tests.support.searches import reranking

SEARCHES = [
    b"/INDEX/_search",
    b"INDEX/_search",
    b"/INDEX/_search/",
    b"/INDEX/_search///?size=1",
    b"/INDEX/_search#x",
    b"/INDEX/_search#/_flush",
    b"/INDEX/_search?size=1#&from=abc",
    b"/INDEX/_search?size=%31",
    b"/INDEX/_search?s%69ze=1",
    b"/INDEX/_search?size=abc",
    b"/INDEX/_search?x",
    b"/INDEX/_search?\xe9&a%20b#&c",
    b"/INDEX/_search?",
    b"/INDEX/_search?&&;size=1",
    b"/INDEX/_search?preference=%0a",
    b"/INDEX/_search?preference=a%0d%0ab",
    b"/INDEX/_search?preference=\xe9",
    b"/INDEX/_search?preference=%C0%AF+%%41\xe9",
    b"/INDEX/_search?preference=%zz",
    b"/INDEX/_search?preference=%",
    b"/INDEX/_search?%=1",
    b"/INDEX/_search?=%zz",
    b"/INDEX/_search?routing=%e9%2B",
    b"/INDEX/_search?index=caf%C3%A9",
    b"/_search?index=INDEX",
    b"/_search?index=%0a",
    b"/_search?index=caf\xe9",
    b"//INDEX/_search",
    b"/INDEX//_search",
    b"//_search?nope",
    b"//_search?index=INDEX&size=abc",
    b"///_search",
    b"/INDEX/_search//",
    b"/INDEX/../INDEX/_search",
    b"/INDEX/./_search",
    b"/../_search",
    b"/./_search",
    b"/INDEX/%5Fsearch",
    b"/INDEX%2F_search",
    b"/INDEX%2Fa/_search",
    b"/INDEX%0a/_search",
    b"/INDEX%0d%0a/_search",
    b"/INDEX%00/_search",
    b"/INDEX%20/_search",
    b"/INDEX%zz/_search",
    b"/INDEX%/_search",
    b"/INDEX%%/_search",
    b"/INDEX%%%/_search",
    b"/INDEX%%6c/_search",
    b"/%u0041/_search",
    b"/caf\xe9/_search",
    b"/caf\xc3\xa9/_search",
    b"/caf\xe9%20/_search",
    b"/caf%E9/_search",
    b"/%C0%AF/_search",
    b"/%ED%A0%80/_search",
    b"/%F0%9F%98%80/_search",
    b"/%23/_search",
    b"/%3f/_search",
    b"/a+b/_search",
    b'/"a"/_search',
    b"/{a}/_search",
    b"/a|b/_search",
    b"/a\\b/_search",
    b"/a^`/_search",
    b"/a;b/_search",
    b"/a@b/_search",
    b"/<odd>/_search",
    b"/%3Codd-%7Bnow%2Fd%7D%3E/_search",
    b"/INDEX,*,-*/_search",
    b"http://h/INDEX/_search",
    b"http://127.0.0.1/_search",
    b"*",
    b"/_search;x",
    b"/INDEX/_SEARCH",
]
"""`INDEX` stands for an index that is there."""

BEHIND_A_FRAGMENT = [b"/INDEX/_search#x?size=1", b"/INDEX/_search#?x"]
"""Elasticsearch 8 reads no query string there, 9 does."""

ELSEWHERE = [
    b"/_flush#/_search",
    b"/INDEX/_refresh#/_search",
    b"/INDEX/_close?x#/_count",
    b"/INDEX#/_search",
    b"/_nothing#/_inference/rerank/x",
    b"/_nothing?/_inference/rerank/x",
    b"/_inference/rerank/%zz",
    b"/_inference/%",
]
"""What Elasticsearch takes for something else than it seems, or cannot decode."""

MANY = [
    b"/INDEX/_msearch",
    b"INDEX/_msearch//",
    b"/INDEX/_msearch?x#?y",
    b"/_msearch?index=INDEX",
    b"//_msearch?nope",
    b"///_msearch",
    b"/INDEX%0a/_msearch",
    b"/INDEX%zz/_msearch",
    b"/INDEX/_msearch?routing=%",
    b"/INDEX%%41/_msearch",
    b"/caf\xe9/_msearch",
    b"/caf\xc3\xa9/_msearch",
    b"/caf\xe9%20/_msearch",
    b"/caf%C3%A9/_msearch",
    b"/%C0%AF/_msearch",
    b"/%ED%A0%80/_msearch",
    b"/%F0%9F%98%80/_msearch",
    b"/a+b/_msearch",
]
PLAIN = {"query": {"match": {"text": "crime"}}}
ONE_SEARCH = reranking()
POINT_IN_TIME = {**ONE_SEARCH, "aggs": {"n": {"value_count": {"field": "_index"}}}}


@pytest.fixture
async def proxy(elasticsearch: RunningElasticsearch, tmp_path: Path) -> AsyncIterator[Edge]:
    async with proxied(elasticsearch.url, tmp_path) as edge:
        yield edge


async def ask(port: int, target: bytes, data: bytes) -> Message:
    head = b"POST %b HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    async with connect(port) as wire:
        await wire.send(head % (target, len(data)) + data)
        return await wire.read_message()


def told(answer: Message) -> Any:
    """Return what must be the same; of hits only their indices."""
    body = b"".join(re.findall(rb"[0-9a-f]+\r\n(.*)\r\n", answer.body)) or answer.body
    value = json.loads(body)
    if answer.status == 200:
        return [_found(each) for each in value.get("responses", [value])]
    return answer.status, answer.field("content-type"), value


def _found(answer: Any) -> Any:
    return [hit["_index"] for hit in answer["hits"]["hits"]] if "hits" in answer else answer


async def answers(port: int, targets: Iterable[bytes], index: str, data: bytes) -> dict[bytes, Any]:
    return {
        target: told(await ask(port, target.replace(b"INDEX", index.encode()), data)) for target in targets
    }


@pytest.fixture
def index(make_index: MakeIndex) -> str:
    return make_index([{"text": f"crime {n}"} for n in range(3)])


@pytest.mark.every_version
async def test_searches(elasticsearch: RunningElasticsearch, proxy: Edge, index: str) -> None:
    targets = [*SEARCHES, *ELSEWHERE]
    if not elasticsearch.version.startswith("8."):
        targets += BEHIND_A_FRAGMENT
    plain = json.dumps(PLAIN).encode()
    native = await answers(_port(elasticsearch), targets, index, plain)
    for body in (PLAIN, ONE_SEARCH, POINT_IN_TIME):
        assert await answers(proxy.address.port, targets, index, json.dumps(body).encode()) == native


@pytest.mark.every_version
async def test_many_searches(elasticsearch: RunningElasticsearch, proxy: Edge, index: str) -> None:
    native = await answers(_port(elasticsearch), MANY, index, b"{}\n%b\n" % json.dumps(PLAIN).encode())
    for body in (PLAIN, ONE_SEARCH, POINT_IN_TIME):
        lines = b"{}\n%b\n" % json.dumps(body).encode()
        assert await answers(proxy.address.port, MANY, index, lines) == native


@pytest.mark.every_version
@pytest.mark.parametrize(
    "path", [b"//_search", b"//_search//", b"/_search//", b"//_search?index=nothing-is-here"]
)
async def test_an_empty_name_stands_for_all_indices(
    elasticsearch: RunningElasticsearch, proxy: Edge, make_index: MakeIndex, path: bytes
) -> None:
    """Other tests have indices too, so the search is for a word that only these contain."""
    word = f"w{uuid.uuid4().hex}"
    names = [make_index([{"text": f"{word} {n}"}]) for n in range(2)]
    query = {"match": {"text": word}}
    reranked = reranking({"standard": {"query": query}})
    point_in_time = {**reranked, "aggs": {"n": {"value_count": {"field": "_index"}}}}
    many = path.replace(b"_search", b"_msearch")
    for body in ({"query": query}, reranked, point_in_time):
        data = json.dumps(body).encode()
        told_of_one = told(await ask(proxy.address.port, path, data))
        told_of_many = told(await ask(proxy.address.port, many, b"{}\n%b\n" % data))
        for found in (*told_of_one, *told_of_many):
            assert sorted(found) == sorted(names)
    native = told(await ask(_port(elasticsearch), path, json.dumps({"query": query}).encode()))
    assert sorted(native[0]) == sorted(names)


def _port(elasticsearch: RunningElasticsearch) -> int:
    return urlsplit(elasticsearch.url).port or 0
