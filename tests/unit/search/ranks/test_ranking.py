"""Which documents are kept, in which order, with which scores."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.search.ranks.ranking import RankDoc, has_open_ties, keep_order, rank, reaching
from rerank_proxy.search.ranks.scores import normalize

raw_scores = st.sampled_from([-200.0, -3.5, -1.0, 0.0, 0.5, 1.5, 1.5000001, 7.0]) | st.floats(
    -120, 20, width=32
)


def window(size: int, *, keys: list[int] | None = None, first: list[float] | None = None) -> list[RankDoc]:
    return [
        RankDoc(
            "films",
            str(place),
            place,
            shard_doc=keys[place] if keys else None,
            first_score=first[place] if first else 10.0 - place,
            text="text",
        )
        for place in range(size)
    ]


@st.composite
def ranked_windows(draw: st.DrawFn) -> tuple[list[RankDoc], list[float], float | None]:
    raw = draw(st.lists(raw_scores, max_size=12))
    keys = draw(st.lists(st.integers(0, 2**40), min_size=len(raw), max_size=len(raw), unique=True))
    return window(len(raw), keys=keys), raw, draw(st.none() | raw_scores)


@given(ranked_windows())
def test_ranking(case: tuple[list[RankDoc], list[float], float | None]) -> None:
    docs, raw, min_score = case
    ranked = rank(docs, raw, min_score)
    by_id = dict(zip((doc.id for doc in docs), raw, strict=True))
    # a subset of the window: the documents whose raw score passes, no other and none twice
    kept = [doc.id for doc in docs if min_score is None or np.float32(by_id[doc.id]) >= np.float32(min_score)]
    assert sorted(doc.id for doc in ranked) == sorted(kept)
    # scored by the float32 normaliser
    assert [doc.score for doc in ranked] == [float(normalize([by_id[doc.id]])[0]) for doc in ranked]
    # by score, then shard, then doc
    assert [(-doc.score, doc.shard_doc) for doc in ranked] == sorted(
        (-doc.score, doc.shard_doc) for doc in ranked
    )
    # the final search's `min_score` is implied
    assert min_score is None or all(doc.score >= min_score for doc in ranked)


@pytest.mark.parametrize(
    ("min_score", "kept"),
    [(None, "0123"), (0.0, "012"), (1.5, "01"), (1.6, "0"), (-2.0, "0123"), (float("nan"), "")],
)
def test_min_score_is_compared_with_the_raw_score(min_score: float | None, kept: str) -> None:
    docs = window(4, keys=[1, 2, 3, 4])
    assert "".join(doc.id for doc in rank(docs, [7.0, 1.5, 0.5, -1.0], min_score)) == kept


@given(st.integers(0, 20), st.none() | st.floats(-1, 2, width=32))
def test_keeping_the_order(size: int, min_score: float | None) -> None:
    kept = reaching(keep_order(window(size)), min_score)
    assert [doc.place for doc in kept] == list(range(len(kept)))
    assert [doc.score for doc in kept] == [float(np.float32(1) / np.float32(n + 1)) for n in range(len(kept))]
    assert all(min_score is None or doc.score >= min_score for doc in kept)
    if len(kept) < size:
        assert min_score is not None
        assert np.float32(1) / np.float32(len(kept) + 1) < min_score


def test_ties_that_only_a_point_in_time_can_order() -> None:
    docs = window(5, first=[5.0, 4.0, 4.0, 2.0, 1.0])
    tied = rank(docs, [1.0, 2.0, 2.0, 0.0, 0.0], None)
    assert [doc.id for doc in tied] == ["1", "2", "0", "3", "4"]
    assert not has_open_ties(tied, 0, 3)  # 1 and 2 were equal before: they stand in native order
    assert has_open_ties(tied, 0, 4)
    assert has_open_ties(tied, 4, 5)
    assert not has_open_ties(tied, 5, 9)
    assert not has_open_ties([], 0, 10)


def test_with_shard_and_doc_every_tie_is_ordered() -> None:
    docs = window(3, keys=[9, 5, 7])
    tied = rank(docs, [1.0, 1.0, 1.0], None)
    assert [doc.id for doc in tied] == ["1", "2", "0"]
    assert not has_open_ties(tied, 0, 3)


def test_scores_that_round_to_the_same_float_are_ties() -> None:
    """x + 1 loses digits: two different raw scores can be one float32."""
    docs = window(2, first=[2.0, 1.0])
    assert has_open_ties(rank(docs, [1e-9, 2e-9], None), 0, 2)
    assert has_open_ties(rank(docs, [-150.0, -160.0], None), 0, 2)
    assert not has_open_ties(rank(docs, [0.1, 0.2], None), 0, 2)


@given(
    st.lists(st.tuples(st.sampled_from([1.0, 2.0, 3.0]), st.sampled_from([None, 4.0, 5.0])), max_size=7),
    st.integers(0, 8),
    st.integers(1, 8),
)
def test_a_tie_is_open_where_equals_on_the_page_may_stand_either_way(
    scores: list[tuple[float, float | None]], start: int, size: int
) -> None:
    scores.sort(key=lambda pair: -pair[0])
    ranked = [
        RankDoc("films", str(place), place, first_score=first, score=score)
        for place, (score, first) in enumerate(scores)
    ]
    on_page = {score for score, _ in scores[start : start + size]}
    groups = [[first for each, first in scores if each == score] for score in on_page]
    expected = any(len(group) > 1 and (None in group or len({*group}) > 1) for group in groups)
    assert has_open_ties(ranked, start, start + size) == expected


@given(ranked_windows(), st.integers(0, 12), st.integers(0, 12))
def test_settled_pages_are_the_native_order(
    case: tuple[list[RankDoc], list[float], float | None], start: int, size: int
) -> None:
    """If no tie is open, the order without shard and doc is the same as with them."""
    docs, raw, min_score = case
    docs.sort(key=lambda doc: doc.shard_doc or 0)  # equal first scores come in this order
    known = [
        RankDoc(doc.index, doc.id, place, doc.shard_doc, 1.0, doc.text) for place, doc in enumerate(docs)
    ]
    unknown = [RankDoc(doc.index, doc.id, doc.place, None, 1.0, doc.text) for doc in known]
    ranked = rank(unknown, raw, min_score)
    assert not has_open_ties(ranked, start, start + size)
    assert [doc.id for doc in ranked] == [doc.id for doc in rank(known, raw, min_score)]
