"""What upstream can do is asked in the background, and only what tells is believed."""

import asyncio
import json
from typing import Any, Final

import pytest

from rerank_proxy.concurrency.tasks import BackgroundTasks
from rerank_proxy.errors import error
from rerank_proxy.upstream import abilities
from rerank_proxy.upstream.abilities import EVALUATED, RetrieverSupport
from rerank_proxy.upstream.protocol import Reply
from tests.unit.search.doubles import ScriptedUpstream


def refusal(reason: Any, status: int = 400) -> Reply:
    return Reply(status, (), json.dumps({"error": {"reason": reason}}).encode())


def unknown(name: str) -> Reply:
    return refusal(f"unknown retriever [{name}] did you mean [knn]?")


def unlicensed(feature: str) -> Reply:
    """Return what Elasticsearch answers with a licence that does not suffice."""
    reason = f"current license is non-compliant for [{feature}]"
    cause = {"type": "security_exception", "reason": reason, "license.expired.feature": feature}
    body = {"error": {"root_cause": [cause], **cause}, "status": 403}
    return Reply(403, (), json.dumps(body, separators=(",", ":")).encode())


KNOWN: Final = refusal("[rrf] must provide [retrievers] or [query]")


class Asking:
    """An Elasticsearch that knows none of the retrievers, until it is told what to answer; and a clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.answer: Reply | None = None
        self.may_answer = asyncio.Event()
        self.may_answer.set()
        self.upstream = ScriptedUpstream(self._answer)
        self.probes = BackgroundTasks()
        self.support = RetrieverSupport(self.probes, lambda: self.now)

    async def _answer(self, method: str, target: str, body: Any) -> Reply:
        assert (method, target) == ("POST", "/_search?filter_path=error.reason")
        await self.may_answer.wait()
        return self.answer or unknown(next(iter(body["retriever"])))

    async def find_out(self, *names: str) -> frozenset[str]:
        """Return which retrievers are unavailable once a search with these, or with `rrf`, may go on."""
        await self.support.find_out(names or ("rrf",), self.upstream)
        return self.support.unavailable

    async def next_answer(self) -> frozenset[str]:
        """Return the same once all probes have been answered."""
        await self.find_out()
        await self.probes.finish()
        return self.support.unavailable

    @property
    def asked(self) -> list[str]:
        return [next(iter(body["retriever"])) for _, _, body in self.upstream.sent]


def test_nothing_is_unavailable_before_it_was_asked_for() -> None:
    assert RetrieverSupport(BackgroundTasks()).unavailable == frozenset()


@pytest.mark.parametrize("name", EVALUATED)
async def test_each_is_asked_for_with_an_empty_retriever(name: str) -> None:
    asking = Asking()
    assert await asking.find_out(name) == {name}
    assert [body for _, _, body in asking.upstream.sent] == [{"retriever": {name: {}}}]


async def test_all_that_a_search_may_hold_are_asked_for() -> None:
    asking = Asking()
    assert await asking.find_out("linear", "rrf") == {"linear", "rrf"}
    assert asking.asked == ["linear", "rrf"]


async def test_a_search_without_any_asks_nothing() -> None:
    asking = Asking()
    await asking.support.find_out((), asking.upstream)
    assert asking.asked == []


async def test_what_the_licence_does_not_allow_is_unavailable_until_it_does() -> None:
    asking = Asking()
    asking.answer = unlicensed("Reciprocal Rank Fusion (RRF)")
    assert await asking.find_out() == {"rrf"}
    asking.now, asking.answer = 30.1, KNOWN  # a trial begins
    assert await asking.next_answer() == frozenset()
    asking.now, asking.answer = 60.2, unlicensed("Reciprocal Rank Fusion (RRF)")  # and ends
    assert await asking.next_answer() == {"rrf"}
    assert asking.asked == ["rrf"] * 3


async def test_what_upstream_has_refused_is_asked_for_again_at_once() -> None:
    asking = Asking()
    asking.answer = KNOWN
    await asking.find_out()
    asking.answer = unlicensed("Reciprocal Rank Fusion (RRF)")
    await asking.support.look_again(["rrf"], asking.upstream)
    assert asking.support.unavailable == frozenset()  # that was not a second ago
    asking.now = 1.1
    await asking.support.look_again(["rrf"], asking.upstream)
    assert asking.support.unavailable == {"rrf"}
    assert asking.asked == ["rrf", "rrf"]


async def test_an_answer_holds_for_half_a_minute_and_the_old_one_until_there_is_a_new_one() -> None:
    asking = Asking()
    await asking.find_out()
    asking.now = 30.0
    await asking.next_answer()
    assert asking.asked == ["rrf"]
    asking.now = 30.1
    asking.answer = KNOWN  # it has been upgraded
    asking.may_answer.clear()
    for _ in range(2):
        assert await asking.find_out() == {"rrf"}
    asking.may_answer.set()
    assert await asking.next_answer() == frozenset()
    assert asking.asked == ["rrf", "rrf"]


@pytest.mark.parametrize(
    "answer",
    [
        KNOWN,
        refusal("action [indices:data/read/search] is unauthorized", 403),
        unknown("linear"),
        refusal("[1:2] unknown retriever"),
        refusal(None),
        Reply(400, (), b"{}"),
        Reply(400, (), b'{"error":"text"}'),
        Reply(400, (), b""),
        Reply(200, (), b"{}"),
    ],
)
async def test_what_is_known_stays_upstreams(answer: Reply) -> None:
    asking = Asking()
    asking.answer = answer
    assert await asking.find_out() == frozenset()
    await asking.find_out()
    assert asking.asked == ["rrf"]


@pytest.mark.parametrize("status", [401, 404, 406, 429, 500, 503])
async def test_other_answers_teach_nothing(status: int) -> None:
    """The next caller may be one whom upstream knows."""
    asking = Asking()
    asking.answer = refusal("unknown retriever [rrf]", status)
    assert await asking.find_out() == frozenset()
    asking.answer = None
    assert await asking.find_out() == {"rrf"}
    assert asking.asked == ["rrf", "rrf"]


async def test_an_answer_that_teaches_nothing_unteaches_nothing() -> None:
    asking = Asking()
    await asking.find_out()
    asking.now = 700.0
    asking.answer = refusal("who are you", 401)
    assert await asking.next_answer() == {"rrf"}


async def test_an_upstream_that_cannot_be_reached_is_asked_again() -> None:
    def unreachable(*_: Any) -> Reply:
        raise error(502, "connect_transport_exception", "cannot connect")

    asking = Asking()
    await asking.support.find_out(["rrf"], ScriptedUpstream(unreachable))
    assert await asking.find_out() == {"rrf"}


class TestBeforeTheFirstAnswer:
    async def test_searches_wait_for_the_probe_that_runs(self) -> None:
        asking = Asking()
        asking.may_answer.clear()
        asking.support.probe(asking.upstream)
        searches = [asyncio.ensure_future(asking.find_out(*EVALUATED)) for _ in range(3)]
        asking.may_answer.set()
        assert [await search for search in searches] == [{*EVALUATED}] * 3
        assert asking.asked == [*EVALUATED]

    async def test_a_caller_asks_when_another_was_told_nothing(self) -> None:
        asking = Asking()
        refusing = ScriptedUpstream(lambda *_: refusal("who are you", 401))
        asking.support.probe(refusing)
        searches = [asyncio.ensure_future(asking.find_out()) for _ in range(3)]
        assert [await search for search in searches] == [{"rrf"}] * 3
        assert len(refusing.sent) == len(EVALUATED)
        assert asking.asked == ["rrf"]

    async def test_no_caller_waits_for_a_second_one(self) -> None:
        asking = Asking()
        silent = asyncio.Event()
        refusing = ScriptedUpstream(lambda *_: refusal("who are you", 401))

        async def never(*_: Any) -> Reply:
            await silent.wait()
            return unknown("rrf")

        asking.support.probe(refusing)
        slow = asyncio.ensure_future(asking.support.find_out(["rrf"], ScriptedUpstream(never)))
        assert await asking.find_out() == {"rrf"}
        silent.set()
        await slow

    async def test_a_search_whose_caller_leaves_ends_no_probe(self) -> None:
        asking = Asking()
        asking.may_answer.clear()
        asking.support.probe(asking.upstream)
        leaving, staying = (asyncio.ensure_future(asking.find_out()) for _ in range(2))
        await asyncio.sleep(0)
        leaving.cancel()
        asking.may_answer.set()
        assert await staying == {*EVALUATED}
        assert asking.asked == [*EVALUATED]

    async def test_no_search_waits_for_long(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(abilities, "_FIRST_ANSWER_S", 0.0)
        asking = Asking()
        asking.may_answer.clear()
        assert await asking.find_out() == frozenset()
        await asking.probes.cancel()
