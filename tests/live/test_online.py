"""Clicks, answers in the shadow, and interleaved answers, in front of a real Elasticsearch."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Final

import pytest

from rerank_proxy.engine import Scores
from rerank_proxy.observe import stages
from rerank_proxy.online.memory import Compared
from rerank_proxy.online.search_ids import HEADER
from rerank_proxy.search.language.request import parse_search
from rerank_proxy.search.recording import Recording
from rerank_proxy.settings import EndpointSettings
from rerank_proxy.upstream.headers import for_upstream
from rerank_proxy.xcontent.params import parse_params
from testbed import RunningElasticsearch
from tests.live.conftest import MakeIndex
from tests.support.endpoints import MemoryStore, local_endpoints
from tests.support.online import Online
from tests.support.retrievers import rrf
from tests.support.search_app import (
    BOTH_PATHS,
    ENDPOINT,
    TWO_STAGES,
    Answer,
    NumberAtTheEnd,
    search_app,
)
from tests.support.searches import reranking
from tests.support.waiting import until_true

SCORES: Final = (3, 9, 1, 7, 5, 8)
"""What the model says of the documents, in the order of the first stage."""
RERANKED: Final = ["1", "5", "3", "4", "0", "2"]
STANDARD: Final = {
    "standard": {
        "query": {"function_score": {"field_value_factor": {"field": "first"}, "boost_mode": "replace"}}
    }
}


@pytest.fixture
def index(make_index: MakeIndex) -> str:
    """Six films, ranked as their ids by the first stage."""
    docs = [{"text": f"film {score}", "first": 10 - at, "year": 1990 + at} for at, score in enumerate(SCORES)]
    return make_index(docs, mappings={"properties": {"first": {"type": "double"}}})


def search(child: Mapping[str, Any] = STANDARD, /, **more: Any) -> dict[str, Any]:
    """A search that reranks six hits; `more` are members of its body."""
    return {**reranking(child, rank_window_size=6), **more}


def clicked(online: Online, answer: Answer, *ids: str) -> Mapping[str, int]:
    """Tell that documents of an answer were clicked; return what became of that."""
    body = {"clicks": [{"search": answer.headers[HEADER], "documents": ids}]}
    status, told = online.clicks.answer(json.dumps(body).encode())
    assert status == 200, told
    outcomes: Mapping[str, int] = told["clicks"]
    return outcomes


def without_took(answer: bytes) -> Any:
    return {**json.loads(answer), "took": 0}


@BOTH_PATHS
async def test_clicks_count_at_the_places_before_and_after(
    elasticsearch: RunningElasticsearch, index: str, path: str
) -> None:
    online = Online(enabled=True)
    async with search_app(elasticsearch.url, online=online) as app:
        answer = await app.search(index, {**search(size=3), "from": 1}, path)
    assert answer.ids == RERANKED[1:4]
    assert clicked(online, answer, "3") == {"counted": 1}
    compared = Compared("reranked", ENDPOINT, "numbers")
    assert online.counted.ranks == {compared: (1 / 4, 1 / 3)}
    assert clicked(online, answer, "5", "3", "1") == {"counted": 1, "duplicate": 1, "not_shown": 1}
    assert online.counted.ranks == {compared: (1 / 4, 1 / 2)}, "the best counts: 1/6 is none, 1/2 is"
    assert online.counted.clicked == {compared: 1}


async def test_off_means_off(elasticsearch: RunningElasticsearch, index: str) -> None:
    """An answer is the same in all its bytes, whether the feature is not there, off, or counting clicks."""
    answers = []
    for online in (None, Online(shadow_share=1.0), Online(enabled=True)):
        async with search_app(elasticsearch.url, online=online) as app:
            answers.append(await app.search(index, search(aggs={"n": {"max": {"field": "year"}}})))
    absent, off, on = answers
    assert absent.without_took == off.without_took == on.without_took
    assert {*absent.headers} == {*off.headers} == {*on.headers} - {HEADER}
    assert HEADER in on.headers


MORE: Final = [
    {},
    {"size": 2, "from": 1},
    {"_source": ["year"], "track_total_hits": False},
    {"aggs": {"n": {"max": {"field": "year"}}}, "highlight": {"fields": {"text": {}}}, "fields": ["year"]},
]


@pytest.mark.parametrize("more", MORE)
async def test_the_shadow_changes_no_byte_of_the_plain_search(
    elasticsearch: RunningElasticsearch, index: str, more: Mapping[str, Any]
) -> None:
    online = Online(enabled=True, shadow_share=1.0)
    async with search_app(elasticsearch.url, online=online) as app:
        answer = await app.search(index, search(**more), "typed_keys")
        plain = elasticsearch.server.call(
            "POST", f"/{index}/_search?typed_keys", {"retriever": STANDARD, "size": 6, **more}
        )
        await until_true(lambda: online.counted.shadows["scored"] == 1)
    assert answer.headers["X-Rerank"] == f"shadow; endpoint={ENDPOINT}"
    assert without_took(answer.body) == without_took(plain.body)
    assert len(answer.body) - len(str(json.loads(answer.body)["took"])) == len(plain.body) - len(
        str(json.loads(plain.body)["took"])
    )
    assert [*json.loads(answer.body)] == [*json.loads(plain.body)]
    assert clicked(online, answer, "1") == {"counted": 1}
    assert online.counted.ranks == {Compared("shadow", ENDPOINT, "numbers"): (1 / 2, 1.0)}


async def test_filters_of_the_reranker_hold_in_the_shadow(
    elasticsearch: RunningElasticsearch, index: str
) -> None:
    online = Online(enabled=True, shadow_share=1.0)
    narrowed = reranking(STANDARD, rank_window_size=6, filter={"range": {"year": {"gte": 1993}}})
    tree = reranking(
        rrf(STANDARD, {"standard": {"query": {"match_all": {}}}}, rank_window_size=6),
        rank_window_size=6,
        filter={"range": {"year": {"gte": 1993}}},
    )
    async with search_app(elasticsearch.url, online=online, evaluate={"rrf"}) as app:
        answers = [await app.search(index, body) for body in (narrowed, tree)]
        await until_true(lambda: online.counted.shadows["scored"] == 2)
    assert [each.ids for each in answers] == [["3", "4", "5"]] * 2
    assert answers[1].scores == pytest.approx([2 / 61, 2 / 62, 2 / 63])


async def test_what_fails_in_the_shadow_touches_no_answer(
    elasticsearch: RunningElasticsearch, index: str
) -> None:
    online = Online(enabled=True, shadow_share=1.0)
    async with search_app(elasticsearch.url, online=online) as app:
        app.engine.failure = RuntimeError("a defect")
        first = await app.search(index, search())
        await until_true(lambda: online.counted.shadows["failed"] == 1)
        absent = await app.search(index, reranking(STANDARD, inference_id="there-is-none"))
        await until_true(lambda: online.counted.shadows["failed"] == 2)
    assert (first.status, first.ids) == (200, list("012345"))
    assert (absent.status, absent.headers["X-Rerank"]) == (200, "shadow; endpoint=there-is-none")
    assert len(online.memory) == 0


async def _passed(gate: asyncio.Event) -> None:
    await gate.wait()


async def test_the_shadow_is_bounded(elasticsearch: RunningElasticsearch, index: str) -> None:
    """An answer does not wait for the scoring of others, and has no id if it will not be scored."""
    online = Online(enabled=True, shadow_share=1.0, shadow_at_once=2)
    gate = asyncio.Event()
    async with search_app(elasticsearch.url, online=online) as app:
        app.engine.before = partial(_passed, gate)
        answers = [await app.search(index, search()) for _ in range(4)]
        assert [HEADER in each.headers for each in answers] == [True, True, False, False]
        assert online.counted.shadows == {"left_out": 2}
        gate.set()
        await until_true(lambda: online.counted.shadows["scored"] == 2)
    assert {each.status for each in answers} == {200}


@BOTH_PATHS
async def test_an_interleaved_answer_has_both_orders(
    elasticsearch: RunningElasticsearch, index: str, path: str
) -> None:
    online = Online(enabled=True, interleave_share=1.0, seed="a seed")
    async with search_app(elasticsearch.url, online=online) as app:
        whole = await app.search(index, search(), path)
        pages = [await app.search(index, {**search(size=2), "from": start}, path) for start in range(0, 6, 2)]
    assert sorted(whole.ids) == list("012345")
    assert [id_ for page in pages for id_ in page.ids] == whole.ids
    assert whole.scores == sorted(whole.scores, reverse=True)
    assert whole.scores == sorted((score + 1 for score in SCORES), reverse=True)
    assert {*whole.ids[:2]} == {"0", "1"}, "the best of both orders"
    assert whole.headers["X-Rerank"].startswith(f"interleaved; endpoint={ENDPOINT}; model=numbers; window=6")


@BOTH_PATHS
async def test_hits_without_text_are_the_first_stages(
    elasticsearch: RunningElasticsearch, make_index: MakeIndex, path: str
) -> None:
    """The reranker leaves them out, and what it is compared with does not."""
    films: list[dict[str, Any]] = [
        {"first": 3},
        {"first": 2, "text": "film 5"},
        {"first": 1, "text": "film 7"},
    ]
    index = make_index(films, mappings={"properties": {"first": {"type": "double"}}})
    online = Online(enabled=True, interleave_share=1.0)
    async with search_app(elasticsearch.url, online=online) as app:
        answer = await app.search(index, search(), path)
    assert answer.ids in (["0", "2", "1"], ["2", "0", "1"])
    assert answer.scores[:2] == [8.0, 6.0]
    assert 5.9 < answer.scores[2] < 6.0
    assert answer.total["value"] == 3


async def test_coins_differ_between_sessions(elasticsearch: RunningElasticsearch, index: str) -> None:
    online = Online(enabled=True, interleave_share=1.0, seed="a seed")
    async with search_app(elasticsearch.url, online=online) as app:
        orders = {
            tuple((await app.search(index, search(), f"preference=user-{user}")).ids) for user in range(12)
        }
    assert len(orders) > 1


async def test_clicks_decide_between_the_orders(elasticsearch: RunningElasticsearch, index: str) -> None:
    online = Online(enabled=True, interleave_share=1.0)
    async with search_app(elasticsearch.url, online=online) as app:
        answers = [await app.search(index, search(), f"preference=user-{user}") for user in range(8)]
    decisions: list[str] = []
    for answer in answers:
        clicked(online, answer, answer.ids[0])
        decisions.append("win" if answer.ids[0] == "1" else "loss")
    online.memory.clear()
    compared = Compared("interleaved", ENDPOINT, "numbers")
    assert online.counted.decisions == {
        (compared, decision): decisions.count(decision) for decision in {*decisions}
    }


@pytest.mark.parametrize(
    "options",
    [
        {"body": {"explain": True}},
        {"body": {"profile": True}},
        {"body": {"min_score": 2.5}},
        {"reranker": {"min_score": 2.0}},
        {"reranker": {"retriever": reranking(STANDARD, rank_window_size=6)["retriever"]}},
    ],
    ids=["explain", "profile", "min_score", "reranker's min_score", "cascade"],
)
async def test_what_cannot_be_compared_is_reranked(
    elasticsearch: RunningElasticsearch, index: str, options: Mapping[str, Mapping[str, Any]]
) -> None:
    online = Online(enabled=True, shadow_share=0.5, interleave_share=0.5)
    body = {
        **reranking(STANDARD, rank_window_size=6, **options.get("reranker", {})),
        **options.get("body", {}),
    }
    async with search_app(elasticsearch.url, online=online) as app:
        answer = await app.search(index, body)
    assert answer.ids == [id_ for id_ in RERANKED if "min_score" not in str(options) or id_ != "2"]
    assert answer.headers["X-Rerank"].startswith("applied; ")
    assert online.counted.modes == {"reranked": 1}


def lines(*searches: Mapping[str, Any]) -> bytes:
    return b"".join(json.dumps(line).encode() + b"\n" for each in searches for line in ({}, each))


async def test_each_search_of_many_has_its_id(elasticsearch: RunningElasticsearch, index: str) -> None:
    online = Online(enabled=True, shadow_share=1.0, shadow_indices=[index])
    plain: dict[str, Any] = {"query": {"match_all": {}}}
    async with search_app(elasticsearch.url, online=online) as app:
        answer = await app.call("POST", f"/{index}/_msearch", lines(search(), plain, search(size=1)))
        await until_true(lambda: online.counted.shadows["scored"] == 2)
    responses: Sequence[Any] = answer.json()["responses"]
    assert [[hit["_id"] for hit in each["hits"]["hits"]] for each in (responses[0], responses[2])] == [
        list("012345"), ["0"]
    ]  # fmt: skip
    assert answer.headers["X-Rerank"] == (
        f"shadow; item=0; endpoint={ENDPOINT}, shadow; item=2; endpoint={ENDPOINT}"
    )
    ids = answer.headers[HEADER].split(", ")
    assert [each.partition("; ")[2] for each in ids] == ["item=0", "item=2"]
    assert [online.memory.size_bytes > 0, len(online.memory)] == [True, 2]


async def test_an_asynchronous_search_has_one(elasticsearch: RunningElasticsearch, index: str) -> None:
    online = Online(enabled=True)
    async with search_app(elasticsearch.url, online=online) as app:
        answer = await app.call("POST", f"/{index}/_async_search?wait_for_completion_timeout=1m", search())
    assert answer.status == 200
    assert clicked(online, answer, "1") == {"counted": 1}


class Contrary(NumberAtTheEnd):
    """Its second model ranks the other way round.

    Attributes:
        failures: What models fail with.
    """

    def __init__(self) -> None:
        super().__init__()
        self.failures: dict[str, Exception] = {}

    async def scores(
        self, model: str, query: str, texts: Sequence[str], deadline: float, *, instruction: str | None = None
    ) -> Scores:
        if model in self.failures:
            raise self.failures[model]
        scored = await super().scores(model, query, texts, deadline, instruction=instruction)
        return scored if model == "numbers" else replace(scored, values=[-each for each in scored.values])


@BOTH_PATHS
async def test_two_endpoints_against_each_other(
    elasticsearch: RunningElasticsearch, index: str, path: str
) -> None:
    online = Online(enabled=True, interleave_share=1.0, interleave_with="contrary")
    both = {ENDPOINT: EndpointSettings(model="numbers"), "contrary": EndpointSettings(model="contrary")}
    endpoints = local_endpoints(both, Contrary(), 60.0, None, MemoryStore())
    async with search_app(elasticsearch.url, online=online, endpoints=endpoints) as app:
        answer = await app.search(index, search(), path)
    assert sorted(answer.ids) == list("012345")
    assert {*answer.ids[:2]} == {"1", "2"}, "the best of both"
    assert answer.headers["X-Rerank"].endswith("; against=contrary")
    clicked(online, answer, "1")
    online.memory.clear()
    compared = Compared("interleaved", ENDPOINT, "numbers", "contrary")
    assert online.counted.decisions == {(compared, "win"): 1}


async def test_without_the_other_endpoint_nothing_is_compared(
    elasticsearch: RunningElasticsearch, index: str
) -> None:
    online = Online(enabled=True, interleave_share=1.0, interleave_with="there-is-none")
    async with search_app(elasticsearch.url, online=online) as app:
        answer = await app.search(index, search(), TWO_STAGES)
    assert answer.ids == RERANKED
    assert answer.headers["X-Rerank"].startswith("applied; ")
    assert online.counted.modes == {"reranked": 1}


async def test_a_defect_of_the_other_endpoint_fails_no_search(
    elasticsearch: RunningElasticsearch, index: str
) -> None:
    online = Online(enabled=True, interleave_share=1.0, interleave_with="contrary")
    both = {ENDPOINT: EndpointSettings(model="numbers"), "contrary": EndpointSettings(model="contrary")}
    engine = Contrary()
    engine.failures["contrary"] = RuntimeError("a defect")
    endpoints = local_endpoints(both, engine, 60.0, None, MemoryStore())
    async with search_app(elasticsearch.url, online=online, endpoints=endpoints) as app:
        answer = await app.search(index, search())
    assert answer.ids == RERANKED
    assert online.counted.modes == {"reranked": 1}


async def test_a_search_that_is_recorded_is_reranked(elasticsearch: RunningElasticsearch, index: str) -> None:
    """The playground shows what the reranker does, and its clicks are no user's."""
    online = Online(enabled=True, shadow_share=1.0)
    async with search_app(elasticsearch.url, online=online) as app:
        stages.enter(replace(stages.current(), recorder=Recording()))
        request = parse_search(index, parse_params(""), json.dumps(search()).encode())
        assert request is not None
        answer = await app.executor.run(request, app.upstream.for_caller(for_upstream(())))
    assert answer.outcome.word == "applied"
    assert not online.counted.modes
