"""Which retrievers upstream does not know: asked once in a while, and only what tells is believed."""

import json
from typing import Any, Final

import pytest

from rerank_proxy.upstream.protocol import Reply, Upstream
from rerank_proxy.upstream.retriever_support import EVALUATED, UnknownRetrievers
from rerank_proxy.xcontent.params import parse_params
from tests.support.retrievers import linear, rrf
from tests.support.searches import STANDARD, reranking
from tests.unit.search.doubles import ScriptedUpstream

RRF: Final = json.dumps({"retriever": rrf(STANDARD)}).encode()


def refusal(reason: Any, status: int = 400) -> Reply:
    return Reply(status, (), json.dumps({"error": {"reason": reason}}).encode())


def unknown(name: str) -> Reply:
    return refusal(f"unknown retriever [{name}] did you mean [knn]?")


LICENCE: Final = refusal("current license is non-compliant for [Reciprocal Rank Fusion (RRF)]", 403)
KNOWN: Final = refusal("[rrf] must provide [retrievers] or [query]")


class Asking:
    """An Elasticsearch that knows none of the retrievers, until it is told what to answer; and a clock."""

    def __init__(self) -> None:
        self.now = 0.0
        self.answer: Reply | None = None
        self.upstream = ScriptedUpstream(self._answer)
        self.retrievers = UnknownRetrievers(lambda: self.now)

    def _answer(self, method: str, target: str, body: Any) -> Reply:
        assert (method, target) == ("POST", "/_search?filter_path=error.reason")
        return self.answer or unknown(next(iter(body["retriever"])))

    async def look(self, body: bytes = RRF) -> frozenset[str]:
        await self.retrievers.look(body, self._caller)
        return self.retrievers.unknown

    def _caller(self) -> Upstream:
        return self.upstream

    @property
    def asked(self) -> list[str]:
        return [next(iter(body["retriever"])) for _, _, body in self.upstream.sent]


async def test_nothing_is_unknown_before_it_was_asked_for() -> None:
    asking = Asking()
    assert asking.retrievers.unknown == frozenset()
    assert await asking.look(b'{"query":{"match":{"a":"rrf"}}}') == frozenset()
    assert asking.asked == []


@pytest.mark.parametrize("name", EVALUATED)
async def test_each_is_asked_for_with_an_empty_retriever(name: str) -> None:
    asking = Asking()
    assert await asking.look(json.dumps({"retriever": {name: {}}}).encode()) == {name}
    assert [body for _, _, body in asking.upstream.sent] == [{"retriever": {name: {}}}]


async def test_all_that_a_body_names_are_asked_for() -> None:
    asking = Asking()
    assert await asking.look(json.dumps({"retriever": linear(rrf(STANDARD))}).encode()) == {"linear", "rrf"}
    assert asking.asked == ["linear", "rrf"]


@pytest.mark.parametrize("body", [b'{"rrf":1}', b'{"retriever":{"standard":{}}}', b'{"retriever":"rrf_"}'])
async def test_other_bodies_ask_nothing(body: bytes) -> None:
    asking = Asking()
    await asking.look(body)
    assert asking.asked == []


async def test_an_answer_is_believed_for_ten_minutes() -> None:
    asking = Asking()
    await asking.look()
    asking.now = 600.0
    await asking.look()
    assert asking.asked == ["rrf"]
    asking.now = 600.1
    asking.answer = KNOWN  # it has been upgraded
    assert await asking.look() == frozenset()
    assert asking.asked == ["rrf", "rrf"]


@pytest.mark.parametrize(
    "answer",
    [
        KNOWN,
        LICENCE,  # which is told
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
    assert await asking.look() == frozenset()
    await asking.look()
    assert asking.asked == ["rrf"]


@pytest.mark.parametrize("status", [401, 404, 406, 429, 500, 503])
async def test_other_answers_teach_nothing(status: int) -> None:
    """The next caller may be one whom upstream knows."""
    asking = Asking()
    asking.answer = refusal("unknown retriever [rrf]", status)
    assert await asking.look() == frozenset()
    asking.answer = None
    assert await asking.look() == {"rrf"}
    assert asking.asked == ["rrf", "rrf"]


async def test_an_answer_that_teaches_nothing_unteaches_nothing() -> None:
    asking = Asking()
    await asking.look()
    asking.now = 700.0
    asking.answer = refusal("who are you", 401)
    assert await asking.look() == {"rrf"}


async def test_searches_with_what_is_unknown_are_ours() -> None:
    asking = Asking()
    params = parse_params("")
    assert asking.retrievers.parse(None, params, RRF) is None
    await asking.look()
    ours = asking.retrievers.parse(None, params, RRF)
    assert ours is not None
    assert ours.retriever.TYPE == "rrf"
    assert asking.retrievers.parse(None, params, json.dumps({"retriever": STANDARD}).encode()) is None
    assert asking.retrievers.parse(None, params, json.dumps(reranking()).encode()) is not None
