"""The messages that native numbers: which, and in which order."""

from typing import Any

import pytest

from rerank_proxy.search.language.validation import Whole, whole_failures
from rerank_proxy.xcontent.params import parse_params
from tests.support.retrievers import diversify, linear, pinned, read, rescorer, rrf, rule, window
from tests.support.searches import STANDARD, reranking


def failures(tree: Any, size: int | None = None, *, scrolls: bool = False) -> list[str]:
    return list(read(tree).failures(size, scrolls=scrolls))


def of_the_whole(others: dict[str, bytes], query: str = "", index: str | None = None) -> list[str]:
    params = parse_params(query)
    whole = Whole(index, params, params.integer("size"), params.integer("from") or 0, None, others)
    return list(whole_failures(whole))


def small(name: str, key: str, found: int, size: int) -> str:
    return f"[{name}] requires [{key}: {found}] be greater than or equal to [size: {size}]"


def smaller(parent: str, window: str, child: str, other: str) -> str:
    return (
        f"[{parent}] requires [{window}] to be smaller than or equal to its sub retriever's {child} [{other}]"
    )


@pytest.mark.parametrize(
    ("tree", "size", "expected"),
    [
        (reranking()["retriever"], 10, []),
        (reranking()["retriever"], None, []),
        (reranking()["retriever"], 11, [small("text_similarity_reranker", "rank_window_size", 10, 11)]),
        (rescorer(rescore=window(3)), 5, [small("rescorer", "window_size", 3, 5)]),
        (
            rrf(linear(STANDARD, rank_window_size=20), rank_window_size=4),
            5,
            [small("rrf", "rank_window_size", 4, 5)],
        ),
        (
            rrf(STANDARD, rescorer(rescore=window(12)), rank_window_size=11),
            20,
            [small("rrf", "rank_window_size", 11, 20), small("rescorer", "window_size", 12, 20)],
        ),
        (pinned(rule(rank_window_size=3)), 5, [small("rule", "rank_window_size", 3, 5)]),
        (STANDARD, 100, []),
    ],
)
def test_windows_hold_the_page(tree: Any, size: int | None, expected: list[str]) -> None:
    assert failures(tree, size) == expected


def test_negative_windows() -> None:
    assert failures(rescorer(rescore=window(-1))) == [
        "[window_size] parameter cannot be negative, found [-1]"
    ]
    # Without a size, native compares with -1.
    assert failures(rrf(STANDARD, rank_window_size=-2)) == [
        small("rrf", "rank_window_size", -2, -1),
        "[rank_window_size] parameter cannot be negative, found [-2]",
    ]


def test_children_have_the_larger_window() -> None:
    inner = reranking(rank_window_size=3)["retriever"]
    assert failures(rrf(STANDARD, inner, rank_window_size=5)) == [
        smaller("rrf", "rank_window_size: 5", "text_similarity_reranker", "rank_window_size: 3")
    ]
    assert failures(rescorer(inner, window(4))) == [
        smaller("rescorer", "window_size: 4", "text_similarity_reranker", "rank_window_size: 3")
    ]
    assert failures(linear(diversify(rank_window_size=9))) == [
        smaller("linear", "rank_window_size: 10", "diversify", "rank_window_size: 9")
    ]


@pytest.mark.parametrize("wrap", [pinned, rule])
def test_some_hide_their_childs_window(wrap: Any) -> None:
    assert failures(wrap(rescorer(rescore=window(3)))) == []


def test_parent_children_and_windows_in_this_order() -> None:
    tree = rescorer(rescorer(rescorer(rescore=window(1)), window(2)), window(3))
    scroll = "cannot specify [rescorer] and [scroll]"
    assert failures(tree, 5, scrolls=True) == [
        small("rescorer", "window_size", 3, 5),
        scroll,
        small("rescorer", "window_size", 2, 5),
        scroll,
        small("rescorer", "window_size", 1, 5),
        scroll,
        smaller("rescorer", "window_size: 2", "rescorer", "window_size: 1"),
        smaller("rescorer", "window_size: 3", "rescorer", "window_size: 2"),
    ]


