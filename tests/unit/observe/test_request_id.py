"""Ids of requests: which are valid, and which a record is about."""

import logging

import pytest

from rerank_proxy.engine.batching.jobs import Job, Lane, ScoringRequest, about
from rerank_proxy.observe import request_id
from rerank_proxy.observe.log import Formatter
from rerank_proxy.observe.request_id import MAX_LENGTH, new, valid
from tests.unit.engine.doubles import SumBackend, row


def line(**extra: object) -> str:
    record = logging.LogRecord("x", logging.INFO, __file__, 1, "m", (), None)
    record.__dict__.update(extra)
    return Formatter().format(record).partition("x: ")[2]


@pytest.mark.parametrize("value", [b"a", b"4bf9-2f35:77b3/4d.a6_a~", b"x" * MAX_LENGTH, b"a=+b@c"])
def test_what_is_valid_is_kept(value: bytes) -> None:
    assert valid(value) == value.decode()


@pytest.mark.parametrize(
    "value", [None, b"", b"x" * (MAX_LENGTH + 1), b"a b", b"a\nb", b"\xc3\xa4", b'"', b"a\n"]
)
def test_what_is_not_valid_is_not(value: bytes | None) -> None:
    assert valid(value) is None


def test_those_that_are_made_are_valid_and_differ() -> None:
    made = {new() for _ in range(1000)}
    assert len(made) == 1000
    assert all(valid(each.encode()) == each for each in made)


async def test_a_record_is_about_the_request_of_its_task_unless_it_names_others() -> None:
    assert line() == "m"
    request_id.current.set("a")
    assert line() == "m [request a]"
    assert line(**request_id.about(["b", None, "b", "c"])) == "m [request b, c]"
    assert line(**request_id.about([None])) == "m [request a]"
    named = request_id.about(map(str, range(1000)))
    assert len(named[request_id.FIELD]) == 16


async def test_jobs_know_the_requests_that_they_are_for() -> None:
    lane = Lane("m", SumBackend(padded=False), 100)
    job = Job(b"k", row(3), lane)
    for name in ("a", "b", None):
        request_id.current.set(name)
        job.requests.append(ScoringRequest(lane, lambda _: None))
    assert about([job]) == {"http.request.id": ["a", "b"]}
