"""Outputs are remembered, in bounded memory."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.engine.batching.cache import OutputCache
from rerank_proxy.engine.rows import Output


def output(size: int = 1) -> Output:
    return Output(np.zeros(size, np.float32), False)


def test_gives_back_what_was_put() -> None:
    cache = OutputCache(10)
    put = output()
    cache.put(b"a", put)
    assert cache.get(b"a") is put
    assert cache.get(b"b") is None


def test_forgets_what_was_not_used_longest() -> None:
    cache = OutputCache(2)
    for key in (b"a", b"b"):
        cache.put(key, output())
    cache.get(b"a")
    cache.put(b"c", output())
    assert cache.get(b"a") is not None
    assert cache.get(b"b") is None


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=2), st.integers(1, 500)), max_size=200))
def test_never_outgrows_its_entries(puts: list[tuple[bytes, int]]) -> None:
    cache = OutputCache(8)
    for key, size in puts:
        cache.put(key, output(size))
        assert cache.size_entries <= 8


def test_an_embedding_takes_the_room_of_several_scores() -> None:
    cache = OutputCache(8)
    cache.put(b"embedding", output(384))
    for key in (b"a", b"b", b"c"):
        cache.put(key, output())
    assert cache.get(b"embedding") is None


def test_no_entries_remember_nothing() -> None:
    cache = OutputCache(0)
    cache.put(b"a", output())
    assert cache.get(b"a") is None
