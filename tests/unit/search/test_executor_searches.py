"""Searches as a whole: requests, time limits, headers, outcomes (`test_executor` has the refusals)."""

import asyncio
import json
from collections.abc import Sequence
from typing import Any, Final

import pytest

from rerank_proxy.engine import DeadlineExceededError, QueueFullError, Scores
from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.observe.outcome import Applied, Evaluated, Skipped, Tree
from rerank_proxy.search.executor import Executor
from rerank_proxy.search.language.request import parse_search
from rerank_proxy.search.rank_phase import RankPhase
from rerank_proxy.search.run import SearchAnswer
from rerank_proxy.settings import EndpointSettings
from rerank_proxy.upstream.protocol import Reply, UpstreamRefusedError
from rerank_proxy.xcontent.params import parse_params
from tests.support.endpoints import local_endpoints
from tests.support.retrievers import linear, pinned, rrf
from tests.support.search_app import BOTH_PATHS, ENDPOINT, TWO_STAGES, NumberAtTheEnd
from tests.support.searches import STANDARD, reranking
from tests.unit.search.doubles import ScriptedUpstream, hit, refused

FIRST: Final = hit("1", 2.0, fields={"text": ["x 1"]})
SECOND: Final = hit("2", 1.0, shard_doc=1, fields={"text": ["x 9"]})


class Patient(NumberAtTheEnd):
    """Waits for `gate` until its deadline."""

    def __init__(self) -> None:
        super().__init__()
        self.gate = asyncio.Event()
        self.gate.set()
        self.given: list[float] = []

    async def scores(
        self, model: str, query: str, texts: Sequence[str], deadline: float, *, instruction: str | None = None
    ) -> Scores:
        self.given.append(deadline - asyncio.get_running_loop().time())
        try:
            async with asyncio.timeout_at(deadline):
                await self.gate.wait()
        except TimeoutError:
            raise DeadlineExceededError("late") from None
        return await super().scores(model, query, texts, deadline)


class Searching:
    """An executor with an Elasticsearch in which each search finds two documents."""

    def __init__(
        self,
        *,
        deadline_s: float = 1000.0,
        scores_s: float = 500.0,
        allow: bool = False,
        heed: bool = False,
    ) -> None:
        self.engine = Patient()
        self.upstream = ScriptedUpstream(self.answer)
        self.never: set[str] = set()
        endpoints = local_endpoints({ENDPOINT: EndpointSettings(model="m")}, self.engine, scores_s)
        scorer = RankPhase(endpoints, scores_s, allow_failures=allow)
        self.executor = Executor(scorer, deadline_s, bound_scores_by_timeout=heed)
        self.headers: list[list[tuple[str, str]]] = []

    async def answer(self, method: str, target: str, body: Any) -> Reply:
        api = target.partition("?")[0].rpartition("/")[2]
        if api in self.never:
            await asyncio.Event().wait()
        if api == "_pit":
            return Reply(200, (), b'{"id":"p"}')
        if api == "_mapping":
            return refused("security_exception", 403)
        if api != "_search":
            return refused("resource_not_found_exception", 404)
        headers = self.headers.pop(0) if self.headers else []
        hits = [FIRST, SECOND]
        if "sort" not in body:  # then hits were not sorted by shard and document
            hits = [{name: value for name, value in each.items() if name != "sort"} for each in hits]
        total = {"value": 2, "relation": "eq"}
        found = {"total": total, "max_score": 2.0, "hits": hits}
        answer = {"pit_id": "p", "took": 1, "_shards": {}, "hits": found}
        return Reply(200, headers, json.dumps(answer, separators=(",", ":")).encode())

    async def run(self, body: Any, query: str = "") -> SearchAnswer:
        request = parse_search("films", parse_params(query), json.dumps(body).encode(), evaluate=EVALUATED)
        assert request is not None
        return await self.executor.run(request, self.upstream)

    async def failure(self, body: Any, query: str = "") -> ElasticsearchError:
        with pytest.raises(ElasticsearchError) as raised:
            await self.run(body, query)
        await self.executor.drain()
        return raised.value

    @property
    def sent(self) -> list[str]:
        return [f"{method} {target}" for method, target, _ in self.upstream.sent]


EVALUATED: Final = frozenset({"linear", "pinned", "rrf"})
IN_PIT: Final = ["POST /films/_pit", "POST /_search", "POST /_search", "DELETE /_pit"]


def ids(answer: SearchAnswer) -> list[str]:
    return [hit["_id"] for hit in json.loads(answer.body)["hits"]["hits"]]


def warnings(answer: SearchAnswer) -> list[str]:
    return [value for name, value in answer.headers if name == "Warning"]


