"""What `rescorer` accepts."""

import json
from typing import Any

import pytest

from rerank_proxy.search.retrievers.rescorer import RescorerRetriever
from rerank_proxy.search.retrievers.standard import StandardRetriever
from tests.support.retrievers import (
    BASE,
    FILTERS,
    RESCORE,
    chain,
    read,
    refusal,
    rescorer,
    texts,
    window,
)
from tests.support.searches import STANDARD


class TestRescorer:
    def test_every_key(self) -> None:
        retriever = read(rescorer(rescore=[window("7"), window(5.9)], **BASE))
        assert isinstance(retriever, RescorerRetriever)
        assert isinstance(retriever.child, StandardRetriever)
        assert [json.loads(each) for each in retriever.rescore] == [window("7"), window(5.9)]
        assert (retriever.rank_window_size, retriever.WINDOW_KEY) == (5, "window_size")
        assert (retriever.filters, retriever.name) == (FILTERS, "n")

    @pytest.mark.parametrize(
        ("rescore", "size"), [(RESCORE, 10), ([window(20), RESCORE], 10), (window(20), 20), (window(-1), -1)]
    )
    def test_the_smallest_window_counts(self, rescore: Any, size: int) -> None:
        retriever = read(rescorer(rescore=rescore))
        assert isinstance(retriever, RescorerRetriever)
        assert retriever.rank_window_size == size

    def test_missing_keys(self) -> None:
        assert chain(refusal({"rescorer": {}})) == [
            ("parsing_exception", "Required [retriever, rescore]"),
            ("illegal_argument_exception", "Required [retriever, rescore]"),
        ]

    def test_no_rescorer(self) -> None:
        expected = [
            "Failed to build [rescorer] after last required field arrived",
            "Missing rescore definition",
        ]
        assert texts(refusal(rescorer(rescore=[])))[2:] == expected
        reversed_ = {"rescorer": {"rescore": [], "retriever": STANDARD}}
        assert texts(refusal(reversed_))[1:] == ["[rescorer] failed to parse field [retriever]", *expected]
