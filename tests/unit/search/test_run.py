"""What one search waits for: side by side counts once, and nothing that passes is left out."""

from contextlib import AbstractContextManager

from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.search.timings import Timings


class Clock:
    def __init__(self) -> None:
        self.time = 0.0

    def __call__(self) -> float:
        return self.time


def test_searches_beside_each_other_and_beside_scores() -> None:
    clock = Clock()
    timings = Timings(clock)
    with timings.searching():
        clock.time += 1
        with timings.searching(), timings.scoring():
            clock.time += 2
        clock.time += 4
    clock.time += 8
    with timings.scoring():
        clock.time += 16
    assert (timings.upstream.seconds, timings.scores.seconds, timings.others.seconds) == (7, 18, 23)


@given(st.lists(st.tuples(st.sampled_from(["search", "score", "end"]), st.integers(0, 9)), max_size=40))
def test_the_sums_are_those_of_the_moments(steps: list[tuple[str, int]]) -> None:
    """In whatever order searches and scores begin and end."""
    clock = Clock()
    timings = Timings(clock)
    under_way: list[tuple[str, AbstractContextManager[None]]] = []
    expected = dict.fromkeys(("search", "score", "any"), 0)
    for what, passes in steps:
        if what == "end":
            if under_way:
                under_way.pop(0)[1].__exit__(None, None, None)
        else:
            under_way.append((what, timings.searching() if what == "search" else timings.scoring()))
            under_way[-1][1].__enter__()
        clock.time += passes
        for kind in {kind for kind, _ in under_way}:
            expected[kind] += passes
        expected["any"] += passes if under_way else 0
    for _, each in under_way:
        each.__exit__(None, None, None)
    assert (timings.upstream.seconds, timings.scores.seconds) == (expected["search"], expected["score"])
    assert timings.others.seconds == expected["any"]