MMR = "[diversify] MMR result diversification"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, []),
        ({"lambda": "NaN"}, []),
        ({"size": 0}, [f"{MMR} [size] of 0 must be greater than zero"]),
        ({"size": 11}, [f"{MMR} [size] of 11 cannot be greater than the [rank_window_size] of 10"]),
        ({"rank_window_size": -3}, [f"{MMR} [size] of -3 must be greater than zero"]),
        ({"lambda": 2}, [f"{MMR} must have a [lambda] between 0.0 and 1.0. The value provided was 2.0"]),
        (
            {"lambda": "-Infinity"},
            [f"{MMR} must have a [lambda] between 0.0 and 1.0. The value provided was -Infinity"],
        ),
        (
            {"query_vector": "x"},
            ["[diversify] retriever cannot have a [query_vector] that is string encoded"],
        ),
        (
            {"query_vector": [1], "query_vector_builder": {"a": {}}, "size": -1, "rank_window_size": -2},
            [
                f"{MMR} can have one of [query_vector] or [query_vector_builder], but not both",
                f"{MMR} [size] of -1 must be greater than zero",
                f"{MMR} [size] of -1 cannot be greater than the [rank_window_size] of -2",
            ],
        ),
    ],
)
def test_diversify_has_rules_of_its_own(options: dict[str, Any], expected: list[str]) -> None:
    child = rescorer(rescore=window(1))
    assert failures(diversify(child, **options), size=50, scrolls=True) == expected


def test_diversify_needs_a_lambda() -> None:
    tree = diversify()
    del tree["diversify"]["lambda"]
    assert failures(tree) == [f"{MMR} must have a [lambda] between 0.0 and 1.0. The value provided was null"]


@pytest.mark.parametrize("name", ["rrf", "linear"])
@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({}, ["must provide [retrievers] or [query]"]),
        ({"retrievers": []}, ["must provide [retrievers] or [query]"]),
        ({"fields": ["a"]}, ["[query] must be provided when [fields] is specified"]),
        ({"fields": [], "child": True}, ["[query] must be provided when [fields] is specified"]),
        ({"query": "a"}, []),
        ({"query": "a", "fields": ["b"]}, []),
        ({"query": ""}, ["[query] cannot be empty"]),
        ({"query": "a", "child": True}, ["cannot combine [retrievers] and [query]"]),
        (
            {"query": "", "fields": [], "child": True},
            [
                "[query] cannot be empty",
                "[fields] cannot be empty",
                "cannot combine [retrievers] and [query]",
            ],
        ),
    ],
)
def test_the_simplified_form(name: str, options: dict[str, Any], expected: list[str]) -> None:
    options = dict(options)
    if options.pop("child", False):
        options["retrievers"] = [{"retriever": STANDARD}]
    if name == "linear":
        options["normalizer"] = "none"
    assert failures({name: options}) == [f"[{name}] {message}" for message in expected]


def test_the_simplified_linear_needs_a_normalizer() -> None:
    assert failures({"linear": {"query": "a", "fields": []}}) == [
        "[linear] [fields] cannot be empty",
        "[linear] [normalizer] must be provided when [query] is specified",
    ]
    assert failures(linear(STANDARD, normalizer="minmax")) == []


def test_parameters_come_after_the_children() -> None:
    tree = rrf({"rrf": {"rank_window_size": 3}}, query="")
    assert failures(tree) == [
        "[rrf] must provide [retrievers] or [query]",
        smaller("rrf", "rank_window_size: 10", "rrf", "rank_window_size: 3"),
        "[rrf] [query] cannot be empty",
        "[rrf] cannot combine [retrievers] and [query]",
    ]


@pytest.mark.parametrize(
    ("others", "query", "expected"),
    [
        ({}, "", []),
        ({"slice": b"{}"}, "", ["[slice] can only be used with [scroll] or [point-in-time] requests"]),
        ({"slice": b"{}"}, "scroll=1m", []),
        ({"slice": b"{}", "pit": b"{}"}, "", []),
        (
            {"sort": b"[]", "query": b"{}"},
            "terminate_after=2",
            ["cannot specify [retriever] and [query, terminate_after, sort]"],
        ),
        ({"terminate_after": b"0"}, "", []),
        (
            {"sub_searches": b"[1,2]", "search_after": b"[1]"},
            "from=1",
            [
                "cannot specify [retriever] and [query, search_after]",
                "[from] parameter must be set to 0 when [search_after] is used",
                "[sub_searches] requires [rank]",
            ],
        ),
        ({"sub_searches": b"[]", "knn": b"[ ]", "terminate_after": b'"0"'}, "", []),
        ({"rescore": b"[]"}, "", ["cannot specify [retriever] and [rescore]"]),
        ({}, "sort=a:b,", []),
        ({}, "sort=a:b,c:asc", ["cannot specify [retriever] and [sort]"]),
    ],
)
def test_bodies(others: dict[str, bytes], query: str, expected: list[str]) -> None:
    assert of_the_whole(others, query) == expected


