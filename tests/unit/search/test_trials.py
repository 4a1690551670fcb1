"""Trials: which part each search takes, and what is left of it when settings change or the proxy stops."""

import asyncio
import json
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import pytest

from rerank_proxy.online.memory import Clicked, Compared
from rerank_proxy.search.executor import Executor
from rerank_proxy.search.rank_phase import RankPhase
from rerank_proxy.search.run import SearchAnswer
from rerank_proxy.settings import EndpointSettings, OnlineSettings
from tests.support.endpoints import local_endpoints
from tests.support.online import Online
from tests.support.retrievers import linear, rrf
from tests.support.search_app import ENDPOINT, NumberAtTheEnd
from tests.support.searches import STANDARD, request, reranking
from tests.support.waiting import until_true
from tests.unit.search.doubles import ScriptedUpstream, found, hit

SCORES: Final = (1, 9, 5)


def unsorted(id_: str, score: int) -> dict[str, Any]:
    """A hit of a search that is sorted by nothing but its scores."""
    own = hit(id_, fields={"text": [f"film {score}"]})
    return {name: value for name, value in own.items() if name != "sort"}


HITS: Final = [unsorted(str(at), score) for at, score in enumerate(SCORES)]


class Searching:
    """An executor with trials, in front of an Elasticsearch in which each search finds three documents."""

    def __init__(self, clock: Callable[[], float] = time.monotonic, **settings: Any) -> None:
        self.online = Online(clock, **{"enabled": True, **settings})
        self.engine = NumberAtTheEnd()
        self.upstream = ScriptedUpstream(lambda *_: found(*HITS))
        endpoints = local_endpoints({ENDPOINT: EndpointSettings(model="m")}, self.engine, 30.0)
        scorer = RankPhase(endpoints, 30.0, allow_failures=False)
        self.executor = Executor(scorer, 60.0, trials=self.online.trials)

    async def run(self, body: Mapping[str, Any], query: str = "", index: str = "films") -> SearchAnswer:
        return await self.executor.run(request(body, query, index), self.upstream)

    def mode(
        self, query: str = "", index: str = "films", body: Mapping[str, Any] | None = None
    ) -> str | None:
        trial = self.online.trials.begin(request(body or reranking(), query, index), self.upstream)
        return None if trial is None else trial.mode


def test_only_where_a_reranker_is_outermost_clicks_are_counted() -> None:
    searching = Searching(shadow_share=1.0)
    inner = reranking()["retriever"]
    assert searching.mode(body={"retriever": rrf(inner, STANDARD)}) is None
    assert searching.mode(body={"retriever": linear({"retriever": inner})}) is None
    assert searching.mode() == "shadow"
    assert Searching(enabled=False, shadow_share=1.0).mode() is None


def test_all_pages_of_a_search_take_the_same_part() -> None:
    searching = Searching(shadow_share=0.3, interleave_share=0.4)
    parts: dict[str, int] = {}
    for user in range(200):
        modes = {
            searching.mode(f"preference=user-{user}&from={start}", body={**reranking(), "size": 2})
            for start in (0, 2, 4)
        }
        (mode,) = modes
        assert mode is not None
        parts[mode] = parts.get(mode, 0) + 1
    assert {*parts} == {"shadow", "interleaved", "reranked"}


def test_one_seed_draws_alike_in_all_processes() -> None:
    one, same, other = (Searching(shadow_share=0.5, seed=seed) for seed in ("a", "a", "b"))
    drawn = [[each.mode(f"preference={user}") for user in range(64)] for each in (one, same, other)]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        ("films", "shadow"),
        ("films-2,films", "shadow"),
        ("films*,-films-old", "shadow"),
        ("films,books", "reranked"),
        ("films%2A", "shadow"),
        ("books", "reranked"),
    ],
)
def test_indices_are_compared_as_they_are_named(index: str, expected: str) -> None:
    assert Searching(shadow_share=1.0, shadow_indices=["films*"]).mode(index=index) == expected


def test_an_endpoint_is_not_compared_with_itself() -> None:
    assert Searching(interleave_share=1.0, interleave_with=ENDPOINT).mode() == "reranked"


