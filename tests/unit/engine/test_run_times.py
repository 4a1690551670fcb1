"""When a call waited and when it ran."""

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.engine.run_times import Interval, run_times
from tests.support.examples import examples

_TIMES = st.integers(0, 40)
_INTERVALS = st.tuples(_TIMES, _TIMES).filter(lambda each: each[0] < each[1])


@examples(4)
@given(_INTERVALS, st.lists(_INTERVALS, max_size=8))
def test_each_moment_is_either(call: Interval, batches: Sequence[Interval]) -> None:
    """It is, between the beginning and the end of the call, wherever its batches ran."""
    began, ended = call
    times = run_times(began, ended, batches)
    running = {at for a, b in batches for at in range(int(a), int(b)) if began <= at < ended}
    assert _moments(times.ran) == running
    assert _moments(times.waited) == set(range(int(began), int(ended))) - running
    assert times.waited_s == ended - began - len(running)


def _moments(intervals: Sequence[Interval]) -> set[int]:
    moments = [at for began, ended in intervals for at in range(int(began), int(ended))]
    assert len(moments) == len(set(moments))
    return set(moments)


def test_what_another_call_had_run_before_does_not_count() -> None:
    times = run_times(10, 20, [(2, 9), (8, 12)])
    assert (times.batches, times.ran, times.waited) == (1, [(10, 12)], [(12, 20)])
