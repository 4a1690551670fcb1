"""Which worker runs what, and with how much."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.engine.backends.cpu import count_workers
from rerank_proxy.engine.batching.jobs import Job, Lane
from rerank_proxy.engine.batching.places import Placed, Places
from tests.support.examples import examples
from tests.unit.engine.doubles import SumBackend, row

BUDGET = 1000
FAST_S = 1e-6
SLOW_S = 1e-3
"""Seconds for a token: of a model whose batches are worth all threads."""


def lane(*, serial: bool = False, threads: int | None = None, pace_s: float = SLOW_S) -> Lane:
    return Lane("model", SumBackend(padded=False, serial=serial), BUDGET, threads, pace_s)


def jobs(lane: Lane, tokens: int) -> list[Job]:
    return [Job(b"key", row(tokens), lane)]


def put(places: Places, lane: Lane, tokens: int, waiting: int = 0) -> Placed:
    return places.put(jobs(lane, tokens), waiting)


@pytest.mark.parametrize(
    ("workers", "threads", "expected"),
    [(0, 1, 1), (0, 2, 2), (0, 8, 8), (0, 9, 5), (0, 12, 6), (0, 64, 8), (1, 8, 1), (3, 2, 3)],
)
def test_how_many_workers(workers: int, threads: int, expected: int) -> None:
    assert count_workers(workers, threads) == expected


def test_a_small_call_is_spread_over_the_workers() -> None:
    places, model = Places(2, 2), lane()
    assert places.budget_tokens(model, 600) == 300
    put(places, model, 300, 300)
    assert places.budget_tokens(model, 300) == 300, "what is left for the other one"


def test_a_call_of_several_batches_leaves_no_worker_idle_at_its_end() -> None:
    places, model = Places(2, 2), lane()
    assert places.budget_tokens(model, 2400) == 600, "two each, and not a whole one and a small one"


def test_very_few_tokens_stay_together() -> None:
    assert Places(2, 2).budget_tokens(lane(), 20) == 128


def test_each_batch_goes_to_the_worker_with_the_least_to_do() -> None:
    places, model = Places(2, 2), lane()
    first, second = put(places, model, 500, 1), put(places, model, 400, 1)
    assert {first.place, second.place} == {0, 1}
    places.end(second)
    assert put(places, model, 10, 1).place == second.place


def test_a_worker_has_one_batch() -> None:
    places, model = Places(2, 2), lane()
    for _ in range(2):
        assert places.budget_tokens(model, BUDGET) > 0
        put(places, model, 500, 1)
    assert places.budget_tokens(model, BUDGET) == 0


def test_on_a_device_of_its_own_another_batch_waits() -> None:
    places, model = Places(2, 2), lane(serial=True)
    for _ in range(2):
        assert places.budget_tokens(model, BUDGET) > 0
        put(places, model, 500, 1)
    assert places.budget_tokens(model, BUDGET) == 0


def test_nothing_waits_behind_one_very_long_row() -> None:
    places, model = Places(2, 2), lane(serial=True)
    put(places, model, 2 * BUDGET)
    assert places.budget_tokens(model, 100) == 0
    assert put(places, lane(), 100, 1).place == 1


class TestParts:
    """How much of what is to run soon one place takes."""

    def test_equal_ones_for_idle_places(self) -> None:
        assert Places(4, 4).part_tokens(lane(), 800) == 200

    def test_all_of_it_where_there_is_one_place(self) -> None:
        assert Places(1, 4).part_tokens(lane(), 800) == 800
        assert Places(4, 4).part_tokens(lane(serial=True), 800) == 800

    def test_more_of_it_the_later_others_are_free(self) -> None:
        places, model = Places(3, 3), lane()
        for tokens in (300, 500, 900):
            first = put(places, model, tokens, 1)
        assert places.part_tokens(model, 100) == 100, "it has run before any other place is free"
        assert places.part_tokens(model, 600) == 450, "of 300, 450 are left for the one that is free first"
        assert places.part_tokens(model, 1300) == 700
        places.end(first)
        assert places.part_tokens(model, 600) == 200, "all others have to end now: they began before"

    @examples(2)
    @given(st.integers(1, 8), st.lists(st.integers(1, 1000), max_size=8), st.integers(1, 5000))
    def test_all_end_at_the_same_time(self, count: int, running: Sequence[int], tokens: int) -> None:
        places, model = Places(count, count), lane()
        for each in running[: count - 1]:
            put(places, model, each, 1)
        left = [*running[: count - 1], *[0] * (count - len(running[: count - 1]))]
        part = places.part_tokens(model, tokens)
        assert sum(max(0, part - each) for each in left) >= tokens
        assert sum(max(0, part - 1 - each) for each in left) < tokens


class TestThreads:
    def test_a_share_each(self) -> None:
        places, model = Places(2, 5), lane()
        assert sorted(put(places, model, 500, 1).threads for _ in range(2)) == [2, 3]

    def test_all_for_a_long_batch_alone(self) -> None:
        assert put(Places(2, 6), lane(), 200).threads == 6

    def test_a_share_for_a_short_batch_alone(self) -> None:
        assert put(Places(2, 6), lane(pace_s=FAST_S), 200).threads == 3

    def test_a_share_while_more_waits_or_runs(self) -> None:
        places, model = Places(2, 6), lane()
        assert [put(places, model, 200, 1).threads, put(places, model, 200).threads] == [3, 3]

    def test_all_for_a_model_that_only_one_thread_may_run(self) -> None:
        places = Places(2, 6)
        assert put(places, lane(serial=True, pace_s=FAST_S), 200, 1000).threads == 6
        assert put(places, lane(), 200).threads == 3

    def test_no_more_than_reserved(self) -> None:
        places, model = Places(4, 8), lane(threads=5)
        first = put(places, model, 500, 1)
        second = put(places, model, 500, 1)
        assert first.threads == second.threads == 2
        assert places.budget_tokens(model, 500) == 0, "a third worker would make it 6 threads"
        assert put(Places(4, 8), model, 500).threads == 5
        assert put(places, lane(), 500, 1).place not in (first.place, second.place)


def test_a_serial_model_runs_where_it_has_copies() -> None:
    places, model = Places(3, 3), lane(serial=True)
    model.copies = [SumBackend(serial=True)]
    assert places.budget_tokens(model, BUDGET) == BUDGET / 2, "for each of two"
    assert {put(places, model, 500, 1).place for _ in range(2)} == {0, 1}
    assert {put(places, model, 500, 1).place for _ in range(2)} == {0, 1}, "another waits for each"
    assert places.budget_tokens(model, BUDGET) == 0
    assert places.budget_tokens(lane(), BUDGET) > 0


def test_a_serial_model_stays_at_the_first_place() -> None:
    places, model = Places(3, 3), lane(serial=True)
    assert [put(places, model, 100, 1).place for _ in range(2)] == [0, 0]
    assert places.budget_tokens(model, 100) == 0
    assert places.budget_tokens(lane(), 100) > 0
    assert places.budget_tokens(model, 100) == 0


def test_a_place_is_kept_free_for_other_work() -> None:
    places, model = Places(2, 2), lane()
    with places.kept_free(0):
        assert put(places, model, 100, 1).place == 1
        assert places.budget_tokens(model, 100) == 0
    assert put(places, model, 100).place == 0


def test_a_place_without_a_worker_gets_nothing() -> None:
    places, model = Places(2, 2), lane()
    places.leave(1)
    assert places.empty == 1
    assert put(places, model, 100, 1).place == 0
    assert places.budget_tokens(model, 100) == 0
    places.fill(1)
    assert put(places, model, 100).place == 1


@given(
    lengths=st.lists(st.integers(1, 2000), max_size=40),
    count=st.integers(1, 5),
    threads=st.integers(1, 9),
    limit=st.none() | st.integers(1, 9),
    ends=st.lists(st.integers(0, 20), max_size=40),
)
@examples(1)
def test_limits_hold_whatever_comes(
    lengths: Sequence[int], count: int, threads: int, limit: int | None, ends: Sequence[int]
) -> None:
    places, model = Places(count, threads), lane(threads=limit)
    under_way: list[Placed] = []
    waiting = sum(lengths)
    for tokens, end in zip(lengths, [*ends, *[0] * len(lengths)], strict=False):
        if not places.budget_tokens(model, waiting):
            assert under_way, "nothing would ever begin"
            places.end(under_way.pop(end % len(under_way)))
        if not (budget := places.budget_tokens(model, waiting)):
            continue
        assert 0 < budget <= BUDGET
        waiting -= tokens
        under_way.append(put(places, model, tokens, waiting))
        here = [each for each in under_way if each.place == under_way[-1].place]
        assert len(here) <= 2
        most = {each.place: max(e.threads for e in under_way if e.place == each.place) for each in under_way}
        assert all(each.threads >= 1 for each in under_way)
        if limit is not None:
            assert sum(most.values()) <= max(limit, 1)