SOURCE = "[stored_fields] cannot be disabled if [_source] is requested"
FIELDS = "[stored_fields] cannot be disabled when using the [fields] option"


@pytest.mark.parametrize(
    ("others", "query", "expected"),
    [
        ({"stored_fields": b'"_none_"'}, "", []),
        ({"stored_fields": b'"_none_"', "_source": b"false"}, "", []),
        ({"stored_fields": b'"_none_"', "_source": b'"false"'}, "", [SOURCE]),
        ({"stored_fields": b'["_none_"]', "_source": b"{}", "fields": b"[]"}, "", [SOURCE, FIELDS]),
        ({"stored_fields": b'"a"', "_source": b"true", "fields": b"[]"}, "", []),
        ({"stored_fields": b'"_none_"', "_source": b"true"}, "_source=false&_source_includes=a", []),
        ({"stored_fields": b'"_none_"', "_source": b"false"}, "_source_excludes=a", [SOURCE]),
        ({"stored_fields": b'"_none_"', "_source": b"true"}, "stored_fields=a", []),
        ({"_source": b"true"}, "stored_fields=_none_,", [SOURCE]),
        ({"stored_fields": b"5", "_source": b"true"}, "", []),
    ],
)
def test_hits_without_anything_stored(others: dict[str, bytes], query: str, expected: list[str]) -> None:
    assert of_the_whole(others, query) == expected


@pytest.mark.parametrize(
    ("query", "size", "from_", "total", "expected"),
    [
        ("", 0, 1, False, []),
        ("scroll=1m", None, 0, None, []),
        ("scroll=1m", 1, 0, True, []),
        ("scroll=1m", 0, 0, True, ["[size] cannot be [0] in a scroll context"]),
        ("scroll=1m", 1, 0, 1, ["disabling [track_total_hits] is not allowed in a scroll context"]),
        (
            "scroll=1m&request_cache=true",
            1,
            2,
            False,
            [
                "disabling [track_total_hits] is not allowed in a scroll context",
                "using [from] is not allowed in a scroll context",
                "[request_cache] cannot be used in a scroll context",
            ],
        ),
    ],
)
def test_scrolls(
    query: str, size: int | None, from_: int, total: bool | int | None, expected: list[str]
) -> None:
    whole = Whole(None, parse_params(query), size, from_, total, {})
    assert list(whole_failures(whole)) == expected


def test_scrolls_of_what_may_not_stand_in_the_body() -> None:
    others = {"rescore": b"{}", "search_after": b"[1]", "collapse": b"{}", "slice": b"{}", "pit": b"{}"}
    assert of_the_whole(others, "scroll=1m&from=1&request_cache=true") == [
        "cannot specify [retriever] and [search_after, rescore]",
        "using [from] is not allowed in a scroll context",
        "using [rescore] is not allowed in a scroll context",
        "[search_after] cannot be used in a scroll context",
        "cannot use `collapse` in a scroll context",
        "[from] parameter must be set to 0 when [search_after] is used",
        "[request_cache] cannot be used in a scroll context",
        "using [point in time] is not allowed in a scroll context",
    ]


def test_points_in_time() -> None:
    query = "preference=a&routing=b&scroll=1m&ignore_unavailable=true"
    assert of_the_whole({"pit": b"{}"}, query, "i") == [
        "using [point in time] is not allowed in a scroll context",
        "[indices] cannot be used with point in time. Do not specify any index with point in time.",
        "[indicesOptions] cannot be used with point in time",
        "[routing] cannot be used with point in time",
        "[preference] cannot be used with point in time",
    ]
    assert of_the_whole({"pit": b"{}"}) == []
    assert of_the_whole({}, "preference=a", "i") == []


@pytest.mark.parametrize(
    ("query", "changes"),
    [
        ("ignore_unavailable=false&allow_no_indices=true&expand_wildcards=open", False),
        ("expand_wildcards=open,hidden", True),
        ("allow_no_indices=false", True),
        ("ignore_throttled=false", True),
        ("expand_wildcards=bogus", False),  # which is refused elsewhere
    ],
)
def test_options_for_indices_beside_a_point_in_time(query: str, changes: bool) -> None:
    expected = ["[indicesOptions] cannot be used with point in time"] if changes else []
    assert of_the_whole({"pit": b"{}"}, query) == expected
