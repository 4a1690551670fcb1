"""What is refused when the tree is rewritten."""

from typing import Any

import pytest

from rerank_proxy.errors import ElasticsearchError
from rerank_proxy.search.retrievers.retriever import LeafRetriever
from tests.support.retrievers import diversify, linear, pinned, read, rescorer, rrf, rule
from tests.support.searches import KNN, QUERY, STANDARD, reranking


def check(tree: Any) -> None:
    retriever = read(tree)
    assert not isinstance(retriever, LeafRetriever)
    retriever.check_rewrite()


def refusal(tree: Any) -> str:
    with pytest.raises(ElasticsearchError) as raised:
        check(tree)
    assert raised.value.status == 400
    assert raised.value.cause.type in ("illegal_argument_exception", "number_format_exception")
    assert raised.value.cause.caused_by is None
    return raised.value.cause.reason


def knn(**options: Any) -> dict[str, Any]:
    return {"knn": {**KNN["knn"], **options}}


@pytest.mark.parametrize(
    "tree",
    [
        reranking()["retriever"],
        rescorer({"standard": {"terminate_after": 0}}),
        rrf(rescorer(), linear(diversify(KNN), min_score=0)),
        rrf(KNN, knn(visit_percentage=100, k=10_000, num_candidates=10_000)),
        {"rrf": {"query": "a", "fields": ["a^0", "b"]}},
    ],
)
def test_what_is_right(tree: Any) -> None:
    check(tree)


@pytest.mark.parametrize("wrap", [rescorer, diversify, rrf, lambda child: rrf(STANDARD, rescorer(child))])
@pytest.mark.parametrize("option", [{"search_after": [1]}, {"terminate_after": 5}, {"terminate_after": -1}])
def test_children_may_not_stop_or_go_on(wrap: Any, option: dict[str, Any]) -> None:
    name = next(iter(option))
    reason = f"[{name}] cannot be used in children of compound retrievers"
    assert refusal(wrap({"standard": option})) == reason


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"k": 0, "num_candidates": 0}, "[k] must be greater than 0"),
        ({"k": 7}, "[num_candidates] cannot be less than [k]"),
        ({"num_candidates": 10_001}, "[num_candidates] cannot exceed [10000]"),
        ({"visit_percentage": -1}, "[visit_percentage] must be between 0 and 100"),
        ({"visit_percentage": 101}, "[visit_percentage] must be between 0 and 100"),
    ],
)
def test_knn(options: dict[str, Any], reason: str) -> None:
    assert refusal(rescorer(knn(**options))) == reason


def test_too_many_candidates_by_default() -> None:
    leg = {"knn": {"field": "v", "query_vector": [1], "k": 20_000}}
    assert refusal(rrf(leg)) == "[num_candidates] cannot be less than [k]"


def test_the_first_child_comes_first_and_children_before_parents() -> None:
    bad = {"standard": {"search_after": [1]}}
    assert refusal(rrf(rescorer(knn(k=0)), bad)).startswith("[k]")
    assert refusal(linear(bad, knn(k=0), min_score=-1)).startswith("[search_after]")
    assert refusal(rrf(linear(STANDARD, min_score=-1), bad)).startswith("[min_score]")


def test_a_negative_min_score() -> None:
    reason = "[min_score] must be greater than or equal to 0, was: [-1.5]"
    assert refusal(linear(STANDARD, min_score=-1.5)) == reason


@pytest.mark.parametrize("name", ["rrf", "linear"])
@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (["a", "b^-1"], "[{name}] per-field weights must be non-negative"),
        (["a^x"], 'For input string: "x"'),
        (["a^"], "empty String"),
    ],
)
def test_weights_of_fields(name: str, fields: list[str], reason: str) -> None:
    tree = {name: {"query": "a", "fields": fields, **({"normalizer": "none"} if name == "linear" else {})}}
    assert refusal(tree) == reason.format(name=name)


class TestPinned:
    @pytest.mark.parametrize(
        "child",
        [
            STANDARD,
            rrf(KNN),
            {"standard": {"filter": QUERY}},
            {"standard": {"query": QUERY, "sort": ["_score", {"_shard_doc": "desc"}]}},
            {"standard": {"query": QUERY, "sort": {"_score": {"order": "asc"}}}},
        ],
    )
    def test_children_with_a_query(self, child: Any) -> None:
        check(pinned(child))

    @pytest.mark.parametrize("child", [KNN, {"standard": {}}, {"standard": {"filter": []}}])
    def test_children_without(self, child: Any) -> None:
        assert refusal(pinned(child)) == "pinned retriever requires retriever with associated query"

    def test_filters_of_parents_make_a_query(self) -> None:
        check(pinned({"standard": {}}, filter=QUERY))
        check(rrf(pinned({"standard": {}}), filter=QUERY))

    @pytest.mark.parametrize(
        ("sort", "criterion"),
        [
            (["_score", "n"], '"n"'),
            ([{"n": "asc"}], '{"n":"asc"}'),
            ({"_score": {}, "m": {}}, '{"m":{}}'),
        ],
    )
    def test_sorts(self, sort: Any, criterion: str) -> None:
        found = refusal(pinned({"standard": {"query": QUERY, "sort": sort}}))
        assert found.replace(" ", "") == (
            "[pinned] retriever only supports sorting by score, invalid sort criterion: " + criterion
        ).replace(" ", "")

    def test_how_many(self) -> None:
        ids = [str(number) for number in range(101)]
        check(pinned(ids=ids[1:]))
        assert refusal(pinned(ids=ids)) == "[pinned] Max of 100 ids exceeded: 101 provided."
        docs = [{"_id": id_} for id_ in ids]
        tree = {"pinned": {"docs": docs, "retriever": STANDARD}}
        assert refusal(tree) == "[pinned] Max of 100 docs exceeded: 101 provided."

    def test_duplicates(self) -> None:
        assert refusal(pinned(ids=["a", "x", "b", "x"])) == "[pinned] duplicate id found in list: x"
        docs = [{"_id": "1"}, {"_id": "1", "_index": "a"}]
        check({"pinned": {"docs": docs, "retriever": STANDARD}})
        assert refusal({"pinned": {"docs": [*docs, docs[1]], "retriever": STANDARD}}) == (
            '[pinned] duplicate doc found in list: {\n  "_index" : "a",\n  "_id" : "1"\n}'
        )


def test_a_rule_sorts_by_score_first() -> None:
    check(rule({"standard": {"sort": ["_score", "n"]}}))
    found = refusal(rule({"standard": {"sort": ["n", "_score"]}}))
    assert found == '[rule] retriever only supports sort by score, got: ["n", "_score"]'
