"""Messages are logged once in a period, however often they come and however many they are."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.observe.log_limiter import LogLimiter


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_each_key_once_in_a_period(clock: Clock) -> None:
    limiter = LogLimiter(60, 10, clock)
    assert [limiter.admit("a"), limiter.admit("b"), limiter.admit("a")] == [0, 0, None]
    clock.time = 59.9
    assert limiter.admit("a") is None
    clock.time = 60
    assert limiter.admit("a") == 0


def test_of_too_many_keys_the_rest_is_counted(clock: Clock) -> None:
    limiter = LogLimiter(60, 2, clock)
    assert [limiter.admit(key) for key in "abcd"] == [0, 0, None, None]
    clock.time = 60
    assert [limiter.admit("e"), limiter.admit("f")] == [2, 0]


@given(st.lists(st.tuples(st.integers(0, 50), st.floats(0, 40)), max_size=300))
def test_never_more_in_any_period(events: list[tuple[int, float]]) -> None:
    clock = Clock()
    limiter = LogLimiter(60, 5, clock)
    said: list[tuple[float, int]] = []
    for key, pause in events:
        clock.time += pause
        if limiter.admit(key) is not None:
            said.append((clock.time, key))
    for time, _ in said:
        within = [key for at, key in said if time <= at < time + 60]
        assert len(within) <= 5
        assert len(within) == len(set(within))
