"""What `rrf` accepts."""

from typing import Any

import pytest

from rerank_proxy.search.retrievers.knn import KnnRetriever
from rerank_proxy.search.retrievers.rrf import RrfRetriever
from rerank_proxy.search.retrievers.standard import StandardRetriever
from tests.support.retrievers import (
    BASE,
    FILTERS,
    chain,
    read,
    refusal,
    rrf,
)
from tests.support.searches import KNN, STANDARD


class TestRrf:
    def test_every_key(self) -> None:
        retriever = read(
            rrf(
                STANDARD, {"retriever": KNN, "weight": "2.5"}, rank_constant="20", rank_window_size=30, **BASE
            )
        )
        assert isinstance(retriever, RrfRetriever)
        assert [type(child) for child in retriever.children] == [StandardRetriever, KnnRetriever]
        assert [component.weight for component in retriever.components] == [1.0, 2.5]
        assert (retriever.rank_constant, retriever.rank_window_size) == (20, 30)
        assert (retriever.query, retriever.fields) == (None, None)
        assert (retriever.filters, retriever.name) == (FILTERS, "n")

    def test_defaults(self) -> None:
        retriever = read({"rrf": {}})
        assert isinstance(retriever, RrfRetriever)
        assert (retriever.components, retriever.rank_constant, retriever.rank_window_size) == ((), 60, 10)

    def test_one_child_needs_no_array(self) -> None:
        retriever = read({"rrf": {"retrievers": STANDARD}})
        assert isinstance(retriever, RrfRetriever)
        assert len(retriever.children) == 1

    @pytest.mark.parametrize(("fields", "expected"), [(["a^2", "b"], ("a^2", "b")), ("a", ("a",)), ([], ())])
    def test_the_simplified_form(self, fields: Any, expected: tuple[str, ...]) -> None:
        retriever = read({"rrf": {"query": "a question", "fields": fields}})
        assert isinstance(retriever, RrfRetriever)
        assert (retriever.query, retriever.fields) == ("a question", expected)

    @pytest.mark.parametrize(
        ("component", "type_", "reason"),
        [
            ("x", "parsing_exception", "expected object but found [VALUE_STRING]"),
            (None, "parsing_exception", "expected object but found [VALUE_NULL]"),
            ([], "illegal_state_exception", "expected value but got [START_ARRAY]"),
            ({}, "parsing_exception", "retriever component must contain a retriever"),
            ({"weight": 1}, "parsing_exception", "retriever component must contain a retriever"),
            (
                {"retriever": STANDARD, "x": 1},
                "parsing_exception",
                "unknown field [x], expected [retriever] or [weight]",
            ),
            ({"retriever": []}, "parsing_exception", "retriever must be an object"),
            ({"retriever": {}}, "named_object_not_found_exception", "[1:40] unknown field [retriever]"),
            ({"retriever": {"x": {}}}, "named_object_not_found_exception", "[1:40] unknown field [x]"),
            ({"x": {}}, "named_object_not_found_exception", "[1:26] unknown field [x]"),
            ({**STANDARD, "weight": 1}, "parsing_exception", "unknown field [weight] after retriever"),
            (
                {"retriever": STANDARD, "weight": -0.1},
                "illegal_argument_exception",
                "[weight] must be non-negative, found [-0.1]",
            ),
            ({"retriever": STANDARD, "weight": "x"}, "number_format_exception", 'For input string: "x"'),
            ({"standard": {"a": 1}}, "x_content_parse_exception", "[1:39] [standard] unknown field [a]"),
            (
                {"standard": 1},
                "x_content_parse_exception",
                "[1:38] [standard] Expected START_OBJECT but was: VALUE_NUMBER",
            ),
        ],
    )  # fmt: skip
    def test_bad_components(self, component: Any, type_: str, reason: str) -> None:
        found = chain(refusal(rrf(component)))
        assert found[0][1].endswith("] [rrf] failed to parse field [retrievers]")
        assert found[1:] == [(type_, reason)]

    @pytest.mark.parametrize(
        ("weight", "token"), [(True, "VALUE_TRUE"), (None, "VALUE_NULL"), ([1], "START_ARRAY")]
    )
    def test_weights_of_another_type(self, weight: Any, token: str) -> None:
        found = chain(refusal(rrf({"weight": weight, "retriever": STANDARD})))
        assert found[0][1] == "[1:36] [rrf] failed to parse field [retrievers]"
        assert found[-1][0] == "json_parse_exception"
        assert found[-1][1].startswith(
            f"Current token ({token}) not numeric, can not use numeric value accessors\n"
        )
