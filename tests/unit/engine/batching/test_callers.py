"""Several callers: none of them can have the device or the queue for itself, whatever it sends."""

from collections import defaultdict
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.engine.batching.callers import Turns
from rerank_proxy.engine.batching.jobs import Lane, ScoringRequest
from rerank_proxy.engine.batching.room import Refusal, Room
from rerank_proxy.engine.batching.scheduler import OLDEST_SHARE, Scheduler
from rerank_proxy.engine.batching.shares import EqualShares
from rerank_proxy.engine.errors import QueueFullError
from rerank_proxy.engine.text_memory import TextMemory
from tests.support.examples import examples
from tests.unit.engine.batching.simulation import BUDGET, TOKEN_S, SimulatedCall, Simulation
from tests.unit.engine.doubles import SumBackend, row

LANE = Lane("model", SumBackend(padded=False), BUDGET)


def run(calls: Sequence[SimulatedCall], workers: int = 1) -> Simulation:
    simulation = Simulation(Lane("model", SumBackend(padded=False), BUDGET), workers, batch_s=0.0)
    simulation.run(calls)
    return simulation


some_calls = st.builds(
    lambda caller, lengths, at_s, number: [
        SimulatedCall(lengths, at_s, caller=caller) for _ in range(number)
    ],
    st.sampled_from([b"", b"a", b"b", b"c"]),
    st.lists(st.integers(1, 400), min_size=1, max_size=40),
    st.floats(0.0, 1.0),
    st.integers(1, 8),
)


def test_a_flood_hardly_delays_another_caller() -> None:
    """Without callers the small one would wait for hundreds of requests of its size."""
    flood = [SimulatedCall([300] * 5, caller=b"flood") for _ in range(400)]
    small = SimulatedCall([300] * 5, at_s=1.0, caller=b"other")
    run([*flood, small])
    assert small.took_s <= (2 * small.tokens + 2 * BUDGET) / (1 - OLDEST_SHARE) * TOKEN_S
    alone = [SimulatedCall(call.lengths, call.at_s) for call in (*flood, small)]
    run(alone)
    assert alone[-1].took_s > 10 * small.took_s


def test_a_batch_is_divided_among_thousands_of_callers_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """In rounds, of which each ends one caller, 4,000 of them would hold the event loop for seconds."""
    most, served = 300, 0
    turns = Turns()
    for number in range(most):
        request = ScoringRequest(LANE, lambda _: None, None, str(number).encode())
        turns.enter(request, 10.0 + number)
        turns.remove(request)

    def counted(shares: EqualShares, work: float, serve: Callable[..., None] = EqualShares.serve) -> None:
        nonlocal served
        served += 1
        serve(shares, work)

    monkeypatch.setattr(EqualShares, "serve", counted)
    turns.serve(sum(range(most)) + 9.0 * most)
    assert served <= most
    turns.serve(most + 1.0)
    assert not turns._callers


@examples(4)
@given(st.lists(some_calls, min_size=1, max_size=6), st.integers(1, 4))
def test_no_call_ends_later_than_promised(groups: list[list[SimulatedCall]], workers: int) -> None:
    """Another caller delays a call by no more than what its own caller has to do until it ends."""
    calls = [call for group in groups for call in group]
    batches = run(calls, workers).batches
    largest = max(sum(len(job.row) for job in jobs) for _, jobs in batches)
    for call in calls:
        before: dict[bytes, float] = defaultdict(float)
        for each in calls:
            if each is not call and each.at_s < call.at_s + call.took_s:
                before[each.caller] += each.tokens
        own = call.tokens + before.pop(call.caller, 0.0)
        others = sum(min(own, theirs) for theirs in before.values())
        shared = (own + others + (1 + len(before)) * largest) / (1 - OLDEST_SHARE) + largest
        assert call.took_s <= (shared / workers + 2 * largest) * TOKEN_S * (1 + 1e-9)


@examples(4)
@given(st.lists(some_calls, min_size=1, max_size=6), st.integers(1, 4), st.binary(max_size=4))
def test_one_caller_is_served_as_if_there_were_none(
    groups: list[list[SimulatedCall]], workers: int, name: bytes
) -> None:
    def order(caller: bytes) -> list[list[bytes]]:
        calls = [SimulatedCall(call.lengths, call.at_s, caller=caller) for group in groups for call in group]
        return [[job.key for job in jobs] for _, jobs in run(calls, workers).batches]

    assert order(name) == order(b"")


@examples(2)
@given(st.lists(some_calls, min_size=1, max_size=6))
def test_the_device_does_the_same_work_for_any_callers(groups: list[list[SimulatedCall]]) -> None:
    calls = [call for group in groups for call in group]
    simulation = run(calls)
    assert simulation.busy_s == pytest.approx(sum(call.tokens for call in calls) * TOKEN_S)
    assert all(call.took_s >= 0 for call in calls)


