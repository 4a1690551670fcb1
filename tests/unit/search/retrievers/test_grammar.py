"""Every retriever at every depth: its keys, their types and defaults, and native's error messages."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.search.language.grammar import parse_retriever
from rerank_proxy.search.retrievers.compound import CompoundRetriever
from rerank_proxy.search.retrievers.grammar import MAX_NESTED_DEPTH
from rerank_proxy.search.retrievers.retriever import LeafRetriever
from rerank_proxy.xcontent.faults import ParseError
from rerank_proxy.xcontent.source import parse
from tests.support.retrievers import (
    BASE,
    FILTERS,
    RESCORE,
    chain,
    diversify,
    linear,
    pinned,
    read,
    refusal,
    rescorer,
    rrf,
    rule,
    texts,
)
from tests.support.searches import KNN, RERANKER, STANDARD, reranking

RERANKING = reranking()["retriever"]


class TestTop:
    @pytest.mark.parametrize("name", [RERANKER, "rrf", "rescorer", "standard"])
    @pytest.mark.parametrize("value", [1, "x", None, []])
    def test_not_an_object(self, name: str, value: Any) -> None:
        cause = refusal({name: value})
        assert cause.type == "parsing_exception"
        assert cause.reason == f"[{name}] retriever malformed, no [START_OBJECT] after retriever name"
        assert cause.metadata == {"line": 1, "col": len(name) + 6}

    def test_two_names(self) -> None:
        for retriever, first in (
            ({**RERANKING, **STANDARD}, RERANKER),
            ({**STANDARD, **RERANKING}, "standard"),
        ):
            cause = refusal(retriever)
            assert cause.type == "parsing_exception"
            assert (
                cause.reason == f"[{first}] malformed retriever, expected [END_OBJECT] but found [FIELD_NAME]"
            )

    def test_an_unknown_name(self) -> None:
        cause = refusal({"rescrer": reranking()})
        assert cause.reason == "unknown retriever [rescrer] did you mean [rescorer]?"
        assert cause.root_causes() == [cause]
        assert chain(cause)[1] == ("named_object_not_found_exception", "[1:13] unknown field [rescrer]")

    def test_the_first_fault_in_the_text_counts(self) -> None:
        assert "unknown field [a]" in refusal({"standard": {"a": 1}, "knn": {"b": 1}}).reason


TOO_DEEP = (
    "retriever_nesting_depth_exceeded_exception",
    "The nested depth of the [retriever] exceeds the maximum nested depth of [16] for retrievers",
)
PARENTS: dict[str, Callable[[Any], dict[str, Any]]] = {
    RERANKER: lambda child: dict(reranking(child)["retriever"]),
    "rescorer": rescorer,
    "diversify": diversify,
    "pinned": pinned,
    "rule": rule,
    "rrf": lambda child: rrf(STANDARD, child),
    "rrf with weights": lambda child: rrf({"weight": 2, "retriever": child}),
    "linear": lambda child: linear(STANDARD, {"retriever": child}),
}


def nested(levels: int, innermost: Any = STANDARD, parent: str = "rescorer") -> Any:
    """Return a tree of retrievers that are nested to a depth."""
    for _ in range(levels - 1):
        innermost = PARENTS[parent](innermost)
    return innermost


def refused(retriever: Any) -> tuple[str, str]:
    with pytest.raises(ElasticsearchError) as raised:
        read(retriever)
    assert raised.value.status == 400
    assert raised.value.cause.root_causes() == [raised.value.cause]
    ((type_, reason),) = chain(raised.value)
    return type_, reason


class TestDepth:
    """Beyond the limit nothing else counts, and parents do not repeat it (live tests compare `rescorer`)."""

    @pytest.mark.parametrize("parent", PARENTS)
    def test_sixteen_levels_are_read_and_no_more(self, parent: str) -> None:
        assert len({*read(nested(MAX_NESTED_DEPTH, parent=parent)).walk()}) >= MAX_NESTED_DEPTH
        assert refused(nested(MAX_NESTED_DEPTH + 1, parent=parent)) == TOO_DEEP

    @pytest.mark.parametrize("inner", PARENTS)
    @pytest.mark.parametrize("outer", PARENTS)
    def test_any_in_any(self, outer: str, inner: str) -> None:
        for below in (1, 8, 15):
            tree = nested(MAX_NESTED_DEPTH + 2 - below, nested(below, parent=inner), outer)
            assert refused(tree) == TOO_DEEP

    @pytest.mark.parametrize("parent", PARENTS)
    @pytest.mark.parametrize(
        "innermost", [{"standard": {"foo": 1}}, {"standrd": {}}, {"knn": 1}, {}, {**STANDARD, **KNN}]
    )
    def test_it_comes_before_what_is_wrong_with_the_retriever(self, parent: str, innermost: Any) -> None:
        assert refused(nested(MAX_NESTED_DEPTH + 1, innermost, parent)) == TOO_DEEP

    @pytest.mark.parametrize("innermost", [[], "x", None, 1])
    def test_what_is_not_an_object_is_not_a_level(self, innermost: Any) -> None:
        assert refusal(nested(MAX_NESTED_DEPTH + 1, innermost)).type == "parsing_exception"

    def test_what_stands_before_it_in_the_text_comes_first(self) -> None:
        deep = nested(MAX_NESTED_DEPTH)
        before = {"foo": 1, "retriever": deep, "rescore": RESCORE}
        assert "unknown field [foo]" in texts(refusal({"rescorer": before}))[0]
        after = {"rescore": RESCORE, "retriever": deep, "foo": 1}
        assert refused({"rescorer": after}) == TOO_DEEP

    def test_a_fault_of_the_text_counts_only_if_it_comes_first(self) -> None:
        text = json.dumps(nested(MAX_NESTED_DEPTH + 1, {"standard": "HERE"})).encode()
        for broken in (b"nul", b"", b"'"):
            with pytest.raises(ParseError):
                parse_retriever(parse(text.replace(b'"HERE"', broken)))
        with pytest.raises(ElasticsearchError) as raised:
            parse_retriever(parse(text.replace(b'"HERE"', b"{,")))
        assert chain(raised.value) == [TOO_DEEP]

    def test_at_any_depth(self) -> None:
        tree = json.dumps(STANDARD).encode()
        for _ in range(2_000):
            tree = b'{"rescorer":{"retriever":%s}}' % tree
        with pytest.raises(ElasticsearchError) as raised:
            parse_retriever(parse(tree))
        assert chain(raised.value) == [TOO_DEEP]


class TestChildren:
    @pytest.mark.parametrize(
        ("child", "expected"),
        [
            ({"standrd": {}}, ["failed to parse field [standrd]", "unknown field [standrd]"]),
            ({}, ["failed to parse field [retriever]", "unknown field [retriever]"]),
        ],
    )
    def test_unknown_and_empty(self, child: Any, expected: list[str]) -> None:
        cause = refusal(diversify(child))
        assert [type_ for type_, _ in chain(cause)] == [
            "x_content_parse_exception",
            "x_content_parse_exception",
            "named_object_not_found_exception",
        ]
        assert {reason.partition("]")[0] for _, reason in chain(cause)} == {"[1:30"}
        assert texts(cause)[0] == "[diversify] failed to parse field [retriever]"
        assert [text.removeprefix("[retriever] ") for text in texts(cause)[1:]] == expected
        assert [root.type for root in cause.root_causes()] == ["named_object_not_found_exception"]

    def test_positions_are_where_the_parser_stood(self) -> None:
        assert chain(refusal(diversify({"standard": {"querry": 1}}))) == [
            ("x_content_parse_exception", "[1:53] [diversify] failed to parse field [retriever]"),
            ("x_content_parse_exception", "[1:53] [retriever] failed to parse field [standard]"),
            ("x_content_parse_exception", "[1:43] [standard] unknown field [querry] did you mean [query]?"),
        ]

    def test_a_child_that_is_not_an_object(self) -> None:
        assert texts(refusal(reranking({"knn": [1]})["retriever"])) == [
            f"[{RERANKER}] failed to parse field [retriever]",
            "[retriever] failed to parse field [knn]",
            "[knn] Expected START_OBJECT but was: START_ARRAY",
        ]

    def test_the_parent_reports_two_names(self) -> None:
        both = {**STANDARD, **KNN}
        assert texts(refusal(reranking(both)["retriever"])) == [
            "parser for [retriever] did not end on END_OBJECT"
        ]
        assert texts(refusal(diversify(diversify(both)))) == [
            "[diversify] failed to parse field [retriever]",
            "[retriever] failed to parse field [diversify]",
            "parser for [retriever] did not end on END_OBJECT",
        ]
        assert texts(refusal(linear(both))) == [
            "[linear] failed to parse field [retrievers]",
            "parser for [retriever] did not end on END_OBJECT",
        ]

    @pytest.mark.parametrize("wrap", [rescorer, pinned, rule])
    def test_some_repeat_the_fault_inside(self, wrap: Any) -> None:
        name = next(iter(wrap()))
        cause = refusal(wrap({"standard": {"a": 1}}))
        assert [type_ for type_, _ in chain(cause)] == [
            "parsing_exception",
            *["x_content_parse_exception"] * 3,
        ]
        assert chain(cause)[0][1] == chain(cause)[1][1]
        assert texts(cause)[1] == f"[{name}] failed to parse field [retriever]"
        line, column = cause.metadata["line"], cause.metadata["col"]
        assert cause.reason.startswith(f"[{line}:{column}] ")
        assert cause.root_causes() == [cause]

    @pytest.mark.parametrize("wrap", [diversify, linear, rrf, lambda child: reranking(child)["retriever"]])
    def test_others_do_not(self, wrap: Any) -> None:
        cause = refusal(wrap({"standard": {"a": 1}}))
        assert {type_ for type_, _ in chain(cause)} == {"x_content_parse_exception"}
        assert texts(cause)[-1] == "[standard] unknown field [a]"

    def test_any_may_stand_in_any(self) -> None:
        tree = read(rescorer(pinned(rule(diversify(rrf(linear(reranking(KNN)["retriever"]), STANDARD))))))
        assert [each.TYPE for each in tree.walk()] == [
            "rescorer", "pinned", "rule", "diversify", "rrf", "linear", RERANKER, "knn", "standard",
        ]  # fmt: skip


@pytest.mark.parametrize(
    ("tree", "min_score", "name"),
    [
        (rescorer(**BASE), None, "n"),
        (pinned(**BASE), None, "n"),
        (rule(**BASE), None, "n"),
        (rrf(STANDARD, **BASE), None, "n"),
        (diversify(**BASE), None, None),
        (linear(STANDARD, **BASE), 0.5, "n"),
        (reranking(**BASE)["retriever"], 0.5, "n"),
    ],
)
def test_what_elasticsearch_ignores(tree: Any, min_score: float | None, name: str | None) -> None:
    retriever = read(tree)
    assert (retriever.filters, retriever.min_score, retriever.name) == (FILTERS, min_score, name)


_JUNK: st.SearchStrategy[Any] = st.sampled_from(
    [None, True, 0, -1, 2.5, "", "x", [], {}, [1], ["x"], [{}], {"a": 1}, 10**12]
)
_LEAVES = st.sampled_from([STANDARD, KNN])


def _around(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    key = st.sampled_from(
        ["filter", "_name", "rank_window_size", "query", "ids", "normalizer", "size", "foo"]
    )
    build = st.sampled_from(
        [
            rescorer,
            diversify,
            pinned,
            rule,
            rrf,
            linear,
            lambda child, **o: reranking(child, **o)["retriever"],
        ]
    )
    return st.builds(lambda build, child, options: build(child, **options), build,
                     inner, st.dictionaries(key, _JUNK, max_size=2))  # fmt: skip


@given(st.recursive(_LEAVES | _JUNK.map(lambda junk: {"standard": junk}), _around, max_leaves=6))
def test_any_tree_is_read_or_refused(tree: Any) -> None:
    try:
        retriever = read(tree)
    except ParseError as failure:
        assert failure.status == 400  # noqa: PT017  # either outcome is right, no other is
    else:
        assert isinstance(retriever, CompoundRetriever | LeafRetriever)
        assert next(iter(tree)) == retriever.TYPE