async def test_clicks_of_what_was_reranked() -> None:
    searching = Searching()
    answer = await searching.run(reranking())
    assert [each["_id"] for each in json.loads(answer.body)["hits"]["hits"]] == ["1", "2", "0"]
    assert answer.search_id is not None
    searching.online.memory.click(answer.search_id, [Clicked("2")])
    assert searching.online.counted.ranks == {Compared("reranked", ENDPOINT, "m"): (1 / 3, 1 / 2)}


@pytest.mark.parametrize("share", ["interleave_share", "shadow_share"])
async def test_what_is_too_old_is_forgotten_without_a_further_search(
    monkeypatch: pytest.MonkeyPatch, share: str
) -> None:
    """So it is decided, and shown, when the documentation says."""
    loop, ahead, held = asyncio.get_running_loop(), [0.0], []
    real = loop.time
    monkeypatch.setattr(loop, "time", lambda: real() + ahead[0])
    searching = Searching(**{share: 1.0}, clock=loop.time, keep_s=6000.0)
    memory, counted = searching.online.memory, searching.online.counted
    for ahead[0] in (0.0, 1000.0):
        answer = await searching.run(reranking())
        await until_true(lambda: len(memory) == counted.modes.total())
        assert answer.search_id is not None
        memory.click(answer.search_id, [Clicked("2")])
    for ahead[0] in (5500.0, 6500.0, 7500.0):
        for _ in range(2):  # rounds of the loop: one calls the timers that are due
            await asyncio.sleep(0)
        held.append(len(memory))
    assert held == [2, 1, 0]
    assert counted.decisions.total() == (2 if share == "interleave_share" else 0)
    await searching.online.trials.close()


async def test_what_is_scored_in_the_shadow_ends_with_the_proxy() -> None:
    searching, begun = Searching(shadow_share=1.0), asyncio.Event()

    async def never() -> None:
        begun.set()
        await asyncio.Event().wait()

    searching.engine.before = never
    answer = await searching.run(reranking())
    await begun.wait()
    assert (answer.search_id is not None, len(searching.online.memory)) == (True, 1)
    await searching.online.trials.close()
    assert (len(searching.online.memory), searching.online.counted.shadows) == (0, {"failed": 1})


async def test_a_document_that_is_too_deep_to_be_read_is_not_scored(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Who may index one can have it found: it is no defect of the proxy's, and no traceback is logged."""
    searching, whole = Searching(shadow_share=1.0), found(*HITS)
    deep = b'"deep":%b,"_id"' % (b"[" * 2000 + b"]" * 2000)
    searching.upstream = ScriptedUpstream(
        lambda *_: replace(whole, body=whole.body.replace(b'"_id"', deep, 1))
    )
    answer = await searching.run(reranking())
    assert answer.outcome.word == "shadow"
    await until_true(lambda: searching.online.counted.shadows["failed"] == 1)
    assert len(searching.online.memory) == 0
    assert [record for record in caplog.records if record.exc_info] == []


async def test_other_settings_hold_from_now_on() -> None:
    searching = Searching()
    await searching.run(reranking())
    searching.online.trials.use(OnlineSettings(enabled=True, shadow_share=1.0))
    answer = await searching.run(reranking())
    assert answer.outcome.word == "shadow"
    await until_true(lambda: searching.online.counted.shadows["scored"] == 1)
    assert len(searching.online.memory) == 2
    searching.online.trials.use(OnlineSettings())
    assert len(searching.online.memory) == 0
    plain = await searching.run(reranking())
    assert (plain.outcome.word, plain.search_id) == ("applied", None)


async def test_without_a_page_nothing_is_scored_in_the_shadow() -> None:
    searching = Searching(shadow_share=1.0)
    answer = await searching.run({**reranking(), "size": 0})
    assert (answer.outcome.word, answer.search_id) == ("shadow", None)
    await searching.online.trials.close()
    assert (searching.engine.asked, searching.online.counted.shadows) == ([], {})


async def test_without_hits_there_is_nothing_to_click() -> None:
    searching = Searching()
    answer = await searching.run({**reranking(), "from": 3, "size": 3})
    assert (answer.outcome.word, answer.search_id) == ("applied", None)
