"""Interleaved orders: what is shown, and with which scores."""

from collections import Counter
from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.search.ranks.interleaving import falling, interleaved
from rerank_proxy.search.ranks.ranking import RankDoc, native_order, rank, searched
from rerank_proxy.search.ranks.scores import MIN_VALUE

scores = st.floats(0, width=32, allow_nan=False, allow_infinity=False)
raw = st.floats(-200, 200, width=32)


@given(st.lists(scores, max_size=30), st.integers(0, 40))
def test_scores_fall_and_stay_above_zero(given: list[float], count: int) -> None:
    found = falling(given, count)
    assert len(found) == count
    assert all(one > next_ for one, next_ in pairwise(found))
    assert all(each >= MIN_VALUE and float(np.float32(each)) == each for each in found)


@given(st.lists(scores.filter(lambda score: score > 1e-30), unique=True, min_size=1, max_size=30))
def test_different_scores_stay_what_they_are(given: list[float]) -> None:
    assert falling(given, len(given)) == sorted(given, reverse=True)


@st.composite
def windows(draw: st.DrawFn) -> tuple[list[RankDoc], list[RankDoc]]:
    """A window, and a reranker's order of those of its documents that have text."""
    size = draw(st.integers(0, 12))
    shards = draw(st.permutations(range(size)))
    window = [
        RankDoc("films", str(at), at, shards[at], 1.0, draw(st.sampled_from([None, "text"])))
        for at in range(size)
    ]
    texts = [doc for doc in window if doc.text is not None]
    values = draw(st.lists(raw, min_size=len(texts), max_size=len(texts)))
    return window, rank(texts, values, None)


@given(windows(), st.integers(0, 2**64))
def test_whatever_sorts_by_score_keeps_the_order(
    both: tuple[list[RankDoc], list[RankDoc]], coins: int
) -> None:
    window, own = both
    shown, teams = interleaved(own, window, coins)
    assert {doc.id for doc in shown} == {doc.id for doc in window}
    assert sorted(shown, key=native_order) == shown
    assert searched(shown, len(shown)) == shown
    assert {*teams} <= {(doc.index, doc.id) for doc in window}
    sizes = Counter(teams.values())
    assert sizes["own"] == sizes["other"], "neither has more to be clicked"
