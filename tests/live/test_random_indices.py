"""Any index, any request: both ways give the same bytes, and sources stay what they were."""

import asyncio
import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.xcontent.splicing import elements, members, text
from testbed import RunningElasticsearch
from tests.support.examples import examples
from tests.support.search_app import TWO_STAGES, Answer, search_app
from tests.support.searches import reranking

FIRST = (0.5, 1.0, 2.0)
RAW = (-120.0, -2.0, 0.0, 0.25, 3.5)

NUMBERS = st.sampled_from(
    [
        "0",
        "-0",
        "1.10",
        "1E5",
        "100000000000000000000.0",
        "18446744073709551616",
        "0.1000000000000000055511151231257827",
    ]
)
STRINGS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6).map(json.dumps) | st.sampled_from(
    ['"\\ud800"', '"\\/"', '"\\u00e9"', '"hits"', '"_score\\":1"']
)


@st.composite
def sources(draw: st.DrawFn) -> tuple[int, bytes]:
    """Draw a first-stage score and the bytes of a document in any spelling, with or without `text`."""
    n = draw(st.integers(0, 4))
    members_ = [f'"n":{n}']
    kind = draw(st.sampled_from(["text", "none", "empty", "list"]))
    number = draw(st.integers(0, len(RAW) - 1))
    if kind == "text":
        members_.append(f'"text":"t {number}"')
    elif kind == "list":
        members_.append(f'"text":[null, "t {number}", "t 0"]')
    elif kind == "empty":
        members_.append('"text":""')
    members_.append(f'"extra":{{"a":{draw(NUMBERS)}, "b":[{draw(STRINGS)}]}}')
    order = draw(st.permutations(members_))
    blank = draw(st.sampled_from(["", " ", "  "]))
    return n, f"{{{blank}{(blank + ',').join(order)}}}".encode()


@st.composite
def requests(draw: st.DrawFn) -> Mapping[str, Any]:
    boosts = [
        {"constant_score": {"filter": {"term": {"n": n}}, "boost": draw(st.sampled_from(FIRST))}}
        for n in range(5)
    ]
    window = draw(st.integers(1, 12))
    standard: dict[str, Any] = {"query": {"bool": {"should": boosts[: draw(st.integers(0, 5))]}}}
    if draw(st.booleans()):
        standard["filter"] = [{"range": {"n": {"gte": draw(st.integers(0, 3))}}}]
    options: dict[str, Any] = {"rank_window_size": window}
    if draw(st.integers(0, 3)) == 0:
        options["min_score"] = draw(st.sampled_from(RAW))
    body: dict[str, Any] = reranking({"standard": standard}, **options)
    if draw(st.booleans()):
        body["size"] = draw(st.integers(0, window))
    if draw(st.booleans()):
        body["from"] = draw(st.integers(0, 6))
    if draw(st.booleans()):
        body["track_total_hits"] = draw(st.booleans() | st.integers(0, 12))
    return body


@contextmanager
def filled(elasticsearch: RunningElasticsearch, shards: int, documents: list[bytes]) -> Iterator[str]:
    name = f"random-{uuid.uuid4().hex[:12]}"
    call = elasticsearch.server.call
    mappings = {
        "properties": {
            "text": {"type": "keyword"},
            "n": {"type": "integer"},
            "extra": {"type": "object", "enabled": False},
        }
    }
    index_settings = {"number_of_shards": shards, "number_of_replicas": 0}
    assert call("PUT", f"/{name}", {"settings": index_settings, "mappings": mappings}).status == 200
    try:
        lines = [line for n, each in enumerate(documents) for line in (b'{"index":{"_id":"%d"}}' % n, each)]
        if lines:
            reply = call("POST", f"/{name}/_bulk?refresh=true", b"\n".join(lines) + b"\n")
            assert reply.json()["errors"] is False, reply.body
        yield name
    finally:
        call("DELETE", f"/{name}")


@pytest.mark.timeout(400)
@examples(0.6)
@given(
    shards=st.integers(1, 3),
    documents=st.lists(sources(), max_size=14),
    bodies=st.lists(requests(), min_size=1, max_size=4),
)
@pytest.mark.every_version
def test_both_ways_and_every_source(
    elasticsearch: RunningElasticsearch,
    shards: int,
    documents: list[tuple[int, bytes]],
    bodies: list[Mapping[str, Any]],
) -> None:
    written = [source for _, source in documents]
    with filled(elasticsearch, shards, written) as index:
        for one, two in asyncio.run(answers(elasticsearch.url, index, bodies)):
            assert one.status == two.status == 200, one.body
            assert one.without_took == two.without_took
            for hit in map(members, elements(members(members(one.body)["hits"])["hits"])):
                assert hit["_source"] == written[int(text(hit["_id"]))]


async def answers(url: str, index: str, bodies: list[Mapping[str, Any]]) -> list[tuple[Answer, Answer]]:
    async with search_app(url) as app:
        app.engine.table = {"": -1.0, **{f"t {number}": score for number, score in enumerate(RAW)}}
        return [(await app.search(index, body), await app.search(index, body, TWO_STAGES)) for body in bodies]
