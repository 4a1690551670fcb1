"""BM25 in Java's floats. The scores are those of Elasticsearch 9.5.0, to the last bit."""

from collections.abc import Mapping, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.chunks.bm25 import Floats
from rerank_proxy.chunks.bm25 import scores as steps_of_scoring
from rerank_proxy.concurrency.steps import run_at_once


def scores(query: Mapping[str, int], chunks: Sequence[Sequence[str]]) -> Floats:
    return run_at_once(steps_of_scoring(query, chunks))


CATS_AND_DOGS = [
    "cats like to sleep all day and play with mice",
    "dogs are loyal companions and great pets",
    "the weather today is very sunny and warm",
    "dogs love to play with toys and go for walks",
    "elasticsearch is a great search engine",
]
CHUNKS = st.lists(st.lists(st.sampled_from("abcd"), max_size=40), min_size=1, max_size=6)


@pytest.mark.parametrize(
    ("query", "chunks", "expected"),
    [
        ({"dogs": 1, "play": 1, "walk": 1}, CATS_AND_DOGS,
         [0.36514973640441895, 0.42328086495399475, 0, 0.7302994728088379, 0]),
        ({"dog": 1}, ["a dog", "cats and dogs", "dog dog"], [0.22689829766750336, 0, 0.3060488700866699]),
        ({"dog": 2, "cats": 1}, ["a dog", "cats and dogs", "dog dog"],
         [0.4537965953350067, 0.39917469024658203, 0.6120977401733398]),
        ({"x": 1}, ["x", "x", "y x"], [0.06761083006858826, 0.06761083006858826, 0.05038920044898987]),
        ({"x": 1}, ["", "x y", "x"], [0, 0.07292862981557846, 0.09595871716737747]),
        ({"w": 1, "v": 1}, ["w " * 30, "w " * 31 + "v", "v " * 45],
         [0.4540072977542877, 0.6768091320991516, 0.45572152733802795]),
        ({"z": 1}, ["a", ""], [0, 0]),
        ({}, ["a"], [0]),
        ({"a": 1}, [""], [0]),
    ],
)  # fmt: skip
def test_examples(query: dict[str, int], chunks: list[str], expected: list[float]) -> None:
    found = scores(query, [chunk.split() for chunk in chunks])
    assert found.dtype == np.float32
    assert found.tolist() == expected


@given(CHUNKS)
def test_what_matches_has_a_score(chunks: list[list[str]]) -> None:
    found = scores({"a": 1, "b": 1}, chunks)
    assert [score > 0 for score in found] == [bool({"a", "b"} & set(chunk)) for chunk in chunks]


@given(CHUNKS)
def test_order_of_chunks_does_not_matter(chunks: list[list[str]]) -> None:
    query = {"a": 1, "b": 2}
    assert scores(query, chunks[::-1]).tolist() == scores(query, chunks).tolist()[::-1]


@given(CHUNKS, st.integers(2, 5))
def test_a_term_that_is_asked_twice_counts_twice(chunks: list[list[str]], times: int) -> None:
    once = scores({"a": 1}, chunks)
    assert scores({"a": times}, chunks) == pytest.approx(once * times, rel=1e-5)


@given(st.integers(2, 60), st.integers(1, 30))
def test_more_matches_in_the_same_length_score_more(length: int, matches: int) -> None:
    matches = min(matches, length - 1)
    fewer = ["a"] * matches + ["b"] * (length - matches)
    more = ["a"] * (matches + 1) + ["b"] * (length - matches - 1)
    low, high = scores({"a": 1}, [fewer, more])
    assert low < high


@given(st.integers(1, 200), st.integers(1, 200))
def test_a_longer_chunk_never_scores_more(length: int, longer_by: int) -> None:
    short, long = (["a", *["b"] * n] for n in (length, length + longer_by))
    first, second = scores({"a": 1}, [short, long])
    assert first >= second


@given(st.integers(2, 10))
def test_a_rare_term_scores_more(chunks: int) -> None:
    terms = [["rare", "often"], *([["often", "x"]] * (chunks - 1))]
    assert scores({"rare": 1}, terms)[0] > scores({"often": 1}, terms)[0]
