"""How far two judges agree: Cohen's kappa, beside scikit-learn's."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from rerank_proxy.relevance.judging.agreement import Conflict, agreement, conflicts

GRADES = st.integers(0, 3)
PAIRS = st.lists(st.tuples(GRADES, GRADES), min_size=1, max_size=30)


def graded(grades: list[int]) -> dict[tuple[str, str], int]:
    return {("q", str(number)): grade for number, grade in enumerate(grades)}


@given(PAIRS)
def test_kappa_is_that_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    first, second = map(list, zip(*pairs, strict=True))
    found = agreement(graded(first), graded(second), 3)
    for kappa, weights in ((found.kappa, None), (found.linear, "linear"), (found.quadratic, "quadratic")):
        if len({*first, *second}) == 1:
            assert kappa is None  # where scikit-learn warns, and gives no number
            continue
        theirs = cohen_kappa_score(first, second, labels=range(4), weights=weights)
        assert kappa == pytest.approx(theirs)
    assert found.equal == sum(one == other for one, other in pairs) / len(pairs)
    assert sum(map(sum, found.table)) == found.documents == len(pairs)


def test_a_table_of_a_textbook() -> None:
    """50 grants, read twice: 20 and 15 alike, 5 and 10 not (Cohen's kappa, 0.4)."""
    first = [1] * 25 + [0] * 25
    second = [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15
    found = agreement(graded(first), graded(second), 1)
    assert found.equal == pytest.approx(0.7)
    assert found.kappa == pytest.approx(0.4)
    assert found.relevant == pytest.approx(0.4)
    assert [*map(list, found.table)] == [[15, 10], [5, 20]]


def test_only_what_both_have_graded_counts() -> None:
    found = agreement({("q", "1"): 3, ("q", "2"): 0}, {("q", "2"): 0, ("r", "1"): 1}, 3)
    assert found.documents == 1
    assert found.kappa is None
    assert agreement({}, {}, 3).equal is None


@given(PAIRS)
def test_who_comes_first_makes_no_difference(pairs: list[tuple[int, int]]) -> None:
    first, second = (graded([pair[place] for pair in pairs]) for place in (0, 1))
    one, other = agreement(first, second, 3), agreement(second, first, 3)
    for mine, theirs in ((one.kappa, other.kappa), (one.quadratic, other.quadratic)):
        assert (mine is None) == (theirs is None)
        assert mine is None or theirs is None or math.isclose(mine, theirs, abs_tol=1e-12)


def test_conflicts_are_different_grades_and_doubt() -> None:
    judged = {
        "anna": {("a", "1"): 2, ("a", "2"): 1, ("a", "3"): None, ("b", "1"): 0},
        "ben": {("a", "1"): 0, ("a", "2"): 1, ("b", "2"): None},
    }
    assert conflicts(judged) == [
        Conflict("a", "1", {"anna": 2, "ben": 0}),
        Conflict("a", "3", {"anna": None}),
        Conflict("b", "2", {"ben": None}),
    ]
