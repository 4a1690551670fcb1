"""Outputs are remembered, in bounded memory."""

import os
import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.engine.batching.cache import ENTRY_BYTES, OutputCache
from rerank_proxy.engine.rows import Output

SCORE_BYTES = ENTRY_BYTES + 4


def output(*shape: int) -> Output:
    return Output(np.zeros(shape or (1,), np.float32), False)


def test_gives_back_what_was_put() -> None:
    cache = OutputCache(10 * SCORE_BYTES)
    put = output()
    cache.put(b"a", put)
    assert cache.get(b"a") is put
    assert cache.get(b"b") is None


def test_forgets_what_was_not_used_longest() -> None:
    cache = OutputCache(2 * SCORE_BYTES)
    for key in (b"a", b"b"):
        cache.put(key, output())
    cache.get(b"a")
    cache.put(b"c", output())
    assert cache.get(b"a") is not None
    assert cache.get(b"b") is None


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=2), st.integers(1, 500)), max_size=200))
def test_never_outgrows_its_bytes(puts: list[tuple[bytes, int]]) -> None:
    cache = OutputCache(8 * SCORE_BYTES)
    for key, size in puts:
        cache.put(key, output(size))
        assert cache.size_bytes <= 8 * SCORE_BYTES


@pytest.mark.parametrize("shape", [(1,), (384,), (50, 128)], ids=["score", "embedding", "token vectors"])
def test_its_bytes_are_those_that_it_takes(shape: tuple[int, ...]) -> None:
    outputs = 2_000_000 // (ENTRY_BYTES + 4 * int(np.prod(shape)))
    tracemalloc.start()
    try:
        cache = OutputCache(1 << 30)
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(outputs):
            cache.put(os.urandom(16), output(*shape))
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert cache.size_bytes == pytest.approx(after - before, rel=0.15)


def test_the_vectors_of_a_text_take_the_room_of_many_scores() -> None:
    cache = OutputCache(1000 * SCORE_BYTES)
    cache.put(b"vectors", output(300, 128))
    for number in range(700):
        cache.put(b"%d" % number, output())
    assert cache.get(b"vectors") is None


def test_no_bytes_remember_nothing() -> None:
    cache = OutputCache(0)
    cache.put(b"a", output())
    assert cache.get(b"a") is None
