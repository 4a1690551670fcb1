"""Measures are those of ir-measures, over the order that Elasticsearch gave."""

import math

import ir_measures
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank_proxy.relevance.errors import RelevanceError
from rerank_proxy.relevance.judgments import Hit, ranked
from rerank_proxy.relevance.measures import checked, means, values
from tests.support.examples import examples

NAMES = ("nDCG@10", "RR@10", "R@10", "AP")
DOCUMENTS = st.lists(st.sampled_from([f"d{at}" for at in range(15)]), unique=True, max_size=12)


def test_values_by_hand() -> None:
    judgments = {"1": {"a": 3, "b": 1, "c": 0}}
    found = values(judgments, {"1": ranked(["x", "b", "a"])}, ["nDCG@10", "RR@10", "R@10", "P@2"])
    best = 3 / math.log2(2) + 1 / math.log2(3)
    assert found["nDCG@10"]["1"] == pytest.approx((1 / math.log2(3) + 3 / math.log2(4)) / best)
    assert found["RR@10"]["1"] == 0.5
    assert found["R@10"]["1"] == 1.0
    assert found["P@2"]["1"] == 0.5


@examples(0.5)
@given(lists=st.lists(st.tuples(DOCUMENTS, DOCUMENTS), min_size=1, max_size=3))
def test_they_are_those_of_the_package(lists: list[tuple[list[str], list[str]]]) -> None:
    judgments = {
        str(at): dict.fromkeys([*relevant, "d0"], 1 + at % 3) for at, (relevant, _) in enumerate(lists)
    }
    run = {str(at): ranked(found) for at, (_, found) in enumerate(lists)}
    given_scores = {query: {hit.id: hit.score for hit in hits} for query, hits in run.items() if hits}
    for name, of_query in values(judgments, run, NAMES).items():
        assert of_query.keys() == judgments.keys()
        found = ir_measures.iter_calc([ir_measures.parse_measure(name)], judgments, given_scores)
        theirs = {each.query_id: each.value for each in found}
        assert of_query == {query: pytest.approx(theirs.get(query, 0.0)) for query in judgments}


@pytest.mark.parametrize("order", [["a", "b", "c"], ["c", "b", "a"]])
def test_hits_with_equal_scores_stay_in_their_order(order: list[str]) -> None:
    """trec_eval would order them by their ids."""
    found = values({"1": {"b": 1, order[0]: 2}}, {"1": [Hit(name, 1.0) for name in order]}, ["nDCG@10"])
    assert found["nDCG@10"]["1"] == pytest.approx(1.0)


def test_nothing_found_is_0_and_what_was_not_asked_has_no_value() -> None:
    found = values({"1": {"a": 1}, "2": {"a": 1}}, {"1": []}, NAMES)
    assert found == {name: {"1": 0.0} for name in NAMES}
    assert means(found)["AP"] == 0.0
    assert math.isnan(means({"AP": {}})["AP"])


@pytest.mark.parametrize(
    ("measure", "value"), [("nDCG@10", 0.6278), ("P@3", 1 / 3), ("AP", 0.45), ("RR@10", 0.5)]
)
def test_negative_grades_and_documents_without_one_count_as_wrong(measure: str, value: float) -> None:
    """trec_eval would subtract nothing for them either."""
    judgments = {"1": {"a": 3, "b": -2, "c": 1, "d": -1, "e": 0}}
    found = values(judgments, {"1": ranked(["b", "a", "x", "d", "c"])}, [measure])
    assert found[measure]["1"] == pytest.approx(value, abs=1e-4)


def test_ids_of_any_kind_are_measured_alike() -> None:
    """Of some measures other programs compute the values, which know no blanks in ids."""
    names = ["nDCG@10", "AP", "Judged@10"]
    plain = values({"1": {"a": 2, "b": 1}}, {"1": ranked(["b", "x", "a"])}, names)
    odd = values({"a query": {"\u00fc n": 2, "/": 1}}, {"a query": ranked(["/", "x y", "\u00fc n"])}, names)
    assert [each["a query"] for each in odd.values()] == [each["1"] for each in plain.values()]


def test_what_a_program_beside_the_package_refuses_is_said_in_a_line() -> None:
    """Its table of grades ends at 4."""
    with pytest.raises(RelevanceError, match="ERR@10: "):
        values({"1": {"a": 7}}, {"1": ranked(["a"])}, ["ERR@10"])


def test_names() -> None:
    assert checked(["MRR@10", "RR@10", "nDCG@10"]) == ["RR@10", "nDCG@10"]


@pytest.mark.parametrize(
    "name", ["ndcg@10", "", "nDCG@", "__import__('os')", "nDCG@10; 1", "P", "nDCG@-1", "(" * 50]
)
def test_what_is_not_a_measure(name: str) -> None:
    with pytest.raises(RelevanceError, match="is not a measure of ir-measures; try nDCG@10"):
        checked([name])
