"""Rows laid end to end, and padded again."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.engine.rows import UNSCORED, UNSEEN, Batch, Row

id_lists = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=6), min_size=1, max_size=5)


def batch(lists: list[list[int]]) -> Batch:
    return Batch.of(
        [Row(np.array(ids, np.int32), np.array([each % 2 for each in ids], np.uint8), False) for ids in lists]
    )


@given(id_lists)
def test_padding_keeps_every_row(lists: list[list[int]]) -> None:
    ids, type_ids, mask = batch(lists).padded(pad_id=0)
    for row, expected in enumerate(lists):
        assert ids[row][mask[row]].tolist() == expected
        assert type_ids[row][mask[row]].tolist() == [each % 2 for each in expected]
    assert not ids[~mask].any()
    assert mask.shape == (len(lists), max(map(len, lists)))
    assert ids.size == batch(lists).padded_tokens


@given(id_lists)
def test_halves_make_the_whole(lists: list[list[int]]) -> None:
    whole = batch(lists)
    first, second = whole.split()
    assert len(first) + len(second) == len(whole)
    assert np.concatenate([first.ids, second.ids]).tolist() == whole.ids.tolist()
    assert first.lengths.sum() == first.tokens
    assert second.lengths.sum() == second.tokens


@given(id_lists, st.data())
def test_marks_stay_with_their_tokens(lists: list[list[int]], data: st.DataObject) -> None:
    """Here a token is marked by what it is, so that it shows whose marks are whose."""
    numbers = [np.array(each, np.uint8) for each in lists]
    whole = Batch.of([Row(each.astype(np.int32), each, False, each % 4) for each in numbers])
    kept = data.draw(st.lists(st.booleans(), min_size=len(lists), max_size=len(lists)))
    for part in (whole, *whole.split(), whole.chosen(np.array(kept))):
        assert part.marked(UNSEEN).tolist() == [bool(each & UNSEEN) for each in part.ids.tolist()]
        assert part.marked(UNSCORED).tolist() == [bool(each & UNSCORED) for each in part.ids.tolist()]
    odd = [sum(each % 2 for each in ids) for ids in lists]
    assert whole.sums(whole.marked(UNSEEN)).tolist() == odd


@given(id_lists)
def test_rows_without_marks_have_none(lists: list[list[int]]) -> None:
    assert batch(lists).marks is None
    assert not batch(lists).marked(UNSEEN | UNSCORED).any()
