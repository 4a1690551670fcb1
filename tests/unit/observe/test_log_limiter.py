"""What is said once in a while, however often it happens and with however many names."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.observe.seldom import Seldom


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_each_key_once_in_a_period(clock: Clock) -> None:
    seldom = Seldom(60, 10, clock)
    assert [seldom.may_say("a"), seldom.may_say("b"), seldom.may_say("a")] == [0, 0, None]
    clock.time = 59.9
    assert seldom.may_say("a") is None
    clock.time = 60
    assert seldom.may_say("a") == 0


def test_of_too_many_keys_the_rest_is_counted(clock: Clock) -> None:
    seldom = Seldom(60, 2, clock)
    assert [seldom.may_say(key) for key in "abcd"] == [0, 0, None, None]
    clock.time = 60
    assert [seldom.may_say("e"), seldom.may_say("f")] == [2, 0]


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 40)), max_size=300))
def test_never_more_in_any_period(events: list[tuple[int, float]]) -> None:
    clock = Clock()
    seldom = Seldom(60, 5, clock)
    said: list[tuple[float, int]] = []
    for key, pause in events:
        clock.time += pause
        if seldom.may_say(key) is not None:
            said.append((clock.time, key))
    for time, _ in said:
        within = [key for at, key in said if time <= at < time + 60]
        assert len(within) <= 5
        assert len(within) == len(set(within))
