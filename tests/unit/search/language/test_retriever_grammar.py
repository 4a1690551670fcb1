"""Every retriever at every depth: its keys, their types and defaults, and native's complaints."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.search.language.raw_tree import MAX_NESTED_DEPTH
from rerank_proxy.search.language.retriever_grammar import parse_retriever
from rerank_proxy.search.language.retrievers import (
    Component,
    CompoundRetriever,
    DiversifyRetriever,
    KnnRetriever,
    LeafRetriever,
    LinearRetriever,
    PinnedDoc,
    PinnedRetriever,
    RescorerRetriever,
    RrfRetriever,
    RuleRetriever,
    StandardRetriever,
    TextSimilarityReranker,
    walk,
)
from rerank_proxy.xcontent.faults import ParseError
from rerank_proxy.xcontent.source import parse
from tests.support.retrievers import (
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
    window,
)
from tests.support.searches import KNN, RERANKER, STANDARD, reranking

RERANKING = reranking()["retriever"]
BASE: dict[str, Any] = {"filter": {"term": {"a": 1}}, "min_score": "0.5", "_name": "n"}
FILTERS = (b'{"term": {"a": 1}}',)


class TestReranker:
    def test_defaults(self) -> None:
        retriever = read(RERANKING)
        assert isinstance(retriever, TextSimilarityReranker)
        assert (retriever.inference_id, retriever.rank_window_size) == (".rerank-v1-elasticsearch", 10)
        assert (retriever.allow_rerank_failures, retriever.chunk_rescorer) == (None, None)
        assert (retriever.filters, retriever.min_score, retriever.name) == ((), None, None)

    def test_every_key(self) -> None:
        options: dict[str, Any] = {
            "inference_id": "mine",
            "field": "a.b",
            "inference_text": "",
            "rank_window_size": "50",
            "allow_rerank_failures": "true",
        }
        retriever = read(reranking(**options, **BASE)["retriever"])
        assert isinstance(retriever, TextSimilarityReranker)
        assert (retriever.inference_id, retriever.field, retriever.inference_text) == ("mine", "a.b", "")
        assert (retriever.rank_window_size, retriever.allow_rerank_failures) == (50, True)
        assert (retriever.filters, retriever.min_score, retriever.name) == (FILTERS, 0.5, "n")

    def test_an_unpaired_surrogate_in_the_question_is_replaced(self) -> None:
        retriever = read(reranking(inference_text="a\ud800b")["retriever"])
        assert isinstance(retriever, TextSimilarityReranker)
        assert retriever.inference_text == "a\ufffdb"

    @pytest.mark.parametrize(
        ("key", "value", "token"),
        [
            ("field", 1, "VALUE_NUMBER"),
            ("inference_text", None, "VALUE_NULL"),
            ("inference_id", True, "VALUE_BOOLEAN"),
            ("rank_window_size", True, "VALUE_BOOLEAN"),
            ("rank_window_size", [1], "START_ARRAY"),
            ("allow_rerank_failures", 1, "VALUE_NUMBER"),
            ("filter", "x", "VALUE_STRING"),
            ("filter", None, "VALUE_NULL"),
            ("min_score", {}, "START_OBJECT"),
            ("_name", 1, "VALUE_NUMBER"),
            ("retriever", [STANDARD], "START_ARRAY"),
            ("retriever", "standard", "VALUE_STRING"),
            ("chunk_rescorer", 1, "VALUE_NUMBER"),
        ],
    )
    def test_wrong_types(self, key: str, value: Any, token: str) -> None:
        options = {**RERANKING[RERANKER], key: value}
        text = json.dumps({RERANKER: options})
        at = text.index(f'"{key}": ') + len(f'"{key}": ') + 1
        cause = refusal({RERANKER: options})
        assert cause.type == "x_content_parse_exception"
        assert cause.reason == f"[1:{at}] [{RERANKER}] {key} doesn't support values of type: {token}"
        assert cause.root_causes() == [cause]

    @pytest.mark.parametrize(
        ("unknown", "hint"),
        [
            ("fild", " did you mean [field]?"),
            ("rank_window", " did you mean [rank_window_size]?"),
            ("inference_tex", " did you mean any of [inference_text, inference_id]?"),
            ("foo", ""),
        ],
    )
    def test_unknown_keys(self, unknown: str, hint: str) -> None:
        cause = refusal({RERANKER: {unknown: 1}})
        assert cause.type == "x_content_parse_exception"
        assert cause.reason == f"[1:31] [{RERANKER}] unknown field [{unknown}]{hint}"

    def test_missing_keys(self) -> None:
        assert chain(refusal({RERANKER: {}})) == [
            ("illegal_argument_exception", "Required [retriever, inference_text, field]")
        ]
        cause = refusal({RERANKER: {"field": "text", "retriever": STANDARD}})
        assert cause.reason == "Required [inference_text]"

    def test_chunks(self) -> None:
        retriever = read(reranking(chunk_rescorer={"size": 3})["retriever"])
        assert isinstance(retriever, TextSimilarityReranker)
        assert retriever.chunk_rescorer is not None
        assert retriever.chunk_rescorer.size == 3


class TestTop:
    @pytest.mark.parametrize("name", [RERANKER, "rrf", "rescorer", "standard"])
    @pytest.mark.parametrize("value", [1, "x", None, []])
    def test_no_object(self, name: str, value: Any) -> None:
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

    def test_the_first_mistake_in_the_text_counts(self) -> None:
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
    """A tree in which so many retrievers stand inside of one another."""
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
    """Beyond it nothing else counts, and no parent says it again (live tests compare with `rescorer`)."""

    @pytest.mark.parametrize("parent", PARENTS)
    def test_sixteen_levels_are_read_and_no_more(self, parent: str) -> None:
        assert len({*walk(read(nested(MAX_NESTED_DEPTH, parent=parent)))}) >= MAX_NESTED_DEPTH
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
    def test_what_is_no_object_is_no_level(self, innermost: Any) -> None:
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

    def test_however_deep_it_is(self) -> None:
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

    def test_a_child_that_is_no_object(self) -> None:
        assert texts(refusal(reranking({"knn": [1]})["retriever"])) == [
            f"[{RERANKER}] failed to parse field [retriever]",
            "[retriever] failed to parse field [knn]",
            "[knn] Expected START_OBJECT but was: START_ARRAY",
        ]

    def test_two_names_are_the_parents_complaint(self) -> None:
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
    def test_some_say_again_what_went_wrong_inside(self, wrap: Any) -> None:
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
        assert [each.TYPE for each in walk(tree)] == [
            "rescorer", "pinned", "rule", "diversify", "rrf", "linear", RERANKER, "knn", "standard",
        ]  # fmt: skip


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


class TestRule:
    def test_every_key(self) -> None:
        retriever = read(rule(rank_window_size=3, **BASE))
        assert isinstance(retriever, RuleRetriever)
        assert (retriever.ruleset_ids, retriever.match_criteria) == (b'["r"]', b'{"a": "b"}')
        assert (retriever.rank_window_size, retriever.filters, retriever.name) == (3, FILTERS, "n")

    def test_missing_keys(self) -> None:
        assert texts(refusal({"rule": {}}))[0] == "Required [ruleset_ids, match_criteria, retriever]"


class TestDiversify:
    def test_every_key(self) -> None:
        options = {"rank_window_size": 20, "size": 4, "query_vector": [1, "0.5"], "type": "MMR", **BASE}
        retriever = read(diversify(**options))
        assert isinstance(retriever, DiversifyRetriever)
        assert (retriever.field, retriever.rank_window_size, retriever.size) == ("v", 20, 4)
        assert (retriever.lambda_, retriever.query_vector) == (0.5, (1.0, 0.5))
        assert retriever.filters == FILTERS

    @pytest.mark.parametrize(("window", "size"), [(20, 10), (4, 4)])
    def test_size(self, window: int, size: int) -> None:
        retriever = read(diversify(rank_window_size=window))
        assert isinstance(retriever, DiversifyRetriever)
        assert retriever.size == size

    def test_other_vectors(self) -> None:
        encoded = read(diversify(query_vector="AAAA"))
        built = read(diversify(query_vector_builder={"lookup": {"id": "1"}}))
        assert isinstance(encoded, DiversifyRetriever)
        assert isinstance(built, DiversifyRetriever)
        assert (encoded.query_vector, encoded.encoded_vector) == (None, "AAAA")
        assert built.query_vector_builder == b'{"lookup": {"id": "1"}}'

    def test_an_unknown_type(self) -> None:
        assert texts(refusal(diversify(type="x"))) == [
            "Failed to build [diversify] after last required field arrived",
            "unknown result diversification type [x]",
        ]


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
def test_what_elasticsearch_forgets(tree: Any, min_score: float | None, name: str | None) -> None:
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
