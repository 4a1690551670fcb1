"""Recordings of real searches: the answer is the one without, and what they say of it is in the answer."""

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from itertools import pairwise
from typing import Any, Final

import pytest
import pytest_asyncio

from rerank_proxy.app.recordings import Recordings
from rerank_proxy.observe import recording
from rerank_proxy.observe.stages import STAGES
from testbed import RunningElasticsearch
from tests.live.conftest import MakeIndex
from tests.support.search_app import BOTH_PATHS, Answer, SearchApp, search_app
from tests.support.searches import RERANKER, reranking

JSON = dict[str, Any]

MAPPING: Final = {
    "properties": {"text": {"type": "text"}, "other": {"type": "keyword"}, "n": {"type": "integer"}}
}
DOCS: Final[list[JSON]] = [
    *(
        {"text": f"a dog number {n}. The cat had {n * 7 % 5}", "other": f"o {9 - n}", "n": n}
        for n in range(6)
    ),
    {"n": 6, "other": "o 1"},
]
LEAF: Final[JSON] = {"standard": {"query": {"match_all": {}}}}
CHUNKS: Final = {"size": 2, "chunking_settings": {"strategy": "word", "max_chunk_size": 10, "overlap": 1}}


def inner(**options: Any) -> JSON:
    body: JSON = reranking(LEAF, **options)["retriever"]
    return body


TREES: Final[Mapping[str, JSON]] = {
    "one": reranking(LEAF),
    "dropped": reranking(LEAF, min_score=2.5),
    "a part of the window": {**reranking(LEAF, rank_window_size=5), "size": 2, "from": 1},
    "chunks": reranking(LEAF, chunk_rescorer=CHUNKS),
    "skipped": reranking(LEAF, inference_id="absent", allow_rerank_failures=True),
    "nothing found": reranking({"standard": {"query": {"match_none": {}}}}),
    "a cascade": reranking(inner(), field="other"),
    "fused": {"retriever": {"rrf": {"retrievers": [inner(), inner(field="other"), LEAF]}}},
    "weighted": {
        "retriever": {
            "linear": {
                "retrievers": [{"retriever": inner(), "weight": 2}, {"retriever": inner(field="other")}]
            }
        }
    },
    "explained": {**reranking(LEAF), "explain": True},
}


@pytest.fixture
def recordings() -> Recordings:
    return Recordings()


@pytest_asyncio.fixture
async def app(elasticsearch: RunningElasticsearch, recordings: Recordings) -> AsyncIterator[SearchApp]:
    evaluated = ("rrf", "linear")
    async with search_app(elasticsearch.url, evaluate=evaluated, recordings=recordings) as running:
        chunk = re.compile(r"\d+")
        running.engine.table = Scores(chunk)
        yield running


class Scores(dict[str, float]):
    """Scores any text, or chunk of one, by the last number in it."""

    def __init__(self, numbers: re.Pattern[str]) -> None:
        super().__init__()
        self._numbers = numbers

    def __contains__(self, text: object) -> bool:
        return True

    def __getitem__(self, text: str) -> float:
        found = self._numbers.findall(text)
        return float(found[-1]) if found else 0.0


def same(answer: Answer) -> bytes:
    """Return an answer without the times in it."""
    return re.sub(rb'"took":\d+', b'"took":_', answer.without_took)


def outcomes(answer: Answer) -> list[str]:
    """Return what is said of each reranker; those side by side end in any order."""
    return sorted(re.sub(r"ms=[\d.]+", "ms=_", answer.headers.get("X-Rerank", "")).split(", "))


async def recorded(
    app: SearchApp, recordings: Recordings, path: str, body: Mapping[str, Any] | bytes
) -> tuple[Answer, JSON]:
    """Return the answer to a request and its recording; the answer is the one that has none."""
    plain = await app.call("POST", path, body)
    key = recordings.new_key()
    answer = await app.call("POST", path, body, headers={recording.HEADER: key})
    record = await recordings.take(key)
    assert record is not None
    assert same(answer) == same(plain)
    assert outcomes(answer) == outcomes(plain)
    assert answer.status == plain.status
    return answer, check(json.loads(record))


def check(record: JSON) -> JSON:
    """Hold a recording to what holds for all of them."""
    assert record["cut"] is False
    for stage in record["stages"]:
        assert stage["stage"] in STAGES
        assert 0 <= stage["start_ms"] <= stage["end_ms"] <= record["took_ms"]
    assert all(one["start_ms"] <= other["start_ms"] for one, other in pairwise(record["stages"]))
    for search in record["searches"]:
        for reranker in search["rerankers"]:
            docs = reranker["docs"]
            assert [doc["before"] for doc in docs] == [*range(1, reranker["window"] + 1)]
            after = sorted(doc["after"] for doc in docs if doc["after"] is not None)
            assert after == [*range(1, len(after) + 1)]
            ranked = {"applied": reranker["scored"], "skipped": reranker["window"], "failed": 0}
            dropped = sum(doc["dropped"] for doc in docs)
            assert dropped + len(after) == ranked[reranker["outcome"]]
    return record


