"""What is remembered, and that it is never taken for something else."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.engine.batching.cache import OutputCache
from rerank_proxy.engine.encoding.scorers import keys
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


texts = st.text(alphabet="ab\0 é", max_size=4)


@given(st.lists(st.tuples(texts, texts, texts), min_size=2, max_size=30, unique=True))
def test_different_inputs_have_different_keys(inputs: list[tuple[str, str, str]]) -> None:
    assert len({keys(model, context, [text])[0] for model, context, text in inputs}) == len(inputs)


@given(st.text(alphabet="ab", min_size=1, max_size=4), st.data())
def test_what_runs_together_alike_is_told_apart(whole: str, data: st.DataObject) -> None:
    cuts = st.tuples(st.integers(0, len(whole)), st.integers(0, len(whole))).map(sorted)
    parts = [
        (whole[:first], whole[first:second], whole[second:])
        for first, second in data.draw(st.lists(cuts, min_size=2, max_size=2, unique_by=tuple))
    ]
    one, other = (keys(model, context, [text]) for model, context, text in parts)
    assert one != other


def test_keys_do_not_hold_the_texts() -> None:
    (key,) = keys("fingerprint", "a query", ["a text " * 1000])
    assert len(key) == 16
