"""How long a point in time stays open that was opened for a search, and how it is closed."""

import asyncio
import json
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from rerank_proxy.concurrency.deadline import Deadline
from rerank_proxy.errors import ElasticsearchError, status_error
from rerank_proxy.search.own_points_in_time import OwnPointsInTime
from rerank_proxy.search.run import Run
from rerank_proxy.upstream.protocol import Reply
from tests.support.searches import reranking
from tests.support.waiting import until_true
from tests.unit.search.doubles import ScriptedUpstream, a_run, refused

SECONDS = 1000.0
NEVER_S = 1e6
NO_SUCH = refused("resource_not_found_exception", 404)
CLOSED = Reply(200, (), b'{"succeeded":true,"num_freed":1}')


class Elasticsearch:
    """Opens points in time; each request to close one has the next outcome.

    Attributes:
        keep_alives: Of those that were opened.
        closings: The ids in requests to close one.
    """

    def __init__(self, *outcomes: Reply | ElasticsearchError) -> None:
        self.keep_alives: list[str] = []
        self.closings: list[str] = []
        self._outcomes = list(outcomes)

    def answer(self, method: str, target: str, body: Any) -> Reply:
        if method == "POST":
            self.keep_alives.append(target.partition("?keep_alive=")[2])
            return Reply(200, (), b'{"id":"p"}')
        self.closings.append(body["id"])
        outcome = self._outcomes.pop(0)
        if isinstance(outcome, ElasticsearchError):
            raise outcome
        return outcome

    def run(self, deadline_s: float = SECONDS) -> Run:
        deadline = Deadline.of_setting("search.deadline_s", deadline_s)
        return replace(a_run(reranking()), upstream=ScriptedUpstream(self.answer), deadline=deadline)


def lost() -> ElasticsearchError:
    return status_error(502, "lost")


async def use(own: OwnPointsInTime, run: Run) -> dict[str, str]:
    async with own.opened(run) as pit:
        member: dict[str, str] = json.loads(pit)
    return member


@pytest.mark.parametrize(
    ("deadline_s", "unused", "used"),
    [(0.3, "1s", "1s"), (20, "20s", "20s"), (SECONDS, "60s", "1000s"), (1e9, "60s", "86400s")],
)
async def test_it_stays_as_long_as_the_search_may_still_take(
    deadline_s: float, unused: str, used: str
) -> None:
    elasticsearch = Elasticsearch(CLOSED)
    own = OwnPointsInTime()
    assert await use(own, elasticsearch.run(deadline_s)) == {"id": "p", "keep_alive": used}
    await own.drain()
    assert elasticsearch.keep_alives == [unused]
    assert elasticsearch.closings == ["p"]


@pytest.mark.parametrize(
    ("outcomes", "tries"),
    [
        ([lost(), CLOSED], 2),
        ([refused("x", 503), lost(), CLOSED], 3),
        ([refused("x", 429), NO_SUCH], 2),
        ([NO_SUCH], 1),
    ],
)
async def test_closing_is_tried_again_until_it_is_closed(
    caplog: pytest.LogCaptureFixture, outcomes: Sequence[Reply | ElasticsearchError], tries: int
) -> None:
    elasticsearch = Elasticsearch(*outcomes)
    own = OwnPointsInTime((0, 0))
    await use(own, elasticsearch.run())
    await until_true(lambda: len(elasticsearch.closings) == tries)
    await own.drain()
    assert elasticsearch.closings == ["p"] * tries
    assert not caplog.records


async def test_what_cannot_be_closed_at_all_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    elasticsearch = Elasticsearch(*[lost()] * 3)
    own = OwnPointsInTime((0, 0))
    await use(own, elasticsearch.run())
    await until_true(lambda: len(elasticsearch.closings) == 3)
    await own.drain()
    (record,) = caplog.records
    assert record.levelno == logging.WARNING
    assert record.getMessage() == "a point in time could not be closed and will expire by itself: lost"


async def test_at_the_end_the_next_try_is_the_last(caplog: pytest.LogCaptureFixture) -> None:
    elasticsearch = Elasticsearch(*[lost()] * 2)
    own = OwnPointsInTime((NEVER_S, NEVER_S))
    await use(own, elasticsearch.run())
    await until_true(lambda: len(elasticsearch.closings) == 1)
    await asyncio.sleep(0)
    await own.drain()
    assert len(elasticsearch.closings) == 2
    assert len(caplog.records) == 1


async def test_a_search_that_is_cancelled_while_it_opens_one_closes_it() -> None:
    elasticsearch, may_open = Elasticsearch(CLOSED), asyncio.Event()

    async def slowly(method: str, target: str, body: Any) -> Reply:
        await may_open.wait()
        return elasticsearch.answer(method, target, body)

    own = OwnPointsInTime()
    upstream = ScriptedUpstream(slowly)
    run = replace(elasticsearch.run(), upstream=upstream)
    search = asyncio.create_task(use(own, run))
    await until_true(lambda: bool(upstream.sent))
    search.cancel()
    may_open.set()
    await asyncio.gather(search, return_exceptions=True)
    await own.drain()
    assert elasticsearch.closings == ["p"]