@pytest.mark.parametrize("name", TREES)
@BOTH_PATHS
async def test_trees(
    app: SearchApp, recordings: Recordings, make_index: MakeIndex, name: str, path: str
) -> None:
    index, body = make_index(DOCS, mappings=MAPPING), TREES[name]
    answer, record = await recorded(app, recordings, f"/{index}/_search?{path}", body)
    (search,) = record["searches"]
    words = [word.split(";")[0] for word in answer.headers["X-Rerank"].split(", ")]
    assert [each["outcome"] for each in search["rerankers"]] == words
    assert search["outcome"] == ("skipped" if "skipped" in words else "applied")
    assert {stage["search"] for stage in record["stages"]} == {None, 0}
    numbers = {each["number"] for each in search["rerankers"]}
    assert {stage["reranker"] for stage in record["stages"]} <= {None, *numbers}
    inner_searches = [stage["label"] for stage in record["stages"] if "inner search" in stage["label"]]
    assert inner_searches == [f"inner search {n}" for n in range(1, len(inner_searches) + 1)]
    last = search["rerankers"][-1]
    if RERANKER in body["retriever"]:
        assert last["number"] == max(numbers)
        ranked = {doc["id"]: (doc["after"], doc["score"]) for doc in last["docs"]}
        begin = body.get("from", 0)
        for place, hit in enumerate(answer.hits, begin + 1):
            assert ranked[hit["_id"]] == (place, hit["_score"])


async def test_what_is_said_of_each_document(
    app: SearchApp, recordings: Recordings, make_index: MakeIndex
) -> None:
    index = make_index(DOCS, mappings=MAPPING)
    _, record = await recorded(app, recordings, f"/{index}/_search", TREES["dropped"])
    (reranker,) = record["searches"][0]["rerankers"]
    docs = {doc["id"]: doc for doc in reranker.pop("docs")}
    assert reranker.pop("ms") >= 0
    assert reranker == {
        "number": 1,
        "outcome": "applied",
        "endpoint": ".rerank-v1-elasticsearch",
        "model": "numbers",
        "service": "elasticsearch",
        "field": "text",
        "inference_text": "a question",
        "window": 7,
        "rank_window_size": 10,
        "scored": 6,
        "cached": 0,
        "truncated": 0,
        "reason": None,
        "frames": [],
    }
    assert docs["6"] == {
        "id": "6", "index": index, "before": 7, "first_score": 1.0, "after": None, "score": None,
        "dropped": False, "text": None, "characters": None, "cut_at": None, "tokens": None, "cached": None,
        "frame": None, "chunks": None,
    }  # fmt: skip
    assert (docs["0"]["dropped"], docs["0"]["after"], docs["0"]["score"]) == (True, None, None)
    assert (docs["2"]["dropped"], docs["2"]["score"]) == (False, 5.0)
    assert docs["2"]["text"] == DOCS[2]["text"]
    assert docs["2"]["characters"] == len(DOCS[2]["text"])


async def test_chunks_are_places_in_the_text(
    app: SearchApp, recordings: Recordings, make_index: MakeIndex
) -> None:
    index = make_index(DOCS, mappings=MAPPING)
    _, record = await recorded(app, recordings, f"/{index}/_search", TREES["chunks"])
    docs = record["searches"][0]["rerankers"][0]["docs"]
    asked = {text for call in app.engine.asked for text in call}
    for doc in docs[:6]:
        chunks = doc["chunks"]
        assert {doc["text"][chunk["start"] : chunk["end"]] for chunk in chunks} <= asked
        assert max(chunk["score"] for chunk in chunks) == doc["score"]
    assert docs[6]["chunks"] is None


async def test_why_it_was_skipped(app: SearchApp, recordings: Recordings, make_index: MakeIndex) -> None:
    index = make_index(DOCS, mappings=MAPPING)
    _, record = await recorded(app, recordings, f"/{index}/_search", TREES["skipped"])
    (reranker,) = record["searches"][0]["rerankers"]
    assert reranker["reason"] == "resource_not_found_exception: Inference endpoint not found [absent]"
    assert [doc["after"] for doc in reranker["docs"]] == [*range(1, 8)]
    _, record = await recorded(
        app,
        recordings,
        f"/{index}/_search",
        reranking(LEAF, inference_id="absent", allow_rerank_failures=False),
    )
    (search,) = record["searches"]
    assert (search["outcome"], search["rerankers"][0]["outcome"]) == (None, "failed")


async def test_many_searches(app: SearchApp, recordings: Recordings, make_index: MakeIndex) -> None:
    index = make_index(DOCS, mappings=MAPPING)
    items = [TREES["one"], {"query": {"match_all": {}}}, TREES["a cascade"], TREES["skipped"]]
    lines = b"".join(json.dumps(line).encode() + b"\n" for item in items for line in ({"index": index}, item))
    answer, record = await recorded(app, recordings, "/_msearch", lines)
    assert [search["item"] for search in record["searches"]] == [0, 2, 3]
    assert [len(search["rerankers"]) for search in record["searches"]] == [1, 2, 1]
    assert {stage["search"] for stage in record["stages"]} == {None, 0, 2, 3}
    for search in record["searches"]:
        hits = answer.json()["responses"][search["item"]]["hits"]["hits"]
        ranked = {doc["id"]: doc["score"] for doc in search["rerankers"][-1]["docs"]}
        assert [ranked[hit["_id"]] for hit in hits] == [hit["_score"] for hit in hits]


async def test_a_key_that_is_not_good_is_any_header(
    app: SearchApp, recordings: Recordings, make_index: MakeIndex
) -> None:
    index = make_index(DOCS, mappings=MAPPING)
    key = recordings.new_key()
    plain = await app.search(index, TREES["one"])
    shown = {recording.HEADER: key}
    answers = await asyncio.gather(*(app.search(index, TREES["one"], headers=shown) for _ in range(3)))
    forged = await app.search(index, TREES["one"], headers={recording.HEADER: "forged"})
    assert {same(each) for each in (plain, forged, *answers)} == {same(plain)}
    record = await recordings.take(key)
    assert record is not None
    assert len(check(json.loads(record))["searches"]) == 1