@examples(4)
@given(
    st.lists(
        st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.floats(0.001, 50.0), st.floats(0.0, 60.0)),
        max_size=30,
    )
)
def test_turns_are_in_the_order_in_which_equal_shares_end(events: list[tuple[bytes, float, float]]) -> None:
    """The requests of a caller keep their order, and what is read twice is the same."""
    turns = Turns()
    waiting: list[ScoringRequest] = []
    for caller, work, served in events:
        request = ScoringRequest(LANE, lambda _: None, caller=caller)
        turns.enter(request, work)
        waiting.append(request)
        turns.serve(served)
        ordered = list(turns)
        assert ordered == list(turns)
        assert {id(each) for each in ordered} == {id(each) for each in waiting}
        for name in (b"a", b"b", b"c"):
            ends = [each.fair_end for each in ordered if each.caller == name]
            assert ends == sorted(ends)
    for request in waiting:
        turns.give_up(request)
        turns.remove(request)
    assert list(turns) == []


@examples(4)
@given(st.lists(st.floats(0.01, 50.0), min_size=1, max_size=12), st.floats(0.0, 100.0))
def test_work_until_an_end_is_what_has_to_be_served(works: list[float], served: float) -> None:
    shares = EqualShares()
    ends = sorted(shares.enter(work) for work in works)
    shares.serve(served)
    assert shares.left == pytest.approx(max(0.0, sum(works) - served), abs=1e-6)
    work_until = shares.work_until()
    for number, end in enumerate(ends, 1):
        until = work_until(end)
        assert (
            until == pytest.approx(sum(min(work, end) for work in works) - served, abs=1e-6) or until <= 0
        ), number


class TestRoom:
    def test_one_that_is_alone_may_have_all_and_leaves_room_for_others(self) -> None:
        room = Room(100, 0.5)
        assert room.refusal(b"a", 100) is None
        room.add(b"a", 100)
        assert room.refusal(b"a", 1) is Refusal.OF_ALL
        assert room.refusal(b"b", 50) is None
        assert room.refusal(b"b", 51) is Refusal.OF_CALLER
        room.add(b"b", 50)
        assert room.refusal(b"a", 1) is Refusal.OF_CALLER
        assert room.refusal(b"c", 1) is Refusal.OF_ALL
        room.add(b"a", -100)
        assert room.refusal(b"c", 50) is None

    def test_without_a_share_callers_are_not_told_apart(self) -> None:
        room = Room(100)
        room.add(b"a", 70)
        assert room.refusal(b"b", 31) is Refusal.OF_ALL
        assert room.refusal(b"a", 30) is None

    @given(
        st.lists(st.tuples(st.sampled_from([b"a", b"b", b"c"]), st.integers(1, 120)), max_size=40),
        st.sampled_from([0.1, 0.5, 0.75, 1.0]),
    )
    def test_what_all_hold_is_bounded_and_counted(self, asked: list[tuple[bytes, int]], share: float) -> None:
        room = Room(100, share)
        held: list[tuple[bytes, int]] = []
        for caller, amount in asked:
            if room.refusal(caller, amount) is None:
                room.add(caller, amount)
                held.append((caller, amount))
            elif held:
                given_back, less = held.pop(0)
                room.add(given_back, -less)
            assert room.held == sum(amount for _, amount in held) <= (2 - share) * 100
        for caller, amount in held:
            room.add(caller, -amount)
        assert (room.held, room.held_by(b"a")) == (0, 0)
        assert room.refusal(b"a", 100) is None


def test_a_full_share_is_refused_in_words_and_the_other_caller_is_not() -> None:
    scheduler = Scheduler(1000, share=0.5)
    for name, caller in ((b"x", b"flood"), (b"y", b"other")):
        request = scheduler.open(LANE, lambda _: None, None, caller)
        scheduler.submit(request, {name: row(400)})
    refused = scheduler.open(LANE, lambda _: None, None, b"flood")
    with pytest.raises(QueueFullError) as refusal:
        scheduler.submit(refused, {b"z": row(200)})
    assert str(refusal.value).startswith(
        "the queue holds 400 tokens of this caller, and others wait: one caller "
    )
    assert "500 of 1000 tokens then (engine.queue_share)" in str(refusal.value)
    scheduler.submit(scheduler.open(LANE, lambda _: None, None, b"other"), {b"w": row(100)})


def test_texts_of_a_flood_leave_memory_for_others() -> None:
    memory = TextMemory(10_000, share=0.5)
    with memory.holding("q", ["a" * 8_000], b"flood"), memory.holding("q", ["a" * 4_000], b"other"):
        for name, size, limit in (
            (b"flood", 1, "engine.queue_share"),
            (b"third", 4_000, "engine.queue_bytes"),
        ):
            with pytest.raises(QueueFullError, match=limit), memory.holding("q", ["a" * size], name):
                pass
