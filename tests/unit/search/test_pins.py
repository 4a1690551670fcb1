"""Pinned documents stand above all others, in their own order."""

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.search.pins import MAX_ORGANIC_SCORE, capped, merge, pin_scores
from proxy.search.ranking import RankDoc
from proxy.search.scores import print_float


def doc(id_: str, score: float = 0.0, shard_doc: int | None = None, index: str = "films") -> RankDoc:
    return RankDoc(index, id_, 0, ord(id_[0]) if shard_doc is None else shard_doc, None, "text", score)


def shown(docs: list[RankDoc]) -> list[tuple[str, float]]:
    return [(doc.id, doc.score) for doc in docs]


@pytest.mark.parametrize(
    ("count", "scores"),
    [
        (0, []),
        (1, [b"1.7014122E38"]),
        (2, [b"1.7014124E38", b"1.7014122E38"]),
        (3, [b"1.7014126E38", b"1.7014124E38", b"1.7014122E38"]),
    ],
)
def test_scores(count: int, scores: list[bytes]) -> None:
    assert [print_float(score) for score in pin_scores(count)] == scores


@given(st.integers(1, 100), st.data())
def test_scores_are_the_bit_patterns(count: int, data: st.DataObject) -> None:
    position = data.draw(st.integers(0, count - 1))
    (bits,) = struct.unpack(">I", struct.pack(">f", pin_scores(count)[position]))
    assert bits == 0x7F000001 + (count - position)


@given(st.integers(2, 100))
def test_scores_descend_above_every_other(count: int) -> None:
    scores = pin_scores(count)
    assert all(one > next_ for one, next_ in pairwise(scores))
    assert scores[-1] > MAX_ORGANIC_SCORE


@pytest.mark.parametrize(
    ("score", "kept"), [(0.0, 0.0), (7.25, 7.25), (2.0**127, 2.0**127), (3.4e38, 2.0**127)]
)
def test_capped(score: float, kept: float) -> None:
    assert capped(score) == kept


def test_the_limit_prints_as_native_prints_it() -> None:
    assert print_float(MAX_ORGANIC_SCORE) == b"1.7014118E38"


class TestMerge:
    def test_pins_stand_first_in_their_order(self) -> None:
        merged = merge([(1, doc("b")), (0, doc("c"))], 2, [doc("a", 9.0), doc("d", 3.0)], 10)
        first, second = pin_scores(2)
        assert shown(merged) == [("c", first), ("b", second), ("a", 9.0), ("d", 3.0)]
        assert [doc.place for doc in merged] == [0, 1, 2, 3]

    def test_a_pin_that_the_child_found_too_appears_once(self) -> None:
        merged = merge([(0, doc("d"))], 1, [doc("a", 9.0), doc("d", 3.0)], 10)
        assert shown(merged) == [("d", pin_scores(1)[0]), ("a", 9.0)]

    def test_pins_that_are_not_found_leave_the_others_their_scores(self) -> None:
        assert shown(merge([(2, doc("c"))], 3, [], 10)) == [("c", pin_scores(3)[2])]

    def test_the_window_includes_the_pins(self) -> None:
        organic = [doc("a", 9.0), doc("d", 3.0)]
        assert shown(merge([(0, doc("c"))], 1, organic, 2)) == [("c", pin_scores(1)[0]), ("a", 9.0)]
        assert shown(merge([(0, doc("c")), (1, doc("b"))], 2, organic, 1)) == [("c", pin_scores(2)[0])]

    def test_one_pin_may_find_a_document_in_each_index(self) -> None:
        merged = merge([(0, doc("x", 0, 9, "films")), (0, doc("x", 0, 4, "books"))], 1, [], 10)
        assert [(doc.index, doc.score) for doc in merged] == [
            ("books", pin_scores(1)[0]), ("films", pin_scores(1)[0]),
        ]  # fmt: skip

    def test_of_two_pins_for_one_document_the_first_counts(self) -> None:
        for pins in ([(0, doc("c")), (1, doc("c"))], [(1, doc("c")), (0, doc("c"))]):
            assert shown(merge(pins, 2, [], 10)) == [("c", pin_scores(2)[0])]

    def test_capped_scores_are_equal(self) -> None:
        merged = merge([], 1, [doc("b", 3e38, 8), doc("a", 2e38, 7), doc("c", 1.0, 1)], 10)
        assert shown(merged) == [("a", MAX_ORGANIC_SCORE), ("b", MAX_ORGANIC_SCORE), ("c", 1.0)]

    @given(
        st.lists(st.sampled_from("abcdefgh"), unique=True),
        st.lists(st.sampled_from("abcdefgh"), unique=True),
        st.integers(0, 10),
    )
    def test_is_the_pins_and_then_the_rest(self, pins: list[str], organic: list[str], window: int) -> None:
        found = [(position, doc(id_)) for position, id_ in enumerate(pins)]
        ranked = [doc(id_, 50.0 - place) for place, id_ in enumerate(organic)]
        expected = pins + [id_ for id_ in organic if id_ not in pins]
        assert [doc.id for doc in merge(found, len(pins), ranked, window)] == expected[:window]
