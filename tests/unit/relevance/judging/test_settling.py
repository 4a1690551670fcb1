"""One grade for each document, from what several judges said of it."""

import pytest

from rerank_proxy.relevance.judging.settling import Rule, settle

PERSONS = {
    "anna": {("a", "1"): 2, ("a", "2"): 1, ("a", "3"): None, ("a", "4"): 3},
    "ben": {("a", "1"): 0, ("a", "2"): 1, ("a", "4"): None},
}
ENDPOINTS = {"large": {("a", "1"): 3, ("a", "3"): 3, ("b", "1"): 2}}


def test_what_persons_agree_on_counts_and_an_endpoint_fills_what_none_has_read() -> None:
    settled = settle(PERSONS, {}, ENDPOINTS)
    assert settled.grades == {("a", "2"): 1, ("a", "4"): 3, ("b", "1"): 2}
    assert settled.sources == {
        ("a", "2"): "anna+ben",
        ("a", "4"): "anna",
        ("b", "1"): "endpoint:large",
    }
    assert (settled.open, settled.unsure) == (1, 1)


@pytest.mark.parametrize(("rule", "grade", "source"), [("lower", 0, "ben"), ("higher", 2, "anna")])
def test_a_rule_decides_where_persons_differ(rule: Rule, grade: int, source: str) -> None:
    settled = settle(PERSONS, {}, {}, rule)
    assert settled.grades["a", "1"] == grade
    assert settled.sources["a", "1"] == source
    assert settled.open == 1


def test_a_decision_comes_before_all() -> None:
    settled = settle(PERSONS, {("a", "1"): 1, ("a", "2"): None, ("a", "3"): 0}, ENDPOINTS, "higher")
    assert settled.grades == {("a", "1"): 1, ("a", "3"): 0, ("a", "4"): 3, ("b", "1"): 2}
    assert settled.sources["a", "1"] == "resolved"
    assert (settled.open, settled.unsure) == (0, 1)
