"""Searches of many requests meet in few inner `_msearch`es."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, Final

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.errors import ElasticsearchError, error
from rerank_proxy.search.msearch.coalescing import CoalescedRequestError, CoalescedUpstream, Coalescer
from rerank_proxy.search.msearch.lines import Item
from rerank_proxy.upstream.protocol import Reply, UpstreamRefusedError

FOUND: Final[Mapping[str, Any]] = {"_shards": {}, "hits": {}}
"""What every answer to a search has."""


class Elasticsearch:
    """Answers each search with its own lines, and gives points in time out.

    `handler`, if it answers at all, comes first.
    """

    caller = b"the test"

    def __init__(self, handler: Callable[[str, str, bytes], Reply | None] = lambda *_: None) -> None:
        self.sent: list[tuple[str, str, bytes]] = []
        self.asked = asyncio.Event()
        self.handler = handler
        self.gate: asyncio.Event | None = None

    async def request(self, method: str, target: str, body: bytes) -> Reply:
        self.sent.append((method, target, body))
        self.asked.set()
        number = len(self.sent)
        await asyncio.sleep(0)
        if self.gate is not None:
            await self.gate.wait()
        if (reply := self.handler(method, target, body)) is not None:
            return reply
        if "_pit" in target:
            return Reply(200, (), b'{"id":"pit-%d"}' % number)
        lines = body.split(b"\n")[:-1]
        answers = [
            {"header": json.loads(header), "body": json.loads(line), **FOUND, "status": 200}
            for header, line in zip(lines[::2], lines[1::2], strict=True)
        ]
        headers = [("content-type", "application/json"), ("Warning", f"w{number}")]
        return Reply(200, headers, json.dumps({"took": 1, "responses": answers}).encode())

    @property
    def together(self) -> list[int]:
        """How many searches each `_msearch` had."""
        return [body.count(b"\n") // 2 for _, target, body in self.sent if "_msearch" in target]


async def all_of(coalescer: Coalescer, *runs: Callable[[CoalescedUpstream], Awaitable[Any]]) -> list[Any]:
    async def run(each: Callable[[CoalescedUpstream], Awaitable[Any]], one: CoalescedUpstream) -> Any:
        try:
            return await each(one)
        finally:
            coalescer.leave(one)

    joined = [(each, coalescer.join()) for each in runs]
    return await asyncio.gather(*(run(*pair) for pair in joined), return_exceptions=True)


def searching(times: int, pause: int = 0) -> Callable[[CoalescedUpstream], Coroutine[Any, Any, list[Any]]]:
    """Search so many times in a row, with so many turns of the event loop between."""

    async def run(one: CoalescedUpstream) -> list[Any]:
        answers = []
        for number in range(times):
            reply = await one.request("POST", "/_search?routing=r", b'{"n":%d}' % number)
            answers.append(json.loads(reply.body)["body"]["n"])
            for _ in range(pause):
                await asyncio.sleep(0)
        return answers

    return run


class TestSearches:
    @given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 5)), min_size=1, max_size=6))
    def test_there_are_as_many_requests_as_the_longest_has_searches(
        self, plans: list[tuple[int, int]]
    ) -> None:
        async def check() -> None:
            upstream = Elasticsearch()
            coalescer = Coalescer(upstream, "")
            answers = await all_of(coalescer, *(searching(times, pause) for times, pause in plans))
            assert answers == [list(range(times)) for times, _ in plans]
            most = max(times for times, _ in plans)
            assert upstream.together == [sum(times > number for times, _ in plans) for number in range(most)]

        asyncio.run(check())

    async def test_what_is_sent(self) -> None:
        upstream = Elasticsearch()
        coalescer = Coalescer(upstream, "pretty&foo=1")

        async def plain(one: CoalescedUpstream) -> Reply:
            return await one.search(Item(b' {"index":"b"} ', b"{}"))

        async def ours(one: CoalescedUpstream) -> Reply:
            target = "/a%2Cb/_search?pretty&preference=x%26&request_cache=true&pre_filter_shard_size=3"
            return await one.request("POST", target, b'{\n"size":3}')

        await all_of(coalescer, plain, ours)
        [(method, target, body)] = upstream.sent
        assert (method, target) == ("POST", "/_msearch?pretty&foo=1")
        assert body == (
            b' {"index":"b"} \n{}\n{"index":"a,b","preference":"x&","request_cache":"true"}\n{ "size":3}\n'
        )
        assert coalescer.last is not None
        assert coalescer.last.status == 200

    async def test_several_searches_of_one_request_go_together(self) -> None:
        upstream = Elasticsearch()

        async def both(one: CoalescedUpstream) -> list[Reply]:
            return await asyncio.gather(*(one.request("POST", "/_search", b"{}") for _ in range(2)))

        await all_of(Coalescer(upstream, ""), both, searching(1))
        assert upstream.together == [3]

    async def test_a_request_that_joins_late_is_waited_for(self) -> None:
        upstream = Elasticsearch()
        coalescer = Coalescer(upstream, "")

        async def first(one: CoalescedUpstream) -> None:
            late = asyncio.create_task(all_of(coalescer, searching(1)))
            await asyncio.sleep(0)
            await searching(1)(one)
            await late

        await all_of(coalescer, first)
        assert upstream.together == [2]

    async def test_warnings_are_collected(self) -> None:
        coalescer = Coalescer(Elasticsearch(), "")
        await all_of(coalescer, searching(2))
        assert list(coalescer.warnings) == ["w1", "w2"]

    async def test_one_that_is_cancelled_is_not_waited_for(self) -> None:
        upstream = Elasticsearch()
        coalescer = Coalescer(upstream, "")
        stuck = coalescer.join()
        task = asyncio.create_task(all_of(coalescer, searching(2)))
        waiting = asyncio.create_task(stuck.request("POST", "/_search", b"{}"))
        upstream.gate = asyncio.Event()
        await upstream.asked.wait()
        waiting.cancel()
        coalescer.leave(stuck)
        upstream.gate.set()
        assert await task == [[0, 1]]
        assert upstream.together == [2, 1]

    async def test_closing_ends_what_is_under_way(self) -> None:
        upstream = Elasticsearch()
        upstream.gate = asyncio.Event()
        coalescer = Coalescer(upstream, "")
        task = asyncio.create_task(searching(1)(coalescer.join()))
        await upstream.asked.wait()
        task.cancel()
        await coalescer.close()
        await coalescer.close()
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert all(other.cancelled() or other is task for other in others)


class TestFailures:
    async def test_a_failure_of_one_is_its_own(self) -> None:
        failure = {"error": {"type": "x"}, "status": 404}
        body = json.dumps({"took": 1, "responses": [failure, {**FOUND, "status": 200}]}).encode()
        coalescer = Coalescer(Elasticsearch(lambda *_: Reply(200, (), body)), "")

        async def search(one: CoalescedUpstream) -> Reply:
            return await one.request("POST", "/_search", b"{}")

        failed, found = await all_of(coalescer, search, search)
        assert (failed.status, json.loads(failed.body)) == (404, failure)
        assert (found.status, found.body) == (200, json.dumps(FOUND, separators=(",", ":")).encode())

    async def test_a_refusal_is_everybodys(self) -> None:
        refusal = Reply(400, (), b'{"error":{"type":"parsing_exception","reason":"x"},"status":400}')
        upstream = Elasticsearch(lambda *_: refusal)
        answers = await all_of(Coalescer(upstream, ""), searching(1), searching(1))
        for answer in answers:
            assert isinstance(answer, CoalescedRequestError)
            assert isinstance(answer.cause, UpstreamRefusedError)
            assert answer.cause.reply is refusal
        assert upstream.together == [2]

    async def test_no_answer_is_everybodys(self) -> None:
        def fail(*_: object) -> Reply:
            raise error(502, "status_exception", "gone")

        [answer, _] = await all_of(Coalescer(Elasticsearch(fail), ""), searching(1), searching(1))
        assert isinstance(answer, CoalescedRequestError)
        assert isinstance(answer.cause, ElasticsearchError)
        assert answer.cause.status == 502

    @pytest.mark.parametrize(
        "body", [b"", b"{}", b"[]", b'{"responses":[]}', b'{"responses":[1]}', b'{"responses":[{}]}', b"\xff"]
    )
    async def test_an_answer_that_is_none(self, body: bytes) -> None:
        [answer] = await all_of(Coalescer(Elasticsearch(lambda *_: Reply(200, (), body)), ""), searching(1))
        assert isinstance(answer, CoalescedRequestError)
        assert isinstance(answer.cause, ElasticsearchError)
        assert answer.cause.status == 502

    async def test_a_defect_reaches_who_waits(self) -> None:
        def fail(*_: object) -> Reply:
            raise RuntimeError("defect")

        [answer] = await all_of(Coalescer(Elasticsearch(fail), ""), searching(1))
        assert isinstance(answer, RuntimeError)


class TestApart:
    """The searches of a coalesced request that cannot be read are sent one by one."""

    @staticmethod
    def refuse(type_: str, status: int = 400) -> Callable[[str, str, bytes], Reply | None]:
        """Any `_msearch` that has the word `bad` in it."""
        body = json.dumps({"error": {"type": type_, "reason": "x"}, "status": status}).encode()
        return lambda _, target, sent: Reply(status, (), body) if b"bad" in sent else None

    @staticmethod
    def search(body: bytes) -> Callable[[CoalescedUpstream], Awaitable[Reply]]:
        return lambda one: one.request("POST", "/_search", body)

    async def test_only_the_bad_one_fails(self) -> None:
        upstream = Elasticsearch(self.refuse("parsing_exception"))
        coalescer = Coalescer(upstream, "", apart=True)
        good, bad = await all_of(coalescer, self.search(b'{"n":1}'), self.search(b'{"bad":1}'))
        assert (good.status, json.loads(good.body)["body"]) == (200, {"n": 1})
        assert (bad.status, json.loads(bad.body)["error"]["type"]) == (400, "parsing_exception")
        assert upstream.together == [2, 1, 1]

    @pytest.mark.parametrize(
        ("type_", "status"), [("action_request_validation_exception", 400), ("security_exception", 401)]
    )
    async def test_what_is_not_about_reading_is_everybodys(self, type_: str, status: int) -> None:
        coalescer = Coalescer(Elasticsearch(self.refuse(type_, status)), "", apart=True)
        [answer, _] = await all_of(coalescer, self.search(b'{"bad":1}'), self.search(b"{}"))
        assert isinstance(answer, CoalescedRequestError)


class TestPointsInTime:
    """A request opens and closes its own; those of equal words are one upstream."""

    @staticmethod
    def using(target: str) -> Callable[[CoalescedUpstream], Awaitable[str]]:
        async def run(one: CoalescedUpstream) -> str:
            opened = await one.request("POST", target, b"")
            if opened.status != 200:
                return str(opened.status)
            await one.request("POST", "/_search", b"{}")
            await one.request("DELETE", "/_pit", opened.body)
            return str(json.loads(opened.body)["id"])

        return run

    def pits(self, upstream: Elasticsearch) -> list[tuple[str, str, bytes]]:
        return [sent for sent in upstream.sent if "_pit" in sent[1]]

    async def test_they_are_shared(self) -> None:
        upstream = Elasticsearch()
        ids = await all_of(Coalescer(upstream, ""), *[self.using("/a/_pit?x")] * 3, self.using("/b/_pit?x"))
        assert len(set(ids)) == 2
        assert ids[0] == ids[1] == ids[2]
        sent = self.pits(upstream)
        assert [(method, target) for method, target, _ in sent] == [
            ("POST", "/a/_pit?x"),
            ("POST", "/b/_pit?x"),
            ("DELETE", "/_pit"),
            ("DELETE", "/_pit"),
        ]
        assert {json.loads(body)["id"] for _, _, body in sent[2:]} == set(ids)

    async def test_one_that_was_closed_is_opened_anew(self) -> None:
        upstream = Elasticsearch()
        coalescer = Coalescer(upstream, "")
        await all_of(coalescer, self.using("/a/_pit"))
        await all_of(coalescer, self.using("/a/_pit"))
        assert [method for method, _, _ in self.pits(upstream)] == ["POST", "DELETE", "POST", "DELETE"]

    async def test_a_refusal_is_told_to_all_and_not_kept(self) -> None:
        upstream = Elasticsearch(lambda _, target, __: Reply(404, (), b"{}") if "_pit" in target else None)
        coalescer = Coalescer(upstream, "")
        assert await all_of(coalescer, *[self.using("/a/_pit")] * 2) == ["404", "404"]
        assert len(upstream.sent) == 1
        upstream.handler = lambda *_: None
        assert await all_of(coalescer, self.using("/a/_pit")) == ["pit-2"]

    async def test_a_failure_is_told_to_all_and_not_kept(self) -> None:
        def fail(*_: object) -> Reply:
            raise error(502, "status_exception", "gone")

        upstream = Elasticsearch(fail)
        coalescer = Coalescer(upstream, "")
        failures = await all_of(coalescer, *[self.using("/a/_pit")] * 2)
        assert [failure.status for failure in failures] == [502, 502]
        upstream.handler = lambda *_: None
        assert await all_of(coalescer, self.using("/a/_pit")) == ["pit-2"]

    async def test_a_foreign_one_is_closed_at_once(self) -> None:
        upstream = Elasticsearch()
        one = Coalescer(upstream, "").join()
        await one.request("DELETE", "/_pit", b'{"id":"x"}')
        assert upstream.sent == [("DELETE", "/_pit", b'{"id":"x"}')]

    async def test_other_requests_go_straight_through(self) -> None:
        upstream = Elasticsearch()
        one = Coalescer(upstream, "").join()
        await one.request("POST", "/a/_search_shards", b"")
        assert upstream.sent == [("POST", "/a/_search_shards", b"")]
