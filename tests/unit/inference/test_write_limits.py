"""Clients may have so many endpoints and no more, and change them only so often."""

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.inference.write_limits import WriteLimits
from rerank_proxy.settings import InferenceSettings


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def limits(clock: Clock, **settings: int) -> WriteLimits:
    return WriteLimits(InferenceSettings(**settings), clock)


def refusal(limits: WriteLimits, caller: bytes) -> ElasticsearchError:
    with pytest.raises(ElasticsearchError) as refused:
        limits.admit(caller)
    return refused.value


def test_one_caller_may_make_half_of_the_changes_and_is_told_when_to_go_on() -> None:
    clock = Clock()
    some = limits(clock, max_writes_per_minute=4)
    some.admit(b"a")
    clock.now = 10.0
    some.admit(b"a")
    refused = refusal(some, b"a")
    assert (refused.status, refused.cause.type) == (429, "es_rejected_execution_exception")
    assert refused.headers() == [("Retry-After", "50")]
    assert "4 times a minute (inference.max_writes_per_minute), and one caller may make 2" in str(refused)
    some.admit(b"b")
    some.admit(b"c")
    assert "all callers" in str(refusal(some, b"d"))
    clock.now = 60.0
    some.admit(b"a")
    assert refusal(some, b"a").headers() == [("Retry-After", "10")]


@given(
    st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.floats(0, 30)), max_size=60), st.integers(1, 9)
)
def test_no_minute_has_more(asked: list[tuple[bytes, float]], most: int) -> None:
    clock = Clock()
    some = limits(clock, max_writes_per_minute=most)
    made: list[tuple[float, bytes]] = []
    for caller, later in asked:
        clock.now += later
        with suppress(ElasticsearchError):
            some.admit(caller)
            made.append((clock.now, caller))
        recent = [by for at, by in made if at > clock.now - 60]
        assert len(recent) <= most
        assert recent.count(caller) <= (most + 1) // 2


def test_zero_allows_any_number() -> None:
    some = limits(Clock(), max_writes_per_minute=0)
    for _ in range(1000):
        some.admit(b"a")


def test_the_number_of_endpoints_is_bounded_and_can_be_raised() -> None:
    some = limits(Clock(), max_endpoints=2)
    some.check_number(1)
    with pytest.raises(ElasticsearchError, match=r"as many as \[inference.max_endpoints: 2\]"):
        some.check_number(2)
    some.use(InferenceSettings(max_endpoints=3))
    some.check_number(2)


def test_those_that_are_still_tried_count() -> None:
    """Else all that are made at the same time would pass for the last one."""
    some = limits(Clock(), max_endpoints=2)
    with some.coming(), pytest.raises(ElasticsearchError, match=r"there are \[2\]"):
        some.check_number(1)
    with suppress(KeyError), some.coming():
        raise KeyError
    some.check_number(1)
