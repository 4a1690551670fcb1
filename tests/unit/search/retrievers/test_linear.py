"""What `linear` accepts."""

from typing import Any

import pytest

from rerank_proxy.search.retrievers.fusing import Component
from rerank_proxy.search.retrievers.linear import LinearRetriever
from tests.support.retrievers import (
    BASE,
    FILTERS,
    chain,
    linear,
    read,
    refusal,
    texts,
)
from tests.support.searches import KNN, STANDARD


class TestLinear:
    def test_every_key(self) -> None:
        components = [{"retriever": STANDARD, "weight": 2, "normalizer": "L2_Norm"}, {"retriever": KNN}]
        retriever = read(linear(*components, rank_window_size=30, normalizer="MinMax", **BASE))
        assert isinstance(retriever, LinearRetriever)
        first, second = retriever.components
        assert (first.weight, first.normalizer, second.weight, second.normalizer) == (
            2.0,
            "l2_norm",
            1.0,
            "minmax",
        )
        assert (retriever.rank_window_size, retriever.normalizer) == (30, "minmax")
        assert (retriever.filters, retriever.min_score, retriever.name) == (FILTERS, 0.5, "n")

    def test_defaults(self) -> None:
        retriever = read(linear(STANDARD))
        assert isinstance(retriever, LinearRetriever)
        (component,) = retriever.components
        assert component == Component(retriever=retriever.children[0], weight=1.0, normalizer="none")
        assert retriever.normalizer is None

    def test_the_simplified_form(self) -> None:
        retriever = read({"linear": {"query": "q", "fields": ["a"], "normalizer": "none"}})
        assert isinstance(retriever, LinearRetriever)
        assert (retriever.query, retriever.fields, retriever.normalizer) == ("q", ("a",), "none")

    def test_unknown_normalizers(self) -> None:
        assert chain(refusal(linear({"retriever": STANDARD, "normalizer": "x"})))[1:] == [
            ("x_content_parse_exception", "[1:111] [retriever-component] failed to parse field [normalizer]"),
            ("illegal_argument_exception", "Unknown normalizer [x]"),
        ]
        assert chain(refusal(linear(STANDARD, normalizer="x"))) == [
            ("x_content_parse_exception", "Failed to build [linear] after last required field arrived"),
            ("illegal_argument_exception", "Unknown normalizer [x]"),
        ]

    @pytest.mark.parametrize(
        ("component", "expected"),
        [
            ("x", ["[retriever-component] Expected START_OBJECT but was: VALUE_STRING"]),
            ({}, ["Required [retriever]"]),
            (STANDARD, ["[retriever-component] unknown field [standard]"]),
            (
                {"retriever": STANDARD, "weight": True},
                ["[retriever-component] weight doesn't support values of type: VALUE_BOOLEAN"],
            ),
            (
                {"retriever": STANDARD, "weight": -1},
                [
                    "Failed to build [retriever-component] after last required field arrived",
                    "[weight] must be non-negative",
                ],
            ),
            (
                {"retriever": STANDARD, "normalizer": "none", "weight": -1},
                [
                    "[retriever-component] failed to parse field [weight]",
                    "Failed to build [retriever-component] after last required field arrived",
                    "[weight] must be non-negative",
                ],
            ),
        ],
    )
    def test_bad_components(self, component: Any, expected: list[str]) -> None:
        found = texts(refusal({"linear": {"retrievers": [component]}}))
        assert found == ["[linear] failed to parse field [retrievers]", *expected]
