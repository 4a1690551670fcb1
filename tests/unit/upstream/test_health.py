"""Nodes that fail: how long they are left out, and what counts as a failure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.upstream.health import FIRST_S, MOST_S, STEADY_S, Health, left_out_s

FAILURES = st.integers(1, 10_000)
CHANCE = st.floats(0, 1)


@given(FAILURES, CHANCE)
def test_the_time_grows_and_is_bounded_whatever_the_chance(failures: int, chance: float) -> None:
    seconds = left_out_s(failures, chance)
    assert FIRST_S / 2 <= seconds <= MOST_S
    assert left_out_s(failures + 1, chance) >= seconds
    assert left_out_s(failures, 0) <= seconds <= left_out_s(failures, 1) == 2 * left_out_s(failures, 0)


@given(st.integers(1, 200), CHANCE)
def test_attempts_side_by_side_count_once(attempts: int, chance: float) -> None:
    health = Health()
    went_out = [health.failed("x", began=10.0, now=11.0 + n, chance=chance) for n in range(attempts)]
    assert went_out == [True] + [False] * (attempts - 1)
    assert health.due_at == 11.0 + left_out_s(1, chance)
    assert (health.failures, health.times_out) == (attempts, 1)


def test_failures_in_a_row_double_the_time() -> None:
    health, now, waits = Health(), 100.0, list[float]()
    for _ in range(8):
        health.failed("x", began=now, now=now + 0.5, chance=1)
        assert health.due_at is not None
        waits.append(health.due_at - now - 0.5)
        now = health.due_at
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30]
    assert (health.failures, health.times_out) == (8, 1)


def test_what_began_before_a_node_came_back_does_not_put_it_out_again() -> None:
    """Such as attempts that wait for the limit while the node is started again."""
    health = Health()
    assert health.failed("x", began=1.0, now=2.0, chance=1)
    assert health.reached(3.0)
    assert not health.failed("no connection in time", began=2.5, now=12.5, chance=1)
    assert not health.is_out
    assert not health.reached(13.0)


@pytest.mark.parametrize("is_there", [True, False])
def test_a_node_is_tried_once_an_attempt_has_ended(is_there: bool) -> None:
    health = Health()
    assert not health.tried
    if is_there:
        health.reached(1.0)
    else:
        health.failed("x", began=0.0, now=1.0, chance=1)
    assert health.tried


@given(st.floats(0, 2 * STEADY_S))
def test_only_a_node_that_stays_begins_anew(stayed: float) -> None:
    health = Health()
    health.failed("x", began=1.0, now=2.0, chance=1)
    health.failed("x", began=3.0, now=4.0, chance=1)
    assert health.reached(6.0)
    now = 6.0 + stayed
    assert health.failed("x", began=now + 0.5, now=now + 1, chance=1)
    assert health.due_at is not None
    steady = stayed + 1 >= STEADY_S
    assert round(health.due_at - now - 1, 6) == (1 if steady else 4)
