"""Pinned documents stand above all others, in their own order."""

import struct
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.search.retrievers.pinned import (
    MAX_ORGANIC_SCORE,
    PinnedDoc,
    PinnedRetriever,
    capped,
    pin_scores,
)
from rerank_proxy.xcontent.java_numbers import print_float
from tests.support.retrievers import BASE, FILTERS, chain, pinned, read, refusal, texts
from tests.support.searches import STANDARD


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


class TestPinned:
    def test_every_key(self) -> None:
        retriever = read(pinned(ids=["b", "a", 1, True], rank_window_size=3, **BASE))
        assert isinstance(retriever, PinnedRetriever)
        assert [doc.id for doc in retriever.docs] == ["b", "a", "1", "true"]
        assert (retriever.key, retriever.rank_window_size) == ("ids", 3)
        assert (retriever.filters, retriever.name) == (FILTERS, "n")

    def test_docs(self) -> None:
        docs = [{"_id": "1", "_index": "i"}, {"_id": "2"}]
        retriever = read({"pinned": {"docs": docs, "retriever": STANDARD}})
        assert isinstance(retriever, PinnedRetriever)
        assert retriever.docs == (PinnedDoc(id="1", index="i"), PinnedDoc(id="2"))
        assert retriever.key == "docs"

    def test_many_ids(self) -> None:
        ids = [f'{number} "," ]' for number in range(30)]
        retriever = read(pinned(ids=ids))
        assert isinstance(retriever, PinnedRetriever)
        assert [doc.id for doc in retriever.docs] == ids

    @pytest.mark.parametrize(
        ("options", "reason"),
        [
            ({"ids": ["1"], "docs": []}, "Both 'ids' and 'docs' cannot be specified at the same time"),
            ({"ids": []}, "Either 'ids' or 'docs' must be provided and non-empty for pinned retriever"),
            ({"docs": []}, "Either 'ids' or 'docs' must be provided and non-empty for pinned retriever"),
            ({}, "Either 'ids' or 'docs' must be provided and non-empty for pinned retriever"),
        ],
    )
    def test_one_of_ids_and_docs(self, options: dict[str, Any], reason: str) -> None:
        assert chain(refusal({"pinned": {"retriever": STANDARD, **options}})) == [
            ("parsing_exception", "Failed to build [pinned] after last required field arrived"),
            ("x_content_parse_exception", "Failed to build [pinned] after last required field arrived"),
            ("illegal_argument_exception", reason),
        ]

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({"ids": [None]}, "Expected text at 1:52 but found VALUE_NULL"),
            ({"ids": [[]]}, "expected value but got [START_ARRAY]"),
            ({"docs": [{}]}, "Required [_id]"),
            ({"docs": {"_index": "i"}}, "Required [_id]"),
            ({"docs": ["x"]}, "[item] Expected START_OBJECT but was: VALUE_STRING"),
            ({"docs": [{"_id": "1", "_index": "a*"}]}, "Item index cannot contain wildcard expressions"),
        ],
    )
    def test_bad_lists(self, options: dict[str, Any], expected: str) -> None:
        assert texts(refusal({"pinned": {"retriever": {"standard": {}}, **options}}))[-1] == expected
