"""Pinned documents stand above all others, in their own order."""

import struct
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.search.retrievers.pinned import MAX_ORGANIC_SCORE, capped, pin_scores
from rerank_proxy.xcontent.java_numbers import print_float


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
