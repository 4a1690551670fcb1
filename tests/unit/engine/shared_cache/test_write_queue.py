"""What waits to be written is bounded, and is taken once."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.engine.rows import Output
from rerank_proxy.engine.shared_cache.write_queue import ENTRY_BYTES, WriteQueue


def output(numbers: int) -> Output:
    return Output(np.zeros(numbers, np.float32), False)


@given(
    st.integers(0, 20_000),
    st.lists(st.one_of(st.none(), st.tuples(st.binary(max_size=1), st.integers(1, 1000))), max_size=60),
)
def test_what_is_put_is_taken_once_in_its_order(
    max_bytes: int, steps: list[tuple[bytes, int] | None]
) -> None:
    queue, expected = WriteQueue(max_bytes), dict[bytes, Output]()
    for step in steps:
        if step is None:
            taken = queue.take()
            first = list(expected)[: len(taken)]
            assert list(taken) == first
            assert bool(taken) == bool(expected)
            for key in first:
                assert taken[key] is expected.pop(key)
        else:
            key, one = step[0], output(step[1])
            if queue.put(key, one):
                expected.setdefault(key, one)
            else:
                assert key not in expected
        assert len(queue) == len(expected)
        assert queue.size_bytes <= max_bytes
        assert queue.size_bytes == sum(each.values.nbytes + ENTRY_BYTES for each in expected.values())
    assert queue.clear() == len(expected)
    assert not queue.take()


def test_one_step_takes_a_bounded_part() -> None:
    queue = WriteQueue(2**30)
    for number in range(2000):
        queue.put(str(number).encode(), output(1))
    assert len(queue.take()) < 1000
    queue.clear()
    for number in range(4):
        queue.put(str(number).encode(), output(200_000))
    assert len(queue.take()) == 1