class TestRequests:
    async def test_in_one_round_trip(self) -> None:
        searching = Searching()
        assert ids(await searching.run(reranking())) == ["2", "1"]
        assert searching.sent == ["POST /films/_search"]

    async def test_in_a_point_in_time(self) -> None:
        searching = Searching()
        answer = await searching.run(reranking(), TWO_STAGES)
        await searching.executor.drain()
        assert searching.sent == IN_PIT
        final = searching.upstream.sent[2][2]
        boosts = [
            each["constant_score"]["boost"]
            for each in final["query"]["bool"]["should"][0]["bool"]["should"][0]["bool"]["should"]
        ]
        assert boosts == [10.0, 2.0]
        assert "pit_id" not in json.loads(answer.body)

    async def test_in_the_clients_point_in_time(self) -> None:
        searching = Searching()
        request = parse_search(
            None, parse_params(""), json.dumps({**reranking(), "pit": {"id": "own"}}).encode()
        )
        assert request is not None
        answer = await searching.executor.run(request, searching.upstream)
        await searching.executor.drain()
        assert searching.sent == ["POST /_search", "POST /_search"]
        assert [body["pit"] for _, _, body in searching.upstream.sent] == [{"id": "own"}] * 2
        assert json.loads(answer.body)["pit_id"] == "p"

    async def test_a_point_in_time_is_closed_after_failures_too(self) -> None:
        searching = Searching()
        searching.engine.failure = QueueFullError("full")
        await searching.failure(reranking(), TWO_STAGES)
        assert searching.sent[-1] == "DELETE /_pit"

    async def test_mappings_that_the_caller_may_not_see_are_not_needed(self) -> None:
        searching = Searching()
        await searching.run({"retriever": {"rrf": {"query": "crime", "fields": ["a", "b"]}}})
        assert searching.sent[:2] == ["POST /films/_pit", "GET /films/_mapping"]
        (query,) = [body["query"] for _, _, body in searching.upstream.sent if body and "sort" in body]
        assert query["multi_match"]["fields"] == ["a", "b"]


class TestTimeLimits:
    @pytest.mark.parametrize(
        ("body", "query", "seconds"),
        [
            ({}, "", 500),  # the limit of the settings for scores
            ({"timeout": "1h"}, "", 500),
            ({"timeout": "-1"}, "", 500),
            ({"timeout": -1}, "", 500),
            ({"timeout": "0s"}, "", 500),  # no score would ever be in time
            ({"timeout": 0}, "", 500),
            ({"timeout": "3m"}, "", 180),
            ({"timeout": "3m"}, "timeout=2m", 120),
            ({"timeout": "3m"}, "timeout=-1", 500),
        ],
    )
    @BOTH_PATHS
    async def test_a_requests_timeout_may_bound_scores(
        self, path: str, body: Any, query: str, seconds: float
    ) -> None:
        searching = Searching(heed=True)
        await searching.run({**reranking(), **body}, f"{query}&{path}".strip("&"))
        (given,) = searching.engine.given
        assert seconds - 60 < given <= seconds

    @BOTH_PATHS
    async def test_a_requests_timeout_does_not_bound_scores_by_default(self, path: str) -> None:
        """This is so natively, where it only bounds the final search."""
        searching = Searching()
        answer = await searching.run({**reranking(), "timeout": "1ms"}, path)
        assert isinstance(answer.outcome, Applied)
        assert 440 < searching.engine.given[0] <= 500

    @pytest.mark.parametrize(
        ("body", "query"), [({"timeout": "1ms"}, ""), ({}, "timeout=1ms"), ({"timeout": "1h"}, "timeout=1ms")]
    )
    async def test_a_requests_timeout_is_only_sent_with_the_final_search(self, body: Any, query: str) -> None:
        """Native's search for a rank window has none, as hits that are not found in time would be missing."""
        searching = Searching()
        has_it: list[bool] = []

        async def answer(method: str, target: str, sent: Any) -> Reply:
            has_it.append("timeout" in f"{target} {sent}")
            return await searching.answer(method, target, sent)

        searching.upstream = ScriptedUpstream(answer)
        await searching.run({**reranking(), **body}, query)
        assert has_it == [False]
        has_it.clear()
        await searching.run({**reranking(), **body}, f"{TWO_STAGES}&{query}")
        assert has_it == [False, False, True]

    @pytest.mark.parametrize(
        ("limits", "time", "limit"),
        [
            ({"scores_s": 0.01}, "0.01s", "[search.timeout_s: 0.01s]"),
            ({"scores_s": 0.01, "deadline_s": 0.5}, "0.01s", "[search.timeout_s: 0.01s]"),
            ({"deadline_s": 0.02}, "0.02s", "[search.deadline_s: 0.02s]"),
            ({"deadline_s": 0.02, "heed": True}, "0.02s", "[search.deadline_s: 0.02s]"),
            ({"heed": True}, "30ms", "[timeout: 30ms] of the request"),
            ({"heed": True, "scores_s": 0.01}, "0.01s", "[search.timeout_s: 0.01s]"),
        ],
    )
    @BOTH_PATHS
    async def test_the_limit_that_was_reached_is_named(
        self, path: str, limits: Any, time: str, limit: str
    ) -> None:
        searching = Searching(**limits)
        searching.engine.gate.clear()
        failure = await searching.failure({**reranking(), "timeout": "30ms"}, path)
        (phase,) = failure.cause.suppressed
        told = phase.caused_by
        assert told is not None
        assert told.reason == f"Request timed out after [{time}] for inference id [{ENDPOINT}]"
        assert told.caused_by is not None
        assert (told.caused_by.type, told.caused_by.reason) == (
            "timeout_exception",
            f"late: {limit} has passed",
        )

    async def test_the_whole_search_bounds_its_scores(self) -> None:
        searching = Searching(deadline_s=100)
        await searching.run(reranking())
        assert searching.engine.given[0] <= 100

    @BOTH_PATHS
    async def test_a_requests_timeout_that_passes_fails_the_rank_phase(self, path: str) -> None:
        searching = Searching(heed=True)
        searching.engine.gate.clear()
        failure = await searching.failure({**reranking(), "timeout": "10ms"}, path)
        assert failure.status == 429
        (phase,) = failure.cause.suppressed
        assert phase.reason == "Computing updated ranks for results failed"

    @BOTH_PATHS
    async def test_where_failures_are_allowed_the_search_is_answered(self, path: str) -> None:
        searching = Searching(allow=True, heed=True)
        searching.engine.gate.clear()
        answer = await searching.run({**reranking(), "timeout": "10ms"}, path)
        assert answer.outcome == Skipped(ENDPOINT, "status_exception")

    async def test_upstream_is_bounded_by_the_whole_searchs_limit_alone(self) -> None:
        searching = Searching(deadline_s=0.05)
        searching.never = {"_search"}
        failure = await searching.failure({**reranking(), "timeout": "1h"})
        assert failure.status == 504
        assert failure.cause.reason == (
            "upstream did not answer [POST /films/_search] in time: [search.deadline_s: 0.05s] has passed"
        )

    async def test_an_explanation_that_comes_too_late(self) -> None:
        """It is a timeout, even though it is searched for while another answer is read."""
        searching = Searching(deadline_s=0.2)
        answered = searching.answer

        async def answer(method: str, target: str, body: Any) -> Reply:
            if body and "rescore" in body:
                await asyncio.Event().wait()
            return await answered(method, target, body)

        searching.upstream = ScriptedUpstream(answer)
        assert (await searching.failure({**reranking(), "explain": True})).status == 504


