"""The choice of documents that are near the query and far from one another."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.search.ranks.diversity import diversify
from rerank_proxy.search.ranks.ranking import RankDoc

DIMS = 3

# Whole and half numbers: their products are exact, so that what ties here ties in any order of summing.
vectors = st.lists(st.integers(-6, 6).map(lambda n: n / 2), min_size=DIMS, max_size=DIMS)
lambdas = st.sampled_from([0.0, 0.25, 0.5, 0.7, 1.0])


@st.composite
def windows(draw: st.DrawFn) -> tuple[list[RankDoc], list[list[float] | None]]:
    found = draw(st.lists(st.none() | vectors, max_size=10))
    return window(len(found)), found


def window(size: int) -> list[RankDoc]:
    return [RankDoc("films", str(n), n, 90 - n, None, "text", 20.0 - n) for n in range(size)]


def ids(docs: Sequence[RankDoc]) -> str:
    return "".join(doc.id for doc in docs)


def similarity(one: Sequence[float], other: Sequence[float]) -> np.float32:
    product = np.float32(sum(a * b for a, b in zip(one, other, strict=True)))
    return np.float32(product + 1) if product >= 0 else np.float32(1 / np.float32(1 - product))


def loop(found: list[list[float] | None], query: list[float] | None, lambda_: float, size: int) -> list[int]:
    """Compute the algorithm pair by pair."""
    candidates = {n: vector for n, vector in enumerate(found) if vector is not None}
    near = {n: similarity(v, query) if query else np.float32(0) for n, v in candidates.items()}
    chosen: list[int] = []
    while candidates and len(chosen) < size:
        worth = {}
        for n, vector in candidates.items():
            worth[n] = near[n]
            if chosen:
                nearest = max(similarity(vector, found[c] or []) for c in chosen)
                weight = np.float32(lambda_)
                worth[n] = np.float32(weight * near[n]) - np.float32((np.float32(1) - weight) * nearest)
        best = max(candidates, key=lambda n: (worth[n], -n))
        chosen.append(best)
        del candidates[best]
    return sorted(chosen)


@given(windows(), st.none() | vectors, lambdas, st.integers(1, 12))
def test_is_the_algorithm(
    case: tuple[list[RankDoc], list[list[float] | None]],
    query: list[float] | None,
    lambda_: float,
    size: int,
) -> None:
    docs, found = case
    chosen = diversify(docs, found, query, lambda_, size)
    assert chosen == [docs[place] for place in loop(found, query, lambda_, size)]


@given(windows(), st.none() | vectors, lambdas, st.integers(1, 12))
def test_is_a_part_of_the_window_in_its_order(
    case: tuple[list[RankDoc], list[list[float] | None]],
    query: list[float] | None,
    lambda_: float,
    size: int,
) -> None:
    docs, found = case
    chosen = diversify(docs, found, query, lambda_, size)
    assert len(chosen) == min(size, sum(vector is not None for vector in found))
    assert [doc.place for doc in chosen] == sorted({doc.place for doc in chosen})
    assert all(doc == docs[doc.place] and found[doc.place] is not None for doc in chosen)


@given(windows(), vectors, st.integers(1, 12))
def test_all_weight_on_the_query_takes_the_nearest(
    case: tuple[list[RankDoc], list[list[float] | None]], query: list[float], size: int
) -> None:
    docs, found = case
    near = [(-similarity(vector, query), n) for n, vector in enumerate(found) if vector is not None]
    chosen = diversify(docs, found, query, 1.0, size)
    assert [doc.place for doc in chosen] == sorted(n for _, n in sorted(near)[:size])


def test_a_double_makes_room_for_another() -> None:
    found = [[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]]
    assert ids(diversify(window(3), found, [1.0, 0.1], 0.5, 2)) == "02"
    assert ids(diversify(window(3), found, [1.0, 0.1], 1.0, 2)) == "01"


def test_without_a_query_the_choice_begins_with_the_best() -> None:
    found = [None, [1.0, 0.0], [9.0, 0.0], [-1.0, 0.0]]
    assert ids(diversify(window(4), found, None, 0.5, 1)) == "1"
    assert ids(diversify(window(4), found, None, 0.5, 2)) == "13"


def test_the_first_is_the_nearest_even_if_only_difference_counts() -> None:
    assert ids(diversify(window(3), [[1.0], [3.0], [2.0]], [1.0], 0.0, 1)) == "1"


def test_negative_products_are_less_similar_the_further_they_are() -> None:
    assert math.isclose(similarity([1.0], [-3.0]), 0.25)
    assert ids(diversify(window(3), [[1.0], [-1.0], [-3.0]], None, 0.5, 2)) == "02"


def test_bytes() -> None:
    assert ids(diversify(window(3), [[127, 0], [127, 1], [-128, 0]], [127, 0], 0.1, 2)) == "02"


@pytest.mark.parametrize("found", [[], [None, None], [[], []]])
def test_without_vectors_nothing_is_chosen(found: list[list[float] | None]) -> None:
    assert diversify(window(len(found)), found, [1.0], 0.5, 2) == []


@pytest.mark.parametrize(
    ("found", "query", "dims"),
    [([[1.0, 2.0]], [1.0], "2!=1"), ([None, [1.0], [1.0, 2.0, 3.0]], None, "3!=1")],
)
def test_vectors_of_other_dimensions(
    found: list[list[float] | None], query: list[float] | None, dims: str
) -> None:
    with pytest.raises(ValueError, match=f"^vector dimensions differ: {dims}$"):
        diversify(window(len(found)), found, query, 0.5, 2)