class TestOutcomes:
    async def test_one_reranker(self) -> None:
        outcome = (await Searching().run(reranking())).outcome
        assert isinstance(outcome, Applied)
        assert (outcome.window, outcome.scored) == (2, 2)

    async def test_several(self) -> None:
        one, other = reranking()["retriever"], reranking(inference_id="nope", allow_rerank_failures=True)
        outcome = (await Searching().run({"retriever": rrf(one, other["retriever"])})).outcome
        assert isinstance(outcome, Tree)
        assert {type(each) for each in outcome.rerankers} == {Applied, Skipped}

    async def test_none(self) -> None:
        outcome = (await Searching().run({"retriever": rrf(pinned(linear(STANDARD)), rrf(STANDARD))})).outcome
        assert outcome == Evaluated(("rrf", "pinned", "linear"))

    async def test_a_second_try_counts_once(self) -> None:
        """There is one if the first left ties open."""
        searching = Searching()
        searching.engine.table = {"x 1": 1.0, "x 9": 1.0}
        outcome = (await searching.run(reranking())).outcome
        await searching.executor.drain()
        assert searching.sent == ["POST /films/_search", *IN_PIT]
        assert isinstance(outcome, Applied)


class TestWarnings:
    @BOTH_PATHS
    async def test_the_proxy_adds_none(self, path: str) -> None:
        """Native sends none, and clients that are strict about deprecations fail if there is one."""
        searching = Searching(allow=True)
        searching.engine.failure = QueueFullError("full")
        answer = await searching.run(reranking(), path)
        assert ids(answer) == ["1", "2"]
        assert warnings(answer) == []

    async def test_equal_ones_of_upstream_come_once(self) -> None:
        searching = Searching()
        searching.headers = [
            [("Warning", '299 ES "both"')],
            [("X-Other", "1"), ("warning", '299 ES "both"'), ("Warning", '299 ES "final"')],
        ]
        body = reranking(inference_id="nope", allow_rerank_failures=True)
        answer = await searching.run(body, TWO_STAGES)
        assert warnings(answer) == ['299 ES "both"', '299 ES "final"']
        assert answer.headers[0] == ("X-Other", "1")
        assert len(answer.headers) == 3


class TestFailures:
    @BOTH_PATHS
    async def test_refusals_of_upstream_are_the_clients(self, path: str) -> None:
        searching = Searching()

        async def answer(method: str, target: str, body: Any) -> Reply:
            return refused("index_not_found_exception", 404)

        searching.upstream = ScriptedUpstream(answer)
        request = parse_search("films", parse_params(path), json.dumps(reranking()).encode())
        assert request is not None
        with pytest.raises(UpstreamRefusedError) as raised:
            await searching.executor.run(request, searching.upstream)
        assert raised.value.reply == refused("index_not_found_exception", 404)
